"""A reference output of one run: its weights, its table, its picture, and what is computed from them.

reference_outputs/<name>/config.toml         the run; written by hand, the rest by `regenerate`
                         table.csv           metrics.csv of the run
                         input.npz           its last parameters, rounded to float16, which is exact from then on
                         figure.png          its picture, for eyes only
What it keeps beside these: reference.py.
"""

import io
from pathlib import Path

import numpy as np

from minigrok.config import Config, config_hash, from_toml
from minigrok.engine import Array
from minigrok.foreign import read_file
from minigrok.network.params import layout
from minigrok.plotting import save
from minigrok.reference.files import ReferenceOutputError, damaged, require
from minigrok.reference.geometry import geometry
from minigrok.reference.numbers import Expected, beginning, ending, exact, phenomenon, prefix
from minigrok.storage.files import unpacked, write_atomically
from minigrok.storage.metrics import read_columns
from minigrok.storage.runs import Run, open_run
from minigrok.training.figure import training_figure
from minigrok.training.train import train


def read_config(folder: Path) -> Config:
    """Configuration of a reference.

    Raises
    ------
    ReferenceOutputError    there is no such reference
    ConfigError             its config.toml is none
    """
    require(folder)
    return from_toml(folder / "config.toml")


def read_theta(folder: Path, size: int) -> Array:
    """Shipped parameters (P,) float16; a ReferenceOutputError if they are damaged or not P numbers."""
    path = folder / "input.npz"
    try:
        theta: Array = unpacked(read_file(path))["theta"]
    except (OSError, ValueError, KeyError) as error:
        raise damaged(path, error) from error
    if theta.shape != (size,):
        do = "regenerate the reference: its config has changed"
        raise ReferenceOutputError(f"theta ({size},) in {path}", f"{theta.shape}", do)
    return theta


def numbers(folder: Path) -> list[Expected]:
    """Compute what a reference keeps, from its config, its weights and its table.

    Notes
    -----
    Seconds: scores on all pairs, some 70 products with a batch of 512, 50 training steps, all in float64; then the
    run's own steps to its second evaluation.
    """
    config, columns = read_config(folder), read_columns(folder / "table.csv")
    if not columns:
        raise ReferenceOutputError(f"an evaluation in {folder / 'table.csv'}", "none", "restore it with git")
    theta = read_theta(folder, layout(config).size)
    trained = [*prefix(config), *beginning(config, config.train.eval_every)]
    return [*exact(config, theta), *geometry(config, theta), *trained, *phenomenon(config, ending(config, columns))]


def phenomena(folder: Path, own: Path) -> list[Expected]:
    """Return what a run of the same settings shows; a ReferenceOutputError if it has others."""
    config = read_config(folder)
    return phenomenon(config, ending(config, _of_its_settings(folder, own).metrics()))


def take(folder: Path, own: Path) -> None:
    """Replace weights, table and picture by those of a run in the folder `own`, whose missing steps are made first."""
    run, arrays = _of_its_settings(folder, own), io.BytesIO()
    with run:
        train(run)
    step = run.snapshots()[-1]
    np.savez_compressed(arrays, theta=run.load_snapshot(step).astype(np.float16), step=step)
    write_atomically(folder / "input.npz", arrays.getvalue())
    write_atomically(folder / "table.csv", (run.folder / "metrics.csv").read_bytes())
    save(training_figure(run), folder / "figure", ["png"])


def _of_its_settings(folder: Path, own: Path) -> Run:
    run = open_run(own)
    if config_hash(run.config) != config_hash(read_config(folder)):
        do = f"train one: minigrok train {folder / 'config.toml'}"
        raise ReferenceOutputError(f"a run of the settings in {folder / 'config.toml'}", f"{own}", do)
    return run
