import dataclasses
import math
import pickle
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrok import config as cf
from minigrok.errors import (
    ConfigError,
    EngineError,
    MinigrokError,
    NonFiniteError,
    RunFolderError,
    ShapeError,
)
from minigrok.tasks import OPERATIONS

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
)
optimisers = st.builds(
    cf.Optimiser,
    learning_rate=rates,
    weight_decay=st.floats(0, 10),
    beta1=rates,
    beta2=rates,
    eps=rates,
    clip_norm=rates | st.just(math.inf),
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
computes = st.builds(
    cf.Compute,
    engine=st.sampled_from(["plain", "cpu", "cuda"]),
    dtype=st.sampled_from(["float32", "float64"]),
    shards=counts,
)
configs = st.builds(
    cf.Config,
    name=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]*", fullmatch=True),
    seed=st.integers(0, 2**32 - 1),
    task=tasks,
    model=models,
    init=st.builds(cf.Init, st.booleans()),
    optimiser=optimisers,
    train=trains,
    compute=computes,
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
    assert cf.with_settings(start, assignments) == goal


def _toml(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def test_defaults_are_the_papers() -> None:
    """PAPER sections 1.1 to 1.3."""
    dual = cf.preset("dual")
    assert dual.task == cf.Task(97, ("add", "mul"), True, 0.5)
    assert (dual.task.n_pairs, dual.task.n_train, dual.task.n_test) == (9216, 4608, 4608)
    assert dual.model == cf.Model(128, 4, 256, 2, 1e-5, "stable")
    assert dual.model.head_width == 32
    assert dual.optimiser == cf.Optimiser(1e-3, 1.0, 0.9, 0.98, 1e-8, 1.0)
    assert dual.train == cf.Train(512, 300_000, 100, 200, 0.98, 3, 0, True)
    assert dual == cf.Config("dual")


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
    with pytest.raises(
        ConfigError, match=r"optimiser\.weight_decy - do: did you mean optimiser\.weight_decay"
    ):
        cf.from_toml('name = "x"\n[optimiser]\nweight_decy = 0.5\n')
    with pytest.raises(ConfigError, match="got: optimizer"):
        cf.from_toml('name = "x"\n[optimizer]\nweight_decay = 0.5\n')
    with pytest.raises(ConfigError, match=r"choose one of name, seed, task\.p"):
        cf.from_toml('name = "x"\nzzz = 1\n')


@pytest.mark.parametrize(
    "setting",
    [
        "seed=1.5",
        "seed=true",
        "seed=abc",
        "seed=-1",
        "seed=4294967296",
        "name=",
        "name=a b",
        'name="../up"',
        "name=3",
        "task=3",
        "task.p=96",
        "task.p=1",
        "task.p=-97",
        "task.p=2",
        "task.operations=add",
        "task.operations=[]",
        'task.operations=["add", "add"]',
        'task.operations=["add", 1]',
        'task.operations=["dv"]',
        "task.exclude_zero=1",
        "task.train_fraction=0",
        "task.train_fraction=1",
        "task.train_fraction=1e-5",
        "task.train_fraction=nan",
        "model.width=130",
        "model.width=0",
        "model.heads=0",
        "model.blocks=0",
        "model.norm_eps=0.0",
        "model.cross_entropy=softmax",
        "optimiser.learning_rate=0",
        "optimiser.learning_rate=inf",
        "optimiser.learning_rate=nan",
        "optimiser.weight_decay=-0.1",
        "optimiser.beta1=1.0",
        "optimiser.beta2=-0.1",
        "optimiser.eps=0",
        "optimiser.clip_norm=0",
        "optimiser.clip_norm=fast",
        "train.batch_size=0",
        "train.batch_size=512.0",
        "train.max_steps=0",
        "train.after_grok=-1",
        "train.grok_threshold=1.1",
        "train.stop_when_grokked=yes",
        "compute.engine=gpu",
        "compute.dtype=float16",
        "compute.shards=0",
        "seed=1\ntask.p=5",
        "seed",
    ],
)
def test_a_bad_value_is_an_error_in_three_parts(setting: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cf.with_settings(cf.Config("x"), [setting])
    error = caught.value
    assert all((error.required, error.got, error.do))
    assert str(error) == f"required: {error.required} - got: {error.got} - do: {error.do}"


def test_values_are_toml_or_bare_strings() -> None:
    changed = cf.with_settings(
        cf.Config("x"),
        [
            "compute.dtype=float64",
            'compute.engine="plain"',
            "optimiser.weight_decay=0",
            " train.max_steps = 1_000",
        ],
    )
    assert (changed.compute.dtype, changed.compute.engine) == ("float64", "plain")
    assert changed.train.max_steps == 1000
    assert type(changed.optimiser.weight_decay) is float


def test_later_settings_win_and_are_checked_together() -> None:
    changed = cf.with_settings(cf.Config("x"), ["model.width=6", "model.heads=3", "seed=1", "seed=2"])
    assert (changed.model.width, changed.model.heads, changed.seed) == (6, 3, 2)


def test_division_needs_nonzero_pairs() -> None:
    assert cf.Task(operations=("div",)).exclude_zero
    with pytest.raises(ConfigError, match="exclude_zero"):
        cf.Task(operations=("div",), exclude_zero=False)


def test_python_goes_through_the_same_checks() -> None:
    with pytest.raises(ConfigError, match=r"model\.width is a whole number"):
        cf.Model(width="128")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="task is a"):
        cf.Config("x", task=cf.Model())  # type: ignore[arg-type]
    assert cf.Task(operations=["add"]).operations == ("add",)  # type: ignore[arg-type]
    numpy_seed = cf.Config("x", seed=np.int64(7))  # type: ignore[arg-type]
    assert type(numpy_seed.seed) is int
    assert cf.config_hash(numpy_seed) == cf.config_hash(cf.Config("x", seed=7))


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        cf.Config("x").seed = 1  # type: ignore[misc]


def test_hash_covers_every_setting_but_the_name() -> None:
    base = cf.Config("x")
    other = {
        "seed": "1", "p": "23", "operations": '["add"]', "exclude_zero": "false", "train_fraction": "0.4",
        "width": "64", "heads": "2", "mlp_width": "3", "blocks": "1", "norm_eps": "1.0",
        "cross_entropy": "saturating", "identical_blocks": "false", "learning_rate": "1.0",
        "weight_decay": "0.5", "beta1": "0.5", "beta2": "0.5", "eps": "1.0", "clip_norm": "2.0",
        "batch_size": "2", "max_steps": "3", "eval_every": "7", "snapshot_every": "7",
        "grok_threshold": "0.5", "grok_patience": "1", "after_grok": "1", "stop_when_grokked": "false",
        "engine": "plain", "dtype": "float64", "shards": "1",
    }  # fmt: skip
    hashes = {
        cf.config_hash(cf.with_settings(base, [f"{key}={other[key.split('.')[-1]]}"])) for key in _keys()
    }
    assert len(hashes) == len(_keys()) == len(other)
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


def test_errors_survive_pickling_and_know_their_exit_codes() -> None:
    codes = {ConfigError: 2, RunFolderError: 2, ShapeError: 2, EngineError: 3, NonFiniteError: 1}
    for cls, code in codes.items():
        error = pickle.loads(pickle.dumps(cls("a", "b", "c")))
        assert isinstance(error, MinigrokError)
        assert (type(error), str(error), error.exit_code) == (cls, "required: a - got: b - do: c", code)


def test_importing_the_package_and_the_config_is_light() -> None:
    """`minigrok --help` starts under 0.3 s: nothing heavy may come in by the back door."""
    code = (
        "import sys, minigrok.config, minigrok.errors; print({'numpy', 'numba', 'scipy'} & set(sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
