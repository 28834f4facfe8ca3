"""What the subspace analysis measures of one run; what the values are, `minigrok.analyses.subspace.analysis` says.

Memory: the trajectory in the saved dtype, `rows` x P, once, and a half of it for the second half's basis. Measured
(ru_maxrss): 3.33 GiB for 1500 rows of 302,914 float32 parameters; another run's trajectory is gone before.
"""

from collections.abc import Iterator

import numpy as np

from minigrok.analyses.base import Work, attention_steps, checkpoint_steps
from minigrok.analyses.shared.trajectories import top_components, trajectory
from minigrok.analyses.subspace.result import Comparison, Settings
from minigrok.engine import Array
from minigrok.geometry.bases import Basis, Trajectory, against_chance, angles, random_angles
from minigrok.statistics.intervals import band
from minigrok.storage.cadence import CHECKPOINTS
from minigrok.storage.runs import Run
from minigrok.training.optim import factors
from minigrok.training.run_state import RunState
from minigrok.training.train import trainer_of


def other_bases(run: Run, settings: Settings) -> dict[str, Basis]:
    """Return both bases of another run, from the whole of it."""
    return _whole(trajectory(run, _rows(run, settings)), run, settings)


def _rows(run: Run, settings: Settings) -> Array:
    return np.array(attention_steps(run, settings.protocol, 3, settings.own(settings.history, 300)))


def _whole(found: Trajectory, run: Run, settings: Settings) -> dict[str, Basis]:
    """Both bases from the whole run; the paper's one of the full vector has rows of its own."""
    if settings.protocol != "paper":
        return _both(found, run, settings)
    rows = np.array(checkpoint_steps(run, "paper", 3, settings.history or CHECKPOINTS))
    full = trajectory(run, rows).full(settings.full)
    return {"attention": found.attention(settings.top or top_components(run)), "full": full}


def _both(found: Trajectory, run: Run, settings: Settings, rows: int | None = None) -> dict[str, Basis]:
    top = settings.top or top_components(run)
    return {"attention": found.attention(top, rows), "full": found.full(settings.full, rows)}


class Measurement:
    """What all checkpoints of a run share: the trajectory, the bases that do not move, and the trainer."""

    def __init__(self, run: Run, other: dict[str, Basis], settings: Settings, work: Work, stream: str) -> None:
        self.run, self.other, self.settings, self.work, self.stream = run, other, settings, work, stream
        self.rows = _rows(run, settings)
        self.trajectory = trajectory(run, self.rows)
        self.whole = _whole(self.trajectory, run, settings)
        self.trainer, self.start = trainer_of(run), -1

    def checkpoint(self, step: int) -> dict[str, Array]:
        """Return share_BASIS (V, 5), rank_BASIS (), and replay ()."""
        vectors, replay = self._vectors(step)
        rng, found = self.work.rng(f"{self.stream}/{step}"), {"replay": np.array(replay)}
        for name, basis in self._bases(step).items():
            chances = [against_chance(basis, x, self.settings.draws, rng) for x in vectors]
            found |= {f"share_{name}": np.array(chances), f"rank_{name}": np.array(basis.rank)}
        return found

    def _bases(self, step: int) -> dict[str, Basis]:
        found = {f"{name}, run": basis for name, basis in self.whole.items()}
        if self.settings.protocol == "paper":
            return found
        past = _both(self.trajectory, self.run, self.settings, int(np.sum(self.rows <= step)))
        found |= {f"{name}, past": basis for name, basis in past.items()}
        return found | {f"{name}, other seed": basis for name, basis in self.other.items()}

    def _vectors(self, step: int) -> tuple[list[Array], float]:
        """Return the vectors of VECTORS, each (P,) float64, and how far the replay is off."""
        trainer, steps = self.trainer, np.array(self.run.snapshots())
        start = int(steps[steps <= max(step - self.settings.warm, int(steps[0]))][-1])
        before, there = self.run.load_snapshot(start), self.run.load_snapshot(step)
        theta = there.astype(np.float64)
        if start != self.start or trainer.counters.step > step:  # else go on with the exact replay
            trainer.begin_at(before, start)
            self.start = start
        while trainer.counters.step < step:
            trainer.step()
        walked = np.linalg.norm(theta - before)
        off = np.linalg.norm(trainer.theta.astype(np.float64) - theta)
        trainer.theta[:] = there
        trainer.step()
        update = adam_update(trainer)
        s = self.run.config.optimiser
        later = steps[steps > step]
        move = self.run.load_snapshot(int(later[0])) - theta if len(later) else np.zeros(len(theta))
        gradient = trainer.grad.astype(np.float64)
        vectors = [gradient, update, update - s.decay_rate * theta, move]
        return vectors, float(off / walked) if walked > 0 else float("nan")

    def angles(self) -> Iterator[Comparison]:
        """Yield the principal angles of each pair of bases."""
        n, rng = len(self.rows), self.work.rng(f"{self.stream}/angles")
        half = n // 2
        early = _both(self.trajectory, self.run, self.settings, half)
        rest = self.trajectory.X[half:] - self.trajectory.X[half]
        late = _both(Trajectory(rest, self.trajectory.matrices), self.run, self.settings)
        pairs = [("first half and run", early, self.whole), ("first and second half", early, late)]
        pairs += [("this and other seed", self.whole, self.other)] if self.other else []
        for between, a, b in pairs:
            for name in a:
                seen = angles(a[name], b[name])
                drawn = np.array([random_angles(a[name], b[name], rng) for _ in range(self.settings.draws)])
                bands = [np.array([d.mean(), *band(d)]) for d in drawn.T[:2]]
                yield Comparison(name, between, seen.overlap, seen.smallest, seen.largest, bands[0], bands[1])


def adam_update(state: RunState) -> Array:
    """Return what the run's last step added to theta beside the decay, (P,) float64."""
    *_, rate, root, eps = factors(state.config.optimiser, state.adamw.steps)
    m, v = state.adamw.m.astype(np.float64), state.adamw.v.astype(np.float64)
    return np.asarray(-rate * m / (np.sqrt(v) * root + eps))
