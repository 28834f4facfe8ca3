import numpy as np
import pytest

from minigrok import config as cf
from minigrok.errors import ConfigError


def test_defaults_are_the_papers() -> None:
    """arXiv:2602.18523, code aa4e72f"""
    dual = cf.preset("dual")
    assert dual.task == cf.Task(97, ("add", "mul"), True, 0.5)
    assert (dual.task.n_pairs, dual.task.n_train, dual.task.n_test) == (9216, 4608, 4608)
    assert dual.model == cf.Model(128, 4, 256, 2, 1e-5, "stable")
    assert dual.model.head_width == 32
    assert dual.optimiser == cf.Optimiser(1e-3, 1.0, 0.9, 0.98, 1e-8, 1.0)
    assert dual.train == cf.Train(512, 300_000, 100, 100, 0.98, 3, 0, True)
    assert dual.init == cf.Init(True, "pytorch")
    assert cf.with_settings(dual, ["init.generator=numpy", "train.snapshot_every=200"]) == cf.Config("dual")


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
        "init.generator=torch",
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
