"""Sweep files: what they mean, and every way to get one wrong."""

import json
from math import prod
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrok.config import preset
from minigrok.config.arms import ARMS, NO_SOURCE
from minigrok.errors import ConfigError
from minigrok.experiments.cells import awaited, open_sweep, sweep_to_json
from minigrok.experiments.sweep_file import RESERVED, Order, read_sweep, sweep_names, sweep_text
from minigrok.network.params import layout, members

BASE = 'name = "s"\n[base]\npreset = "tiny"\n'
AXES = {
    "seed": st.integers(0, 2**32 - 1),
    "optimiser.weight_decay": st.floats(0, 10),
    "optimiser.learning_rate": st.floats(1e-6, 1, exclude_min=True),
    "train.max_steps": st.integers(1, 10**6),
    "compute.dtype": st.sampled_from(["float32", "float64"]),
    "task.operations": st.sampled_from([["add"], ["mul", "add"], ["sq"]]),
    "init.identical_blocks": st.booleans(),
    "init.generator": st.sampled_from(["numpy", "pytorch"]),
}
KEYS = ["preset", "file", *AXES]


@st.composite
def grids(draw: st.DrawFn) -> dict[str, list[Any]]:
    keys = draw(st.lists(st.sampled_from(sorted(AXES)), min_size=1, max_size=3, unique=True))
    return {key: draw(st.lists(AXES[key], min_size=1, max_size=3, unique_by=json.dumps)) for key in keys}


def lines(table: dict[str, Any]) -> str:
    """TOML lines; JSON of numbers, strings and lists is TOML."""
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in table.items())


@settings(max_examples=60, deadline=None)
@given(grids())
def test_a_grid_is_all_combinations_each_in_a_folder_of_its_own(grid: dict[str, list[Any]]) -> None:
    sweep = read_sweep(BASE + "[[grid]]\n" + lines(grid))
    assert len(sweep.configs) == prod(len(values) for values in grid.values())
    names = [config.name for config in sweep.configs]
    assert len({name.lower() for name in names}) == len(names)
    out = Path("/out")
    assert all((out / name).parent == out and ".." not in name for name in names)
    for key, values in grid.items():
        found = set()
        for config in sweep.configs:
            section, _, leaf = key.rpartition(".")
            found.add(json.dumps(getattr(getattr(config, section) if section else config, leaf)))
        assert len(found) == len(values)


@settings(max_examples=60, deadline=None)
@given(
    st.text(min_size=1, max_size=12), st.sampled_from(["", "[base]\n", "[[grid]]\n", "[[runs]]\n", "[[grid]]\ntrain."])
)
def test_an_unknown_key_is_an_error_wherever_it_stands(key: str, where: str) -> None:
    """Of any text, quoted; the few that are known, and "\\0" that TOML forbids, are errors of another kind or none."""
    known = {"name", "analyses", "keep", "base", "grid", "runs", "seed", *KEYS, "task", "model", "init", "optimiser"}
    known |= {"train", "compute"}
    if key in known or (where.endswith("train.") and hasattr(preset("tiny").train, key)):
        return
    quoted = json.dumps(key)
    text = f'name = "s"\n{quoted} = 1\n' if not where else f'name = "s"\n{where}{quoted} = 1\n'
    if where != "[base]\n":
        text += '[base]\npreset = "tiny"\n'
    else:
        text += 'preset = "tiny"\n[[runs]]\n'
    with pytest.raises(ConfigError):
        read_sweep(text)


@settings(max_examples=80, deadline=None)
@given(
    st.one_of(st.text(max_size=20), st.sampled_from(["../a", "/etc", "a/b", "..", ".", "", ".hidden", "a\\b", "a b"]))
)
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    for text in (f"[[runs]]\nname = {json.dumps(name)}\n", f"[[grid]]\nname = {json.dumps(name)}\nseed = [1]\n"):
        try:
            sweep = read_sweep(BASE + text)
        except ConfigError:
            continue
        assert all(Path("/out", config.name).resolve().parent == Path("/out") for config in sweep.configs)
        assert all(config.name not in ("", ".", "..") for config in sweep.configs)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "a name for the sweep"),
        ('name = "../s"', 'letters, digits, ".", "_" or "-"'),
        ("name = 3", "a name for the sweep"),
        ("name = ", "a sweep in TOML"),
        ('name = "s"', "one run or more"),
        ('name = "s"\nruns = []', "one run or more"),
        (BASE + "[[grid]]\nseed = []", "seed in .*grid.* one value or more"),
        ('name = "s"\n[[runs]]', "either a preset or a file"),
        ('name = "s"\n[[runs]]\npreset = "tiny"\nfile = "a.toml"', "either a preset or a file"),
        ('name = "s"\n[[runs]]\nfile = "no-such.toml"', "no-such.toml"),
        ('name = "s"\n[[runs]]\npreset = "tinny"', "did you mean tiny"),
        (BASE + "[[runs]]\ntrain.max_stepps = 3", "did you mean train.max_steps.*"),
        (BASE + '[[runs]]\nseed = "one"', "seed is a whole number"),
        (BASE + "[[runs]]\n[[runs]]", "two named tiny"),
        (BASE + '[[runs]]\nname = "a"\n[[runs]]\nname = "A"', "two named A"),
        (BASE + "[[grid]]\nseed = [1, 1]", "two named tiny-s1"),
        (BASE + '[[runs]]\nname = "status.png"', "no file of the sweep's"),
        (BASE + "[runs]", "two brackets"),
        ('name = "s"\nbase = 3', r"\[base\] as a table"),
        ('name = "s"\nkeep = 1', "2 or more"),
        ('name = "s"\nkeep = true', "2 or more"),
        ('name = "s"\nanalyses = "gram"', "analyses is a list"),
        ('name = "s"\nanalyses = ["grm"]', "did you mean gram"),
        ('name = "s"\nanalyses = ["all"]', "the name of an analysis"),
        ('name = "s"\nanalyses = ["gram", "gram"]', "each once a protocol"),
        ('name = "s"\nanalyses = [{name = "gram", protokol = "paper"}]', "did you mean protocol"),
        ('name = "s"\nanalyses = [{name = "gram", protocol = "papers"}]', "gram.protocol is one of exact, paper"),
        ('name = "s"\nanalyses = [{name = "gram", set = ["no=1"]}]', "a setting of gram"),
        ('name = "s"\nanalyses = [{name = "gram", set = "no=1"}]', "set in an analysis is a list"),
    ],
)
def test_errors_say_what_is_wrong(text: str, words: str) -> None:
    if "[[runs]]" not in text and ("keep" in text or "analyses" in text):
        text += '\n[[runs]]\npreset = "tiny"'
    with pytest.raises(ConfigError, match=words):
        read_sweep(text)


def test_every_reserved_name_is_refused() -> None:
    for name in RESERVED:
        with pytest.raises(ConfigError, match="no file of the sweep's"):
            read_sweep(BASE + f'[[runs]]\nname = "{name}"')


def test_a_file_is_relative_to_the_sweeps_and_the_command_line_wins(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\nseed = 7\n')
    path = tmp_path / "sweep.toml"
    path.write_text(
        'name = "s"\nkeep = 2\nanalyses = [{name = "gram", protocol = "paper"}]\n[[runs]]\nfile = "mine.toml"\n'
    )
    sweep = read_sweep(path, {"train.max_steps": 5})
    assert (sweep.name, sweep.keep, sweep.orders) == ("s", 2, (Order("gram", "paper"),))
    assert [(c.name, c.seed, c.train.max_steps) for c in sweep.configs] == [("mine", 7, 5)]
    (tmp_path / "sweep.json").write_bytes(sweep_to_json(sweep))
    assert open_sweep(tmp_path) == sweep


def test_the_presets_are_the_papers_lists() -> None:
    ours = ("intervention", "uniform", "frozen", "sphere", "keep-rank", "confirmation")
    names = [name for name in sweep_names() if not name.startswith(ours)]
    sweeps = {name: read_sweep(sweep_text(name)).configs for name in names}
    counts = {name: len(configs) for name, configs in sweeps.items()}
    assert counts == {
        "paper-dual": 18,
        "paper-tri": 18,
        "companion-operations": 36,
        "companion-rates": 54,
        "tiny": 6,
        "no-decay": 9,
        "weight-decay": 42,
    }
    budgets = {(c.optimiser.weight_decay, c.train.max_steps, c.train.snapshot_every) for c in sweeps["paper-dual"]}
    low = {(decay, 200_000, 200) for decay in (0.1, 0.2, 0.3, 0.5)}
    assert budgets == {(1.0, 300_000, 100), (0.0, 50_000, 500), *low}
    assert {c.seed for configs in sweeps.values() for c in configs} == {42, 137, 2024}
    rates = {(c.task.operations, c.optimiser.learning_rate, c.seed): c for c in sweeps["companion-rates"]}
    assert len(rates) == 54
    assert rates[("x3_xy",), 1e-3, 42].train.max_steps == 7_500
    assert rates[("x3_xy",), 1e-3, 137].train.max_steps == 50_000
    assert rates[("add",), 1e-4, 42].train.max_steps == 500_000
    operations = {(c.task.operations, c.optimiser.weight_decay, c.seed) for c in sweeps["companion-operations"]}
    assert len(operations) == 36
    numerics = {(c.compute.dtype, c.model.cross_entropy, c.optimiser.weight_decay) for c in sweeps["no-decay"]}
    assert numerics == {("float32", "stable", 0.0), ("float32", "saturating", 0.0), ("float64", "stable", 0.0)}
    decays = {(c.optimiser.weight_decay, c.optimiser.learning_rate) for c in sweeps["weight-decay"]}
    assert {rate * decay for decay, rate in decays if rate != 1e-3} == {1e-3}  # lr wd of weight decay 1
    for config in sweeps["weight-decay"]:
        clock = config.optimiser.weight_decay * config.optimiser.learning_rate
        assert clock == 0 or config.train.max_steps * clock >= 20  # runs grok at 8 to 10


def test_the_variants_are_portable_and_of_ten_seeds() -> None:
    for name in ("uniform-attention", "frozen-attention", "uniform-controls", "keep-rank", "sphere"):
        configs = read_sweep(sweep_text(name)).configs
        assert {c.seed for c in configs} == set(range(8, 18))
        assert all(c.compute.portable for c in configs)
        assert all(members(c, c.optimiser.frozen).any() == bool(c.optimiser.frozen) for c in configs)
    arms = [c for c in read_sweep(sweep_text("frozen-attention")).configs if c.seed == 8]
    assert [c.name for c in arms] == [
        "dual-frozen_queries_keys-s8",
        "dual-frozen_values_outputs-s8",
        "dual-frozen_queries_keys-zero_queries_keys-s8",
        "dual-frozen_queries_keys-frozen_from1000-s8",
        "dual-narrow-s8",
    ]
    dual, narrow = layout(preset("dual")).size, layout(arms[-1]).size
    trained = dual - members(arms[0], ["queries", "keys"]).sum()
    assert (trained, narrow) == (236_866, 236_402)


def test_the_interventions_have_the_papers_doses_and_caps_and_sources_in_their_sweep() -> None:
    names = [name for name in sweep_names() if name.startswith("intervention")]
    sweeps = {name.removeprefix("intervention-"): read_sweep(sweep_text(name)) for name in names}
    deletion = {
        name: {c.intervention.dose for c in sweep.configs if c.intervention.arm == "deletion"}
        for name, sweep in sweeps.items()
    }
    fine = {0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.25}
    assert deletion["dual"] == fine | {0.5, 0.75, 0.9}
    assert deletion["tri-fine"] == fine
    assert deletion["tri-coarse"] == {0, 0.1, 0.25, 0.5, 0.75, 0.9, 1}
    for name, cap, every in (("dual", 50_000, 100), ("tri-fine", 60_000, 200), ("tri-coarse", 60_000, 200)):
        changed = [c for c in sweeps[name].configs if c.intervention.plane]
        assert {(c.train.max_steps, c.train.eval_every, c.intervention.start) for c in changed} == {(cap, every, 500)}
        assert {c.intervention.rank for c in changed} == {20}
    assert {c.intervention.arm for c in sweeps["dual"].configs} == set(ARMS) - {
        "attention",
        "keep_rank",
        "perp_grad",
        "slow",
    }
    for sweep in sweeps.values():
        assert all(awaited(sweep, c) for c in sweep.configs if c.intervention.plane not in NO_SOURCE)
        assert {c.train.snapshot_every for c in sweep.configs if not c.intervention.plane} == {100}  # the paper's log
    repeats = [c for c in sweeps["repeats"].configs if c.intervention.repeat]
    assert {(c.seed, c.intervention.repeat) for c in repeats} == {(s, r) for s in (42, 137, 2024, 1, 2) for r in (1, 2)}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[grid]]\nseed = [1]\n[[grid]]\nsed = [2]", "number 2"),
        ("[[grid]]\nseed = [1]\n[[grid]]\ntask = [2]", "number 2"),
        ("[[grid]]\nseed = [1]\n[[grid]]\nintervention.dos = [2]", "number 2"),
        ("[[grid]]\n" + "a." * 500 + "b = 1", "one table deep"),
        ("[[grid]]\nseed = " + "[" * 5000 + "]" * 5000, "nested too deep"),
        ("[[grid]]\nseed = 1" + "0" * 5000, "a sweep in TOML"),
        ("[[grid]]\nseed = 0x1" + "0" * 5000, "4,300 digits"),
        (f"[[grid]]\nseed = {list(range(200))}\ntrain.max_steps = {list(range(1, 201))}", "10,000 runs"),
        ('seed = 1\n[[grid]]\nseed = [1]\n[[analyses]]\nname = ["a"]', "name of an analysis"),
        ('[[runs]]\nname = "' + "x" * 130 + '"', "at most 120 characters"),
    ],
)
def test_slips_and_monsters_are_errors_and_soon(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_sweep(BASE + text)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 3000
