"""A snapshot as a PyTorch module: a Python file that needs nothing of minigrok, the weights beside it. No pickle."""

from importlib import resources
from pathlib import Path

from minigrok.errors import ConfigError
from minigrok.storage.files import make_folder, write_arrays, write_atomically
from minigrok.storage.runs import Run

LOADER = '''

def network() -> TorchModel:
    """Return the network of the run {name}, seed {seed}, at step {step}: its weights lie beside this file."""
    from pathlib import Path

    from safetensors.torch import load_file

    model = TorchModel(
        p={p},
        width={width},
        heads={heads},
        mlp_width={mlp_width},
        blocks={blocks},
        operations={operations},
        norm_eps={norm_eps!r},
        attention="{attention}",
        norm="{norm}",
    )
    model.to(torch.{dtype}).load_state_dict(load_file(Path(__file__).with_suffix(".safetensors")))
    return model
'''


def to_torch(run: Run, step: int, file: Path) -> Path:
    """Write a PyTorch module of a snapshot, and its weights beside it; return where these are.

    Parameters
    ----------
    run : Run
    step : int     of a snapshot
    file : Path    FILE.py, which must not exist, nor FILE.safetensors

    Raises
    ------
    ConfigError       another ending, or a file that is there
    RunFolderError    no such snapshot, or no room
    NonFiniteError    the run had diverged
    """
    weights = file.with_suffix(".safetensors")
    if file.suffix != ".py":
        raise ConfigError("a file to write that ends in .py", str(file), f"take {file.with_suffix('.py')}")
    if there := [str(path) for path in (file, weights) if path.exists() or path.is_symlink()]:
        raise ConfigError("a new file", f"{' and '.join(there)}, already there", "choose another name, or move it away")
    theta, model, task = run.load_snapshot(step), run.config.model, run.config.task
    source = (resources.files("minigrok") / "peers" / "torch_model.py").read_text(encoding="utf-8")
    loader = LOADER.format(
        name=run.config.name,
        seed=run.config.seed,
        step=step,
        p=task.p,
        width=model.width,
        heads=model.heads,
        mlp_width=model.mlp_width,
        blocks=model.blocks,
        operations=task.operations,
        norm_eps=model.norm_eps,
        attention=model.attention,
        norm=model.norm,
        dtype=theta.dtype,
    )
    make_folder(file.absolute().parent)
    write_arrays(weights, run.layout.views(theta), {"step": step})
    write_atomically(file, (source + loader).encode())
    return weights
