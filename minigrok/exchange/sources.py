"""What another program left: snapshots, one file a step, and a split. Untrusted: read as `minigrok.foreign` does."""

import io
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigrok.config.sections import COUNT
from minigrok.display import printable
from minigrok.engine import Array
from minigrok.errors import RunFolderError
from minigrok.foreign import read_file
from minigrok.storage.files import read_arrays, unpacked

READ = (".safetensors", ".npz")
PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle")
LARGEST = 2**30  # bytes of a snapshot or a split that are believable: our choice
CONVERT = """convert each file; three lines do it, and load nothing but arrays:
            import numpy, torch
            state = torch.load("{stem}", map_location="cpu", weights_only=True)
            numpy.savez("{step}.npz", **{{name: x.numpy() for name, x in state.items()}})"""


def by_step(folder: Path) -> dict[int, Path]:
    """Return the snapshots in a folder by their step, ascending: the last number in a file's name.

    Raises
    ------
    RunFolderError    no folder, no snapshot or pickles alone, a name without a step, a step that is there twice
    """
    if not folder.is_dir():
        raise RunFolderError("a folder of snapshots, one file a step", f"{folder} is none", "name one")
    files = sorted(path for path in folder.iterdir() if path.suffix in READ)
    if not files:
        raise _nothing(folder)
    found: dict[int, Path] = {}
    for path in files:
        numbers = re.findall(r"\d+", path.stem)
        if not numbers or len(numbers[-1]) > 18 or int(numbers[-1]) > COUNT:
            do = "rename it, for example to 000300.npz"
            raise RunFolderError("the optimiser step at the end of each snapshot's name", str(path), do)
        step = int(numbers[-1])
        if step in found:
            got, do = f"{found[step].name} and {path.name}, both of step {step}", "move one away"
            raise RunFolderError(f"one file a step in {folder}", got, do)
        found[step] = path
    return dict(sorted(found.items()))


def _nothing(folder: Path) -> RunFolderError:
    """Return the error of a folder without snapshots."""
    required = f"snapshots in {folder}: files NAME-STEP.safetensors or NAME-STEP.npz"
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if not pickles:
        return RunFolderError(required, "none", "save one file a step there")
    got = f"{pickles[0]}: a pickle, which can run any program when it is read, so minigrok reads none"
    step = (re.findall(r"\d+", pickles[0]) or ["STEP"])[-1]
    return RunFolderError(required, got, CONVERT.format(stem=printable(pickles[0]), step=step))


def read(path: Path) -> dict[str, Array]:
    """Return the arrays of a .safetensors, .npz or .npy file; that of the last is called ""."""
    if path.suffix == ".safetensors":
        return read_arrays(path, LARGEST)[0]
    if path.suffix not in (".npz", ".npy"):
        raise RunFolderError("a .safetensors, .npz or .npy file", str(path), "save it as one of these")
    try:
        data = read_file(path, LARGEST)
        if path.suffix == ".npz":
            return unpacked(data, LARGEST)
        return {"": np.load(io.BytesIO(data), allow_pickle=False)}
    except Exception as error:  # NumPy raises a dozen kinds on damaged files
        got = f"{path}: {getattr(error, 'strerror', None) or error or type(error).__name__}"
        do = "write it again, or name another one"
        raise RunFolderError("a file of numbers as NumPy writes it", got, do) from error


def read_logits(path: Path) -> Array:
    """Return the one array of a file; a RunFolderError unless it is one of floating-point numbers."""
    arrays = list(read(path).values())
    if len(arrays) != 1 or not np.issubdtype(arrays[0].dtype, np.floating):
        got = ", ".join(f"{x.dtype} {x.shape}" for x in arrays[:3]) or "none"
        raise RunFolderError(f"one array of logits in {path}", got, "save it alone, as floating-point numbers")
    return arrays[0]


class Split(NamedTuple):
    """Rows of the pair table to train on, and whether its pairs leave out 0: None where the file does not say."""

    rows: tuple[int, ...]
    exclude_zero: bool | None


def read_split(path: Path, p: int, exclude_zero: bool | None) -> Split:
    """Return the split in a file.

    Parameters
    ----------
    path : Path                    arrays "train" and, if one likes, "test"; a .npy file holds the train pairs alone. An
                                   array (n,) numbers pairs in the order (0, 0), (0, 1), ..., an array (n, 2) holds them
    p : int                        modulus
    exclude_zero : bool or None    whether the table begins at (1, 1); None: what the file says, which may be nothing

    Raises
    ------
    RunFolderError    no such file; other arrays; no whole numbers, or ones that are no pairs; with "test": no partition
    """
    arrays = read(path)
    parts = {"train": arrays[""]} if "" in arrays else {x: arrays[x] for x in ("train", "test") if x in arrays}
    do = 'save the train pairs as "train", numbered from 0 or as pairs (n, 2)'
    if "train" not in parts or (len(arrays) != len(parts)):
        raise RunFolderError(f'an array "train", and "test" if you like, in {path}', ", ".join(arrays) or "none", do)
    for name, x in parts.items():
        is_table = x.ndim == 1 or (x.ndim == 2 and x.shape[1] == 2)
        if not (is_table and x.size and np.issubdtype(x.dtype, np.integer)):
            raise RunFolderError(f"whole numbers (n,) or (n, 2) as {name} in {path}", f"{x.dtype} {x.shape}", do)
    if exclude_zero is None:
        exclude_zero = _without_zero(list(parts.values()), p)
    first = int(bool(exclude_zero) or exclude_zero is None)
    rows = [_rows(path, x.astype(np.int64), p, first) for x in parts.values()]
    everything = np.concatenate(rows)
    n_pairs, twice = (p - first) ** 2, len(everything) - len(np.unique(everything))
    if twice or (len(rows) > 1 and len(everything) != n_pairs):
        what = f"a split of the {n_pairs:,} pairs from {first} to {p - 1}" if len(rows) > 1 else "different train pairs"
        got = f"{len(everything):,} pairs, {twice:,} of them twice"
        raise RunFolderError(f"{what} in {path}", got, "each pair is a train or a test pair, once")
    return Split(tuple(rows[0].tolist()), exclude_zero)


def _without_zero(parts: list[Array], p: int) -> bool | None:
    """Return whether the pairs of a split leave out 0, or None if they do not tell."""
    if any(((x == 0).any() if x.ndim == 2 else x.max() >= (p - 1) ** 2) for x in parts):
        return False
    return True if len(parts) > 1 else None


def _rows(path: Path, x: Array, p: int, first: int) -> Array:
    """Return the rows (n,) of the pair table, whose pairs begin at `first`."""
    n = p - first
    low, high = (first, p - 1) if x.ndim == 2 else (0, n * n - 1)
    if x.min() < low or x.max() > high:
        what = "tokens" if x.ndim == 2 else "numbers of pairs"
        do = "check p, and --set task.exclude_zero=false if the pairs include 0"
        raise RunFolderError(f"{what} from {low} to {high} in {path}", f"{x.min()} to {x.max()}", do)
    return (x[:, 0] - first) * n + x[:, 1] - first if x.ndim == 2 else x
