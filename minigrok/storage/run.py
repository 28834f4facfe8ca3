"""A run in its folder: what is read of it, and what is written, by one process at a time."""

import contextlib
import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrok.config import Config, Intervention, config_hash, differences
from minigrok.display import html_table
from minigrok.errors import ConfigError, NonFiniteError, RunFolderError, ShapeError
from minigrok.network.params import Layout, layout
from minigrok.storage.counted import unbelievable
from minigrok.storage.files import damaged, inside, make_folder, read_arrays, read_note, write_arrays
from minigrok.storage.lock import Lock
from minigrok.storage.metrics import append_row, drop_after, read_columns, require_rows
from minigrok.storage.milestones import Standing, standings
from minigrok.version import __version__

Array = npt.NDArray[Any]
METRICS = "metrics.csv"
WRITTEN = ("config.toml", "checkpoint.safetensors", "plane.safetensors", METRICS, "intervention.csv", "snapshots/")
UNFINISHED = [f"{name}*.tmp" for name in WRITTEN]  # what those who write under a run's lock may leave


class Run:
    """A run folder; made by `create` or `open_run`.

    Reading needs nothing. Writing takes the folder's lock and keeps it until `close`, the end of a `with`
    block, or the end of the process.

    Attributes
    ----------
    folder : Path
    config : Config
    layout : Layout    of the parameters
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder = folder
        self.config = config
        self.layout = layout(config)
        self.recorded: dict[str, Any] = {}  # of an earlier sitting: see minigrok.engine.provenance
        self.sealed = False  # whether its config.toml has a checksum, and so all of its files
        self.other_versions = False  # whether to go on although other versions are recorded
        self._lock = Lock(folder, UNFINISHED)
        self._checkpoint = folder / "checkpoint.safetensors"
        self._most = believable(self.layout)
        self._sizes: dict[str, int] = {}  # of the tables, as this process left them

    @property
    def adopted(self) -> str:
        """What was compared when the snapshots of another program became this run; "" for a run of minigrok's own."""
        return str(self.recorded.get("adopted", ""))

    def require_own(self, what: str) -> None:
        """Raise a RunFolderError if another program trained the run; `what`: what only minigrok's own runs have."""
        if self.adopted:
            got = f"{self.folder}, adopted from another program: snapshots and the split are all there is of it"
            do = f"ask what snapshots tell; to train it anew: minigrok train {self.folder}/config.toml --out NEW"
            raise RunFolderError(what, got, do)

    def lock(self) -> None:
        """Become the only writer, or see that this Run still is; RunFolderError if not. Before `load_checkpoint`."""
        self._lock.take()

    def path(self, *names: str) -> Path:
        """Return a path in the folder, for writing or deleting; RunFolderError if a part of it is a link."""
        return inside(self.folder, *names)

    def close(self) -> None:
        """Let others write."""
        self._lock.release()

    def __enter__(self) -> "Run":
        self.lock()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append_metrics(self, row: Mapping[str, float], table: str = METRICS) -> None:
        """Add an evaluation to a table; the first row fixes the columns, one of which is "step".

        Parameters
        ----------
        row : mapping of column to number    nothing that differs between identical runs, so no times
        """
        with self._lock.writing():
            self._sizes[table] = append_row(self.path(table), row, self._sizes.get(table), self.lock)

    def metrics(self, table: str = METRICS) -> dict[str, Array]:
        """Columns of a table, each (rows,) int64 or float64; empty if there is none yet.

        Raises
        ------
        RunFolderError    a damaged line, or the table lacks evaluations that the checkpoint has seen
        """
        step = self._trained() if table == METRICS or self.config.intervention != Intervention() else 0
        columns = read_columns(self.folder / table)
        require_rows(self.folder / table, columns.get("step", np.empty(0)), step, self.config.train.eval_every)
        return columns

    def _trained(self) -> int:
        """Steps that the checkpoint says were made; 0 where it says nothing, which whoever reads it will say."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return int(read_note(self._checkpoint)["state"]["step"])
        return 0

    def truncate_metrics(self, step: int, table: str = METRICS) -> None:
        """Drop the rows after `step`, a half-written last line and repeated rows, atomically."""
        with self._lock.writing():
            self._sizes[table] = drop_after(self.path(table), step, self.lock)

    def save_snapshot(self, step: int, theta: Array) -> None:
        """Save parameters; saving the same again changes nothing.

        Parameters
        ----------
        step : int                       optimiser steps done
        theta : (P,) float32 or float64

        Raises
        ------
        RunFolderError    other parameters are already there, or no room
        ShapeError        theta does not fit the model
        """
        self.lock()
        path = self.snapshot_path(step)
        arrays = self.layout.views(theta)
        if path.exists():
            saved = self.load_snapshot(step, finite=False)
            if (saved.dtype, saved.tobytes()) != (theta.dtype, theta.tobytes()):
                do = "resume on the machine type that wrote it, or move it away"
                raise RunFolderError(f"the parameters of step {step} as in {path}", "other bits", do)
            return
        with self._lock.writing():
            make_folder(self.path("snapshots"), parents=False)
            write_arrays(self.path("snapshots", path.name), arrays, self._note() | {"step": step}, self.lock)

    def snapshots(self) -> list[int]:
        """Steps of the saved snapshots, ascending."""
        names = [path.name for path in (self.folder / "snapshots").glob("*.safetensors")]
        return sorted(int(match[1]) for name in names if (match := re.fullmatch(r"(\d+)\.safetensors", name)))

    def load_snapshot(self, step: int, finite: bool = True) -> Array:
        """Parameters (P,) at a step, in the dtype they were saved in.

        Parameters
        ----------
        step : int
        finite : bool    whether parameters that are NaN or infinite are an error

        Raises
        ------
        RunFolderError    no such snapshot, or a file that is damaged or of another run
        NonFiniteError    the run had diverged
        """
        path = self.snapshot_path(step)
        if not path.exists():
            there = ", ".join(map(str, self.snapshots())) or "none"
            raise RunFolderError(f"a snapshot of step {step} in {self.folder}", f"snapshots: {there}", "choose one")
        arrays, note = read_arrays(path, self._most)
        self._own(path, note, step)
        theta = flat(path, arrays, self.layout)
        if finite and not np.isfinite(theta).all():
            do = "the run had diverged: to analyse what was before, move this snapshot and later ones out of the run"
            raise NonFiniteError(f"finite parameters in {path}", f"{np.sum(~np.isfinite(theta))} others", do)
        return theta

    def theta(self, step: int | None = None) -> Array:
        """Parameters (P,) float64, as `Objective` takes them, at a step; default: the last snapshot."""
        steps = self.snapshots()
        if step is None and not steps:
            begun = self._checkpoint.exists()
            do = "restore its snapshots from a copy" if begun else f"train it: minigrok resume {self.folder}"
            raise RunFolderError(f"a snapshot in {self.folder}", "none", do)
        return self.load_snapshot(steps[-1] if step is None else step).astype(np.float64)

    def model(self, step: int | None = None) -> dict[str, Array]:
        """The same parameters as arrays under PyTorch's names, views of one vector."""
        return self.layout.views(self.theta(step))

    def standings(self) -> list[Standing]:
        """Where each task stands at the last evaluation; empty before the first."""
        return standings(self.config, self.metrics())

    def __repr__(self) -> str:
        said = [
            f"{each.task} not grokked" if each.grokked_at is None else f"{each.task} grokked at {each.grokked_at}"
            for each in self.standings()
        ] + ["adopted"] * bool(self.adopted)
        return f"<Run {self.folder}: {', '.join(said) or 'no evaluation yet'}>"

    def _repr_html_(self) -> str:
        """Show the run in a notebook."""
        steps = self.metrics().get("step")
        done = "no evaluation yet" if steps is None or not len(steps) else f"{steps[-1]:,} steps"
        shown = ("task", "memorised_at", "grokked_at", "test_accuracy")
        rows = [{name.replace("test_", "test "): getattr(each, name) for name in shown} for each in self.standings()]
        return f"<b>{escape(str(self.folder))}</b>: {done}, seed {self.config.seed}{html_table(rows)}"

    def save_checkpoint(self, arrays: Mapping[str, Array], state: Mapping[str, Any]) -> None:
        """Replace the resume state, atomically.

        Parameters
        ----------
        arrays : mapping of name to array    parameters, moments, generator keys: any numeric dtype
        state : mapping, JSON-able           counters
        """
        with self._lock.writing():
            write_arrays(self.path(self._checkpoint.name), arrays, self._note() | {"state": dict(state)}, self.lock)

    def load_checkpoint(self) -> tuple[dict[str, Array], dict[str, Any]] | None:
        """Arrays and state of the last checkpoint, or None if the run was killed before its first.

        Raises
        ------
        RunFolderError    the file is damaged or of another run
        """
        if not self._checkpoint.exists():
            return None
        arrays, note = read_arrays(self._checkpoint, self._most)
        self._own(self._checkpoint, note)
        if not isinstance(note.get("state"), dict):
            raise damaged(self._checkpoint, "no state of a run")
        if wrong := unbelievable(note["state"], self.config):
            raise damaged(self._checkpoint, f"{wrong}, which no training of this run reaches")
        return arrays, note["state"]

    def snapshot_path(self, step: int) -> Path:
        """Where the snapshot of a step is, or would be."""
        return self.folder / "snapshots" / f"{step:06d}.safetensors"

    def require_config(self, config: Config) -> None:
        """Raise a ConfigError unless the run has these settings, whatever its name."""
        if found := differences(self.config, config):
            got, do = f"another configuration: {'; '.join(found)}", "choose another folder, or move the run away"
            raise ConfigError(f"the same settings in {self.folder}", got, do)

    def _note(self) -> dict[str, Any]:
        return {"config_hash": config_hash(self.config), "version": __version__}

    def _own(self, path: Path, note: Mapping[str, Any], step: int | None = None) -> None:
        """Raise a RunFolderError unless the note says that this run wrote the file, at this step."""
        wanted, found = (config_hash(self.config), step), (note.get("config_hash"), note.get("step"))
        if found != wanted:
            required = f"{path} as this run wrote it (config hash {wanted[0][:12]}, step {step})"
            got = f"a file with config hash {str(found[0])[:12]}, step {found[1]}"
            raise RunFolderError(required, got, "move the file to where it belongs")


def believable(parts: Layout) -> int:
    """Return the bytes that a file of a model's parameters, or of a checkpoint, has at most."""
    return 64 * parts.size + 2**20


def flat(path: Path, arrays: Mapping[str, Array], parts: Layout) -> Array:
    """Return the vector (P,) of the arrays in a file.

    Raises
    ------
    RunFolderError    they are not exactly the parameters, in names, shapes and dtypes (float32 or float64)
    """
    if other := [f"{name} of {x.dtype}" for name, x in arrays.items() if x.dtype not in (np.float32, np.float64)]:
        do = "save them as float32 or float64"
        raise RunFolderError(f"parameters of float32 or float64 in {path}", ", ".join(other[:3]), do)
    try:
        return parts.flat(arrays, np.result_type(*arrays.values()) if arrays else np.float64)
    except ShapeError as error:
        raise RunFolderError(f"{error.required} in {path}", error.got, error.do) from error
