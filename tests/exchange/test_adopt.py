"""Adopting what another program left: the same numbers come out, wrong input is named, and leaves nothing behind."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import minigrok
from safetensors.numpy import save_file

from minigrok.config import Config, Model, Task, Train, from_toml, with_settings
from minigrok.engine import Array
from minigrok.errors import MinigrokError
from minigrok.exchange import sources
from minigrok.exchange.adopt import Adopted, Claim, adopt
from minigrok.network.objective import Objective
from minigrok.network.params import initial, layout
from minigrok.storage.runs import create, open_run
from minigrok.tasks import pairs

CONFIG = Config("hers", seed=7, task=Task(p=7), model=Model(width=6, heads=3, mlp_width=5, blocks=2), train=Train(16))
PARTS = layout(CONFIG)
THETA = initial(with_settings(CONFIG, ["compute.dtype=float64"]))
HEADS = {"model.heads": 3}
Arrays = dict[str, Array]


def arrays(step: int) -> Arrays:
    """Snapshots of a training that shrinks its parameters."""
    return {name: x.copy() for name, x in PARTS.views(THETA * 0.999**step).items()}


def loss(config: Config = CONFIG, step: int = 20) -> float:
    data = pairs(config.task, config.seed)
    return Objective(config, *data.of(data.train)).loss(THETA * 0.999**step)


@pytest.fixture
def hers(tmp_path: Path) -> Path:
    folder = tmp_path / "hers"
    folder.mkdir()
    for step in (0, 10, 20):
        np.savez(folder / f"model-{step}.npz", **arrays(step))  # type: ignore[arg-type]
    return folder


def taken(hers: Path, split: int | Path = 7, **more: Any) -> Adopted:
    claim = more.pop("claim", Claim(20, loss(), None))
    return adopt(hers, hers.parent / "runs" / "mine", claim, split, HEADS | more.pop("settings", {}), **more)


def test_an_adopted_run_has_the_numbers_of_the_snapshots(hers: Path) -> None:
    run = taken(hers).run
    assert run.snapshots() == [0, 10, 20]
    assert all(run.load_snapshot(step).tobytes() == (THETA * 0.999**step).tobytes() for step in (0, 10, 20))
    assert run.config.task == CONFIG.task
    assert run.config.model == CONFIG.model
    assert (run.config.seed, run.config.compute.dtype, run.config.name) == (7, "float64", "mine")
    columns = run.metrics()
    assert columns["train_loss_add"][2] + columns["train_loss_mul"][2] == pytest.approx(loss(), rel=1e-12)
    assert np.isnan(columns["grad_norm"]).all()
    assert run.adopted.startswith("train loss: off by ")
    assert not list(run.folder.parent.glob(".*"))


@pytest.mark.parametrize("ending", ["npy", "npz", "both", "pairs", "safetensors"])
def test_a_split_from_a_file_is_kept_in_the_folder(ending: str, hers: Path) -> None:
    order = np.random.default_rng(0).permutation(36)
    table = pairs(CONFIG.task, 7).tokens
    path = hers / {"both": "split.both.npz", "pairs": "split.npy"}.get(ending, f"split.{ending}")
    path = hers.parent / path.name
    if ending == "safetensors":
        save_file({"train": order[:12]}, path)
    elif path.suffix == ".npz":
        np.savez(path, train=order[:12], **({"test": order[12:]} if ending == "both" else {}))
    else:
        np.save(path, table[order[:12]] if ending == "pairs" else order[:12])
    split = with_settings(CONFIG, [f"task.train_rows={order[:12].tolist()}"])
    run = taken(hers, path, claim=Claim(20, loss(split), None)).run
    assert run.config.task.train_rows == tuple(order[:12].tolist())
    data = pairs(from_toml(run.folder / "config.toml").task, 0)
    assert data.train.tolist() == order[:12].tolist()
    assert data.test.tolist() == sorted(order[12:].tolist())


def test_pairs_with_0_are_seen(tmp_path: Path) -> None:
    for x in (np.array([48, 3]), np.array([[0, 3], [1, 1]])):
        np.save(tmp_path / "s.npy", x)
        assert sources.read_split(tmp_path / "s.npy", 7, None).exclude_zero is False
    np.savez(tmp_path / "s.npz", train=np.arange(10), test=np.arange(10, 49))
    assert sources.read_split(tmp_path / "s.npz", 7, None).exclude_zero is False


def test_logits_that_come_out_are_as_good_as_a_loss(hers: Path) -> None:
    run = taken(hers).run
    data = pairs(CONFIG.task, 7)
    objective = Objective(CONFIG, *data.of(data.train))
    objective.loss(run.theta())
    from minigrok.analyses.shared.activations import Activations

    own = Activations(run, data.tokens[data.train])(run.theta(), lambda z, _: {"z": np.stack(z, 1)})["z"]
    again = hers.parent / "again"
    path = hers.parent / "logits.npy"
    np.save(path, own.swapaxes(0, 1).astype(np.float32))
    minigrok("adopt", hers, "--heads", 3, "--split", 7, "--logits", f"20={path}", "--out", again)
    for wrong in (own.swapaxes(0, 1) * 1.001, own, own.swapaxes(0, 1)[:, ::-1]):
        np.save(path, wrong)
        minigrok(
            *("adopt", hers, "--heads", 3, "--split", 7, "--logits", f"20={path}", "--out", hers.parent / "no"),
            code=2 if wrong is own else 1,
            words=("logits",),
        )


def damaged(name: str, change: Callable[[Array], Array]) -> Callable[[Path], object]:
    """A change of one array in the last snapshot."""

    def apply(hers: Path) -> None:
        changed = arrays(20)
        changed[name] = change(changed[name])
        np.savez(hers / "model-20.npz", **changed)  # type: ignore[arg-type]

    return apply


def without(name: str) -> Callable[[Path], object]:
    kept = {key: x for key, x in arrays(20).items() if key != name}
    return lambda hers: np.savez(hers / "model-20.npz", **kept)  # type: ignore[arg-type]


def set_nan(x: Array) -> Array:
    x.flat[0] = np.nan
    return x


def instead(file: str, data: bytes) -> Callable[[Path], object]:
    return lambda hers: (hers / file).write_bytes(data)


def huge(hers: Path) -> None:
    with (hers / "model-20.npz").open("wb") as file:
        file.truncate(sources.LARGEST + 1)


def pickles(hers: Path) -> None:
    for path in hers.iterdir():
        path.rename(path.with_suffix(".pt"))


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (without("norm.weight"), "norm.weight"),
    "missing size": (without("encoder.layers.0.linear1.bias"), "linear1.bias"),
    "transposed": (damaged("tok_emb.weight", lambda x: x.T.copy()), "transposed"),
    "other shape": (damaged("pos_emb", lambda x: x[:1]), "pos_emb (2, 6)"),
    "further": (damaged("norm.weight", lambda x: np.ones(9)), "norm.weight (6,)"),
    "nan": (damaged("norm.bias", set_nan), "NaN or infinity in norm.bias"),
    "whole numbers": (damaged("norm.bias", lambda x: x.astype(int)), "float32 or float64"),
    "half": (damaged("norm.bias", lambda x: x.astype(np.float16)), "float32 or float64"),
    "objects": (damaged("norm.bias", lambda x: x.astype(object)), "model-20.npz"),
    "cut": (instead("model-20.npz", b"PK\x03\x04"), "model-20.npz"),
    "empty": (instead("model-20.npz", b""), "model-20.npz"),
    "huge": (huge, "at most"),
    "pipe": (lambda hers: ((hers / "model-20.npz").unlink(), os.mkfifo(hers / "model-20.npz")), "not a regular file"),
    "twice": (instead("other_20.safetensors", b""), "both of step 20"),
    "no step": (instead("last.npz", b""), "the optimiser step"),
    "far step": (instead(f"{'9' * 30}.npz", b""), "the optimiser step"),
    "pickle": (pickles, "weights_only=True"),
    "nothing": (lambda hers: [path.unlink() for path in hers.iterdir()], "save one file a step"),
}


@pytest.mark.parametrize("which", [0, 20])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_snapshots_are_named_and_leave_nothing(name: str, which: int, hers: Path) -> None:
    """`which`: the snapshot whose loss is compared: the damaged one, or another."""
    change, said = WRONG[name]
    change(hers)
    out = hers.parent / "out"
    args = ("--heads", 3, "--split", 7, "--loss", f"{which}={loss(step=which)!r}", "--out", out)
    found = minigrok("adopt", hers, *args, code=1 if name == "nan" else 2, words=("required:", "got:", "do:"))
    assert said in " ".join(found.stderr.split())
    assert sorted(path.name for path in hers.parent.iterdir()) == ["hers"]


def test_a_snapshot_in_another_precision_is_refused(hers: Path) -> None:
    np.savez(hers / "model-10.npz", **{name: x.astype(np.float32) for name, x in arrays(10).items()})  # type: ignore[arg-type]
    with pytest.raises(MinigrokError, match="float64 in every snapshot"):
        taken(hers)


SPLITS: dict[str, tuple[dict[str, Array], str]] = {
    "twice": ({"train": np.array([1, 1, 2])}, "different train pairs"),
    "no partition": ({"train": np.arange(20), "test": np.arange(19, 36)}, "1 of them twice"),
    "gap": ({"train": np.arange(20), "test": np.arange(21, 36)}, "35 pairs"),
    "far": ({"train": np.array([49])}, "numbers of pairs"),
    "negative": ({"train": np.array([-1, 3])}, "numbers of pairs"),
    "tokens": ({"train": np.array([[3, 7]])}, "tokens"),
    "floats": ({"train": np.array([0.5])}, "whole numbers"),
    "shape": ({"train": np.zeros((2, 3), int)}, "whole numbers"),
    "none": ({"train": np.zeros(0, int)}, "whole numbers"),
    "all": ({"train": np.arange(36)}, "both sides"),
    "other names": ({"train": np.arange(3), "valid": np.arange(3, 6)}, 'an array "train"'),
}


@pytest.mark.parametrize("name", SPLITS)
def test_what_is_no_split_is_refused(name: str, hers: Path) -> None:
    split, said = SPLITS[name]
    np.savez(hers.parent / "split.npz", **split)  # type: ignore[arg-type]
    with pytest.raises(MinigrokError) as raised:
        taken(hers, hers.parent / "split.npz")
    assert said in str(raised.value)
    assert not (hers.parent / "runs" / "mine").exists()


def test_another_split_another_loss(hers: Path) -> None:
    with pytest.raises(MinigrokError, match=r"the train loss of step 20.*there.*here \(add"):
        taken(hers, 8)


@pytest.mark.parametrize("settings", [{"model.heads": 2}, {"model.norm_eps": 1e-6}])
def test_other_heads_or_another_epsilon_are_found(settings: dict[str, float], hers: Path) -> None:
    with pytest.raises(MinigrokError, match=r"it would with --heads 3 --set model\.norm_eps=1e-05"):
        taken(hers, settings=settings, tolerance=1e-9)


def test_what_was_not_given_is_said(hers: Path) -> None:
    assert taken(hers, settings={"train.batch_size": 16}).assumed == [
        "optimiser.learning_rate = 0.001",
        "optimiser.weight_decay = 1",
    ]


def test_a_folder_in_use_stays_as_it_is(hers: Path) -> None:
    taken(hers)
    folder = hers.parent / "runs" / "mine"
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    with pytest.raises(MinigrokError, match="choose another --out"):
        taken(hers)
    minigrok("resume", folder, code=2, words=("adopted from another program",))
    minigrok("train", folder / "config.toml", "--out", folder, code=2, words=("choose another --out",))
    minigrok("intervene", folder, "--arm", "random_kick", "--dose", 1, code=2, words=("adopted from another program",))
    assert {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()} == before
    minigrok("verify", folder)


def test_what_needs_more_than_snapshots_says_so(hers: Path) -> None:
    folder = taken(hers).run.folder
    minigrok("analyse", "sharpness", folder, code=2, words=("its batches and its optimiser's state", "adopted"))
    minigrok("audit", folder, code=2, words=("whose start is known", "adopted"))
    minigrok("analyse", "weight_spectra", folder, code=2, words=("5 snapshots", "adopt it again"))
    assert json.loads(minigrok("analyse", "heads", folder, "--json").stdout)


def test_one_number_must_be_given(hers: Path) -> None:
    args = ("adopt", hers, "--heads", 3, "--split", 7, "--out", hers.parent / "out")
    for more in ((), ("--loss", "20"), ("--loss", "20=x"), ("--loss", "20=1", "--logits", "20=a.npy")):
        minigrok(*args, *more, code=2, words=("--loss", "--logits"))
    minigrok(*args, "--loss", "30=1", code=2, words=("steps 0, 10, 20",))


def test_hostile_names_cannot_steer_a_terminal(hers: Path) -> None:
    (hers / "model-20.npz").unlink()
    np.savez(hers / "a\x1b[31m-20.npz", **{"\x1b[2J": np.ones(3)} | arrays(20))  # type: ignore[arg-type]
    found = minigrok("adopt", hers, "--heads", 3, "--split", 7, "--loss", "20=1", "--out", hers.parent / "out", code=2)
    assert "\x1b" not in found.output
    assert "\\x1b[2J" in found.stderr


def test_minigroks_own_snapshots_can_be_adopted(tmp_path: Path) -> None:
    """safetensors, with a checksum: a run of minigrok's, taken over as anybody's."""
    with create(tmp_path / "own", CONFIG) as run:
        run.save_snapshot(20, (THETA * 0.999**20).astype(np.float32))
    again = taken(tmp_path / "own" / "snapshots").run
    assert again.load_snapshot(20).tobytes() == open_run(tmp_path / "own").load_snapshot(20).tobytes()
