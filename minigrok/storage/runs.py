"""The run folder: written so that a kill at any instant loses nothing, read with clear errors. No pickle.

    config.toml                    complete configuration, its hash, versions
    metrics.csv                    append-only, one row an evaluation; beside it intervention.csv, if there is one
    snapshots/000200.safetensors   parameters under PyTorch names
    checkpoint.safetensors         what `resume` needs; replaced atomically
    .lock, .owner                  of the one process that writes: see minigrok.storage.lock

Nothing in it differs between two identical runs on one machine, no times, no random order; but for the seconds spent,
which the checkpoint counts.
"""

import tomllib
from pathlib import Path

from minigrok.config import PROVENANCE, Config, config_hash, from_toml, to_toml
from minigrok.engine import provenance
from minigrok.errors import ConfigError, RunFolderError
from minigrok.foreign import read_file
from minigrok.network.params import Layout
from minigrok.storage.files import SEAL, is_sealed, is_temporary, make_folder, read_arrays, seal, write_atomically
from minigrok.storage.lock import leftover
from minigrok.storage.run import METRICS as METRICS
from minigrok.storage.run import Array, believable, flat
from minigrok.storage.run import Run as Run
from minigrok.version import __version__

FORMAT = 1  # of the run folder; a reader accepts its own only


def create(folder: Path | str, config: Config, theta: Array | None = None, adopted: str = "") -> Run:
    """Start a run folder.

    Parameters
    ----------
    folder : Path or str    must not exist, or be empty
    config : Config
    theta : (P,), optional  given initial parameters: kept as snapshot 0, written before anything names a run
    adopted : str           of a run that another program trained: what was compared

    Returns
    -------
    Run
        locked

    Raises
    ------
    RunFolderError    the folder is in use or cannot be made; nothing in it is touched
    """
    folder = Path(folder)
    _require_empty(folder)
    make_folder(folder)
    run = Run(folder, config)
    run.lock()
    try:
        _require_empty(folder)  # again: another process may have been faster
        if theta is not None:
            run.save_snapshot(0, theta.astype(config.compute.dtype))
        text = to_toml(config).encode() + b"\n" + seal(_provenance(config, adopted).encode())
        write_atomically(run.path("config.toml"), text, run.lock)
    except BaseException:
        run.close()
        raise
    return run


def begin(folder: Path | str, config: Config) -> Run:
    """Start a run folder, or open the one that an earlier sitting left there; locked. Errors: `create`, `open_run`.

    Raises
    ------
    ConfigError    the run there has other settings
    """
    if not Path(folder, "config.toml").exists():
        return create(folder, config)
    run = open_run(folder)
    run.require_config(config)
    run.lock()
    return run


def open_run(folder: Path | str) -> Run:
    """Open a run folder, to read it or to resume the run.

    Raises
    ------
    RunFolderError    not a run folder, a damaged or edited config.toml, or a format of another minigrok
    """
    folder = Path(folder)
    path = folder / "config.toml"
    if not path.exists():
        got = f"{folder} " + ("without a config.toml" if folder.is_dir() else "is no folder")
        raise RunFolderError("the folder of a run", got, "name a folder that `minigrok train --out` made")
    try:
        data = read_file(path)
        text = data.decode()
        written = dict(tomllib.loads(text)[PROVENANCE])
        by, form, stored = written["version"], written["format"], written["config_hash"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        got = f"{path}: {type(error).__name__}: {error}"
        raise RunFolderError("a config.toml as minigrok wrote it", got, "restore it from a copy") from error
    if form != FORMAT:
        required = f"a run folder of format {FORMAT} (minigrok {__version__})"
        raise RunFolderError(required, f"format {form}, written by minigrok {by}", f"use minigrok {by} for {folder}")
    run = Run(folder, _unchanged(path, text, stored, by))
    run.sealed = is_sealed(path, data[data.rfind(f"[{PROVENANCE}]".encode()) :])
    run.recorded = written
    return run


def load_weights(path: Path | str, parts: Layout) -> Array:
    """Parameters from any safetensors file with PyTorch's names.

    Parameters
    ----------
    path : Path or str
    parts : Layout        of the model they are for

    Returns
    -------
    theta : (P,) in the dtype of the file

    Raises
    ------
    RunFolderError    no such file, damaged, or arrays that do not fit the model
    """
    arrays, _ = read_arrays(Path(path), believable(parts))
    return flat(Path(path), arrays, parts)


def _require_empty(folder: Path) -> None:
    """Raise a RunFolderError unless the folder is missing or empty."""
    if folder.exists() and not folder.is_dir():
        raise RunFolderError("a new or empty folder for the run", f"{folder} is a file", "choose another --out")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    found = sorted(name for name in names if not leftover(name) and not is_temporary(name))
    if found:
        got = f"{folder} with {', '.join(found[:3])}" + (" ..." if len(found) > 3 else "")
        there = f"; to go on with the run that is there: minigrok resume {folder}" * ("config.toml" in found)
        raise RunFolderError("a new or empty folder for the run", got, f"choose another --out{there}")


def _provenance(config: Config, adopted: str) -> str:
    """Table that a run adds to its configuration; the hash comes last, so that a cut-off file lacks it."""
    mark = {"adopted": adopted} if adopted else {}
    kept = provenance.record() | mark | {"checksum": SEAL, "config_hash": config_hash(config)}
    lines = [f'{key} = "{value}"' for key, value in kept.items()]
    comment = "# Written by minigrok. The hash covers every setting but the name, the checksum this table."
    return "\n".join([f"[{PROVENANCE}]", comment, f"format = {FORMAT}", *lines, ""])


def _unchanged(path: Path, text: str, stored: str, by: str) -> Config:
    """Configuration in a run's config.toml, if it is still the one that the run was started with."""
    do = "undo the change in the file; for other settings start a new run"
    if by != __version__:
        do += f"; or read it with minigrok {by}, which wrote it (this is {__version__})"
    try:
        config = from_toml(text)
    except ConfigError as error:
        raise RunFolderError(f"{error.required} in {path}", error.got, do) from error
    if config_hash(config) != stored:
        required = f"the settings that the run was started with (hash {stored[:12]})"
        raise RunFolderError(required, f"{path} with hash {config_hash(config)[:12]}", do)
    return config
