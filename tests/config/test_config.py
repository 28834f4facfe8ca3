import dataclasses
import json
import math
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrok import config as cf
from minigrok.config.arms import ARMS, BASES
from minigrok.config.operations import OPERATIONS
from minigrok.errors import ConfigError

PRIMES = (3, 5, 7, 23, 97, 113)
rates = st.floats(0, 1, exclude_min=True, exclude_max=True)
counts = st.integers(1, 10**9)

tasks = st.builds(
    cf.Task,
    p=st.sampled_from(PRIMES),
    operations=st.lists(st.sampled_from(list(OPERATIONS)), min_size=1, unique=True).map(tuple),
    exclude_zero=st.just(True),
    train_fraction=st.floats(0.3, 0.7),
)
models = st.builds(
    lambda heads, head_width, **rest: cf.Model(width=heads * head_width, heads=heads, **rest),
    heads=st.integers(1, 8),
    head_width=st.integers(1, 65),
    mlp_width=counts,
    blocks=st.integers(1, 9),
    norm_eps=rates,
    cross_entropy=st.sampled_from(["stable", "saturating"]),
    attention=st.sampled_from(["softmax", "uniform"]),
    norm=st.sampled_from(["layernorm", "sphere"]),
)
parts = st.lists(st.sampled_from(["queries", "keys", "*.bias", "pos_emb"]), unique=True).map(tuple)
optimisers = st.builds(
    cf.Optimiser,
    learning_rate=rates,
    weight_decay=st.floats(0, 10),
    beta1=rates,
    beta2=rates,
    eps=rates,
    clip_norm=rates | st.just(math.inf),
    frozen=parts,
    frozen_from=st.just(1) | counts,
)
trains = st.builds(
    cf.Train,
    batch_size=counts,
    max_steps=counts,
    eval_every=counts,
    snapshot_every=counts,
    grok_threshold=rates,
    grok_patience=counts,
    after_grok=st.integers(0, 10**9),
    stop_when_grokked=st.booleans(),
)


def computes(*engines):
    dtypes = st.sampled_from(["float32", "float64"])
    return st.builds(cf.Compute, engine=st.sampled_from(engines), dtype=dtypes, shards=counts)


interventions = st.just(cf.Intervention()) | st.builds(
    cf.Intervention,
    arm=st.sampled_from([name for name in ARMS if name != "none"]),
    dose=st.floats(0, 0.99),
    source=st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1),
    start=counts,
    rank=st.integers(2, 100),
    basis=st.sampled_from(["", *BASES]),
    repeat=st.integers(0, 9),
)


def with_sections(**sections):
    return st.builds(
        cf.Config,
        name=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]*", fullmatch=True),
        seed=st.integers(0, 2**32 - 1),
        task=tasks,
        model=models,
        init=st.builds(cf.Init, st.booleans(), st.sampled_from(["numpy", "pytorch"]), parts),
        optimiser=optimisers,
        train=trains,
        **sections,
    )


configs = with_sections(compute=computes("plain", "cpu"), intervention=interventions) | with_sections(
    compute=computes("plain", "cpu", "cuda"), intervention=st.just(cf.Intervention())
)


@settings(max_examples=40)
@given(configs)
def test_text_and_back_gives_the_same_config_and_hash(config: cf.Config) -> None:
    again = cf.from_toml(cf.to_toml(config))
    assert again == config
    assert cf.config_hash(again) == cf.config_hash(config)


@settings(max_examples=40)
@given(configs)
def test_text_is_complete(config: cf.Config) -> None:
    written = tomllib.loads(cf.to_toml(config))
    expected = dataclasses.asdict(config)
    if config.intervention == cf.Intervention():
        del expected["intervention"]
    for section, names in cf.LATER.items():
        for name in names if section in expected else ():
            if cf.value_of(config, f"{section}.{name}") == cf.value_of(cf.Config("x"), f"{section}.{name}"):
                del expected[section][name]
    assert written.keys() == expected.keys()
    for name, section in expected.items():
        if isinstance(section, dict):
            assert written[name].keys() == section.keys()


@settings(max_examples=40)
@given(configs, configs)
def test_settings_turn_any_config_into_any_other(start: cf.Config, goal: cf.Config) -> None:
    assignments = []
    for section, values in tomllib.loads(cf.to_toml(goal)).items():
        if isinstance(values, dict):
            assignments += [f"{section}.{key}={_toml(value)}" for key, value in values.items()]
        else:
            assignments.append(f"{section}={_toml(values)}")
    if "intervention.arm" not in "".join(assignments):
        assignments += [
            f"intervention.{key}={_toml(value)}" for key, value in dataclasses.asdict(cf.Intervention()).items()
        ]
    for section, names in cf.LATER.items():
        for key in (f"{section}.{name}" for name in names):
            if f"{key}=" not in " ".join(assignments):
                assignments.append(f"{key}={_toml(cf.value_of(cf.Config('x'), key))}")
    assert cf.with_settings(start, assignments) == goal


def _toml(value: object) -> str:
    if isinstance(value, str | tuple | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_presets() -> None:
    names = cf.preset_names()
    assert {"dual", "tri", "tiny"} < set(names)
    assert sum(name.startswith("single-") for name in names) == 6
    for name in names:
        config = cf.preset(name)
        assert config.name == name
        if name.startswith("single-"):
            assert config.task.n_train == (4608 if name == "single-mul" else 4704)
            assert (config.train.max_steps, config.train.snapshot_every) == (200_000, 100)


@pytest.mark.parametrize("name", cf.preset_names())
def test_a_preset_begins_with_what_it_is_and_its_source(name: str) -> None:
    text = (Path(cf.__file__).parent / "presets" / f"{name}.toml").read_text()
    assert text.startswith("# ")
    assert "\n# Source: " in text


def test_usual_steps_are_those_of_a_preset_whatever_its_seed_and_of_no_other_settings() -> None:
    dual = cf.preset("dual")
    assert (
        cf.usual_steps(dual)
        == cf.usual_steps(cf.with_settings(dual, ["seed=3", "train.max_steps=9"]))
        == cf.USUAL["dual"]
    )
    assert cf.usual_steps(cf.with_settings(dual, ["optimiser.weight_decay=0.5"])) is None
    assert cf.usual_steps(cf.with_settings(dual, ["model.width=64"])) is None
    assert cf.usual_steps(cf.preset("single-add")) is None
    assert all(cf.USUAL[name] < cf.preset(name).train.max_steps for name in cf.USUAL)


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean dual"):
        cf.preset("daul")


@pytest.mark.parametrize(
    ("setting", "nearest"),
    [
        ("optimiser.weight_decy=0.5", "optimiser.weight_decay"),
        ("optimizer.weight_decay=0.5", "optimiser.weight_decay"),
        ("weight_decay=0.5", "optimiser.weight_decay"),
        ("train.weight_decay=0.5", "optimiser.weight_decay"),
        ("train.steps=200", "train.max_steps"),  # not optimiser.eps, which looks more alike
        ("sed=1", "seed"),
        ("model.seed=1", "seed"),
        ("task.p.q=1", "task.p"),
    ],
)
def test_unknown_key_names_the_nearest(setting: str, nearest: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean {nearest}") as caught:
        cf.with_settings(cf.Config("x"), [setting])
    assert caught.value.got == setting.partition("=")[0]
    assert caught.value.exit_code == 2


def test_unknown_key_in_a_file_is_the_same_error() -> None:
    with pytest.raises(ConfigError, match=r"optimiser\.weight_decy - do: did you mean optimiser\.weight_decay"):
        cf.from_toml('name = "x"\n[optimiser]\nweight_decy = 0.5\n')
    with pytest.raises(ConfigError, match="got: optimizer"):
        cf.from_toml('name = "x"\n[optimizer]\nweight_decay = 0.5\n')
    with pytest.raises(ConfigError, match=r"choose one of name, seed, task\.p"):
        cf.from_toml('name = "x"\nzzz = 1\n')


def test_values_are_toml_or_bare_strings() -> None:
    changed = cf.with_settings(
        cf.Config("x"),
        ["compute.dtype=float64", 'compute.engine="plain"', "optimiser.weight_decay=0", " train.max_steps = 1_000"],
    )
    assert (changed.compute.dtype, changed.compute.engine) == ("float64", "plain")
    assert changed.train.max_steps == 1000
    assert type(changed.optimiser.weight_decay) is float


def test_later_settings_win_and_are_checked_together() -> None:
    changed = cf.with_settings(cf.Config("x"), ["model.width=6", "model.heads=3", "seed=1", "seed=2"])
    assert (changed.model.width, changed.model.heads, changed.seed) == (6, 3, 2)


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        cf.Config("x").seed = 1  # type: ignore[misc]


def test_what_came_later_leaves_the_hash_of_a_run_without_it_as_it_was() -> None:
    """Frozen: run folders of version 0.1.0 hold these."""
    assert cf.config_hash(cf.Config("dual")) == "d91829010de89139dc633554c7e89ff746e6dc617b07cceadb89a3b9fc8e6ca1"
    assert cf.config_hash(cf.preset("tiny")) == "d0447e472da65f3cea56d8e028369a94d71a4054bac1de97ce1a626e0dec8e32"
    assert "intervention" not in cf.to_toml(cf.preset("dual"))
    assert "generator" not in cf.to_toml(cf.Config("dual"))
    assert 'generator = "pytorch"' in cf.to_toml(cf.preset("dual"))
    assert "split" not in cf.to_toml(cf.preset("dual"))
    assert 'split = "orbits"' in cf.to_toml(cf.with_settings(cf.preset("dual"), ["task.split=orbits"]))
    repeat = cf.with_settings(cf.preset("dual"), ["intervention.repeat=1"])
    assert cf.config_hash(repeat) != cf.config_hash(cf.preset("dual"))


def test_an_intervention_is_refused_where_no_engine_makes_it() -> None:
    with pytest.raises(ConfigError, match="cpu or plain for an intervention"):
        cf.with_settings(cf.preset("tiny"), ["intervention.repeat=1", "compute.engine=cuda"])


def test_hash_covers_every_setting_but_the_name() -> None:
    base = cf.Config("x", intervention=cf.Intervention("kick", source="a"))
    other = {
        "seed": "1", "p": "23", "operations": '["add"]', "exclude_zero": "false", "train_fraction": "0.4",
        "split": "orbits",
        "train_rows": "[3, 1]",
        "width": "64", "heads": "2", "mlp_width": "3", "blocks": "1", "norm_eps": "1.0",
        "cross_entropy": "saturating", "attention": "uniform", "norm": "sphere", "zero": '["keys"]',
        "frozen": '["keys"]', "frozen_from": "7", "identical_blocks": "false", "generator": "pytorch",
        "learning_rate": "1.0", "weight_decay": "0.5", "beta1": "0.5", "beta2": "0.5", "eps": "1.0", "clip_norm": "2.0",
        "batch_size": "2", "max_steps": "3", "eval_every": "7", "snapshot_every": "7",
        "grok_threshold": "0.5", "grok_patience": "1", "after_grok": "1", "stop_when_grokked": "false",
        "engine": "plain", "dtype": "float64", "shards": "1", "portable": "true",
        "arm": "random_kick", "dose": "0.5", "source": "b", "start": "7", "rank": "7", "basis": "random", "every": "7",
        "repeat": "7",
    }  # fmt: skip
    hashes = {cf.config_hash(cf.with_settings(base, [f"{key}={other[key.split('.')[-1]]}"])) for key in _keys()[:-1]}
    assert len(hashes) == len(_keys()) - 1 == len(other)
    removal = [
        f"intervention.arm=removal{more}".split() for more in ("", ' intervention.support=["keys"]')
    ]  # no kick's
    assert len({cf.config_hash(cf.with_settings(base, settings)) for settings in removal}) == 2
    assert cf.config_hash(base) not in hashes
    assert cf.config_hash(cf.with_settings(base, ["name=y"])) == cf.config_hash(base)


def _keys() -> list[str]:
    values = dataclasses.asdict(cf.Config("x"))
    sections = {name: section for name, section in values.items() if isinstance(section, dict)}
    return ["seed", *(f"{name}.{key}" for name, section in sections.items() for key in section)]


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(cf.to_toml(cf.preset("tri")) + '\n[minigrok]\nversion = "0.0.1"\n')
    assert cf.from_toml(path) == cf.preset("tri")
    path.write_text("seed = 1")
    with pytest.raises(ConfigError, match=r"a name for the config.*my\.toml"):
        cf.from_toml(path)
    for damage in (b"seed = ", b"\xff\xfe\x00", b"a = 1\na = 2"):
        path.write_bytes(damage)
        with pytest.raises(ConfigError, match=r"my\.toml"):
            cf.from_toml(path)
    with pytest.raises(ConfigError, match=r"none\.toml"):
        cf.from_toml(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"a section \[task\]"):
        cf.from_toml('name = "x"\ntask = 3')


def test_importing_the_package_and_the_config_is_light() -> None:
    """`minigrok --help` starts under 0.3 s: nothing heavy may come in by the back door."""
    code = "import sys, minigrok.config, minigrok.errors; print({'numpy', 'numba', 'scipy'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
