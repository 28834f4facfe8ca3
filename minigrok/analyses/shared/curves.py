"""What compression, reconstruction and ablation share: a network changed step by step, and its accuracies.

A curve is a list of changed networks theta' along x (a rank, a share, a factor, the name of a module), their accuracy
on ALL train and ALL test pairs, and, as a null, that of the final network with Gaussian noise of the same norm, array
by array: a change that does no more than its size would is no special change.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from minigrok.analyses.base import Row, Work, plain
from minigrok.checks import nearest
from minigrok.config import Config
from minigrok.engine import Array
from minigrok.errors import ConfigError, RunFolderError
from minigrok.geometry.compression import noise_like
from minigrok.network.passes import evaluation, passes
from minigrok.storage.cadence import checkpoints
from minigrok.storage.runs import Run
from minigrok.tasks import pairs


@dataclass(frozen=True)
class Curve:
    """Accuracies along one kind of change; all of them shares, 0 .. 1.

    Attributes
    ----------
    study, reference : str          what is changed, and from where ("init", "zero", ...)
    x : (N,) float64 or str         how much
    train, test : (N, n_tasks)
    error : (N,)                    |theta' - theta_final| / |theta_final|
    noise : (N, repeats, n_tasks)   test accuracy with noise of the same norm; repeats may be 0
    """

    study: str
    reference: str
    x: Array
    train: Array
    test: Array
    error: Array
    noise: Array

    @property
    def worst(self) -> Array:
        """Test accuracy of the worst task, (N,)."""
        return np.asarray(self.test.min(axis=1))

    @property
    def noise_worst(self) -> Array:
        """Mean over the repeats of the worst task's test accuracy with noise, (N,); nan without repeats."""
        if not self.noise.shape[1]:
            return np.full(len(self.x), np.nan)
        return np.asarray(self.noise.min(axis=2).mean(axis=1))


class Scorer:
    """Accuracies of a configuration's network at any theta, on ALL its train and ALL its test pairs.

    Parameters
    ----------
    config : Config
    dtype : str        of the arithmetic

    Attributes
    ----------
    names : list of str    of what has an accuracy: the tasks; a derived class may score something else
    """

    def __init__(self, config: Config, dtype: str) -> None:
        self.names = list(config.task.operations)
        self.net = passes(config, config.compute.engine, dtype, config.compute.shards)
        data = pairs(config.task, config.seed)
        parts = (data.train, data.test)
        self.sets = [evaluation(self.net, data.tokens[rows], data.targets[:, rows]) for rows in parts]

    def accuracies(self, theta: Array) -> Array:
        """Return train and test accuracy of each task at theta (P,), (2, n_tasks)."""
        self.net.theta[:] = theta
        return np.array([each.scores().accuracy for each in self.sets])

    def test_accuracy(self, theta: Array) -> Array:
        """Return the test accuracy of each task at theta (P,), (n_tasks,)."""
        self.net.theta[:] = theta
        return self.sets[1].scores().accuracy


class Network(Scorer):
    """The network of a run, with its first and final weights, that can be scored at any theta.

    Parameters
    ----------
    run : Run
    protocol : str
        "paper": float32, and the final network is the last checkpoint, up to 200 steps before the end. "exact":
        float64, the last snapshot.
    """

    def __init__(self, run: Run, protocol: str) -> None:
        super().__init__(run.config, "float32" if protocol == "paper" else "float64")
        self.run, self.layout = run, run.layout
        self.steps = usable_steps(run, protocol)  # of the checkpoints
        self.init = run.load_snapshot(self.steps[0]).astype(np.float64)
        self.final = run.load_snapshot(self.steps[-1]).astype(np.float64)

    def origin(self, reference: str) -> Array:
        """Return the point (P,) from which a change is measured: "init" or "zero"."""
        return self.init if reference == "init" else np.zeros_like(self.init)

    def curve(
        self,
        study: str,
        reference: str,
        changed: Mapping[float | str, Callable[[], Array]],
        repeats: int,
        work: Work,
        is_inside: bool = False,
    ) -> Curve:
        """Score the networks that `changed` makes, one for each x, and the same amount of noise `repeats` times.

        is_inside: the noise is in the changed entries alone.
        """
        name = f"{study}-{reference}".replace(" ", "-").replace("/", "-")
        rng = work.rng(f"noise/{name}")

        def measured() -> dict[str, Array]:
            found, noise, errors, size = [], [], [], np.linalg.norm(self.final)
            alike = partial(noise_like, layout=self.layout, rng=rng, is_inside=is_inside)
            for make in changed.values():
                theta = make()
                error = theta - self.final
                found.append(self.accuracies(theta))
                draws = [self.test_accuracy(self.final + alike(error)) for _ in range(repeats)]
                noise.append(np.reshape(draws, (repeats, found[-1].shape[1])))
                errors.append(np.linalg.norm(error) / size if size > 0 else np.nan)
            both = np.array(found)
            return {"train": both[:, 0], "test": both[:, 1], "error": np.array(errors), "noise": np.array(noise)}

        return Curve(study, reference, np.array(list(changed)), **work.part(name, measured))


def usable_steps(run: Run, protocol: str) -> list[int]:
    """Return the steps of the checkpoints from 0 to the final network of a protocol.

    Raises
    ------
    RunFolderError
        No snapshot of step 0, or none after it, or the run lacks one of the paper's checkpoints.
    """
    steps = checkpoints(run, protocol)
    if len(steps) < 2 or steps[0] != 0:
        got = f"snapshots: {', '.join(map(str, steps[:5])) or 'none'}"
        raise RunFolderError(f"snapshots of step 0 and of a later one in {run.folder}", got, "train longer: resume")
    return steps


def chosen(parts: Sequence[str], known: Iterable[str], name: str, protocol: str) -> list[str]:
    """Return the parts of an analysis that are asked for, all if none is; a ConfigError names the unknown one."""
    known = list(known)
    for part in parts:
        if part not in known:
            required = f"{name}.parts (protocol {protocol}) from {', '.join(known)}"
            raise ConfigError(required, repr(part), nearest(part, known))
    return [part for part in known if part in parts or not parts]


def point_rows(run: str, step: int, tasks: Sequence[str], curves: Sequence[Curve]) -> list[Row]:
    """One row a changed network; the accuracy of each task, of the worst one, and with noise of the same norm."""
    rows = []
    for curve in curves:
        noise = curve.noise_worst
        for i, x in enumerate(curve.x.tolist()):
            row: Row = {"run": run, "step": step, "study": curve.study, "of": curve.reference, "x": str(x)}
            row |= {f"test {task}": float(curve.test[i, k]) for k, task in enumerate(tasks)}
            row |= {"test worst": float(curve.worst[i]), "train worst": float(curve.train[i].min())}
            rows.append(row | {"error": float(curve.error[i]), "noise worst": plain(noise[i])})
    return rows
