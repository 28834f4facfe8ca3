"""What the commutator analysis measures at one checkpoint; what the values are, `commutator.Result` says."""

import numpy as np

from minigrok.analyses.base import Work, attention_steps
from minigrok.analyses.commutator.result import Settings
from minigrok.analyses.shared.probes import Mode, Probe
from minigrok.analyses.shared.trajectories import top_components, trajectory
from minigrok.engine import Array
from minigrok.geometry import brackets, lengths
from minigrok.geometry.bases import Basis, against_chance
from minigrok.storage.runs import Run

ETAS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # of the sweep: our choice, a decade on both sides of the paper's
Rows = tuple[Array, Array]  # of batch A and batch B


class Measurement:
    """What all checkpoints share: losses, modes and bases."""

    def __init__(self, run: Run, modes: list[Mode], settings: Settings, work: Work) -> None:
        self.run, self.settings, self.work = run, settings, work
        self.is_paper = settings.protocol == "paper"
        self.modes = modes
        self.attention = run.layout.group(["*.self_attn.*"])
        self.rows = np.array(attention_steps(run, settings.protocol, 1, settings.own(settings.history, 300)))
        self.trajectory = trajectory(run, self.rows)
        self.top = settings.top or top_components(run)
        self.whole = self.trajectory.attention(self.top)
        self.probe32 = Probe(run, "float32")
        self.probe64 = Probe(run, "float64")

    def checkpoint(self, step: int) -> dict[str, Array]:
        """Return every value at a checkpoint, (M, K), and those of the paper's one more draw, (M,)."""
        theta, K = self.run.load_snapshot(step), self.settings.K
        bases = {} if self.is_paper else {"run": self.whole, "past": self._past(step)}
        found: dict[str, Array] = {}
        for r in range(K + self.is_paper):
            stream = self.work.rng(f"commutator/{step}/{r}")
            rows = self.probe32.draw(stream)
            for m, mode in enumerate(self.modes):
                if r == K:
                    for name, value in self._extra(theta, rows, mode, stream).items():
                        found.setdefault(name, np.full(len(self.modes), np.nan))[m] = value
                    continue
                values = self._float32(theta, rows, mode)[0] if self.is_paper else {}
                values |= {} if self.is_paper else self._exact(theta, rows, mode, bases, stream)
                for name, value in values.items():
                    found.setdefault(name, np.full((len(self.modes), K), np.nan))[m, r] = value
        return found

    def _past(self, step: int) -> Basis:
        return self.trajectory.attention(self.top, int(np.sum(self.rows <= step)))

    def _float32(
        self, theta: Array, rows: Rows, mode: Mode, eta: float | None = None
    ) -> tuple[dict[str, float], brackets.Commutator]:
        """Return the paper's D with the norms, the cosine and the floor that belong to it, and the difference."""
        eta = eta or self.settings.eta
        theta32 = theta.astype(np.float32)
        self.probe32.load(rows, mode)
        c = brackets.difference(self.probe32.a, self.probe32.b, theta32, eta)
        floor = brackets.rounding_floor(c.g_a, c.g_b, theta32, eta)
        return {
            "float32": brackets.paper_defect(c, eta),
            "floor": brackets.paper_defect(floor, eta),
            "g_a": brackets.norm(c.g_a),
            "g_b": brackets.norm(c.g_b),
            "cosine": lengths.cosine(c.g_a, c.g_b),
        }, c

    def _exact(
        self, theta: Array, rows: Rows, mode: Mode, bases: dict[str, Basis], stream: np.random.Generator
    ) -> dict[str, float]:
        theta64, eta = theta.astype(np.float64), self.settings.eta
        self.probe64.load(rows, mode)
        a, b = self.probe64.a, self.probe64.b
        exact = brackets.bracket(a, b, theta64)
        found, single = self._float32(theta, rows, mode)
        double = brackets.difference(a, b, theta64, eta, (exact.g_a, exact.g_b))
        x = exact.vector
        found |= {
            "exact": brackets.defect(exact),
            "float64": brackets.defect(double, eta),
            "bracket": brackets.norm(x),
            "g_a": brackets.norm(exact.g_a),
            "g_b": brackets.norm(exact.g_b),
            "cosine": lengths.cosine(exact.g_a, exact.g_b),
            "attention": _energy(x, self.attention),
            "agreement": lengths.cosine(single.vector, x),
            "error": brackets.rounding_error(single, double, eta),
        }
        for name, basis in bases.items():
            chance = against_chance(basis, x, self.settings.draws, stream)
            found |= {f"{name}_share": chance.share, f"{name}_chance": chance.blocks}
            found |= {f"{name}_low": chance.low, f"{name}_high": chance.high}
        return found

    def _extra(self, theta: Array, rows: Rows, mode: Mode, stream: np.random.Generator) -> dict[str, float]:
        """Return the paper's rho of one more draw, and what random bases give. delta = 0 has rho 0, as there."""
        single = self._float32(theta, rows, mode)[1]
        self.probe64.load(rows, mode)
        double = brackets.difference(self.probe64.a, self.probe64.b, theta.astype(np.float64), self.settings.eta)
        found = {"error": brackets.rounding_error(single, double, self.settings.eta)}
        delta = single.vector.astype(np.float64)
        if not delta.any() or not self.whole.rank:
            return found | {"rho": 0.0 if self.whole.rank else float("nan")}
        chance = against_chance(self.whole, delta, self.settings.draws, stream)
        return found | {
            "rho": float(np.sqrt(1 - chance.share)),
            "inside": float(np.sqrt(chance.share)),
            "inside_chance": float(np.sqrt(chance.blocks)),
            "inside_low": float(np.sqrt(chance.low)),
            "inside_high": float(np.sqrt(chance.high)),
            "attention": float(np.sqrt(_energy(delta, self.attention))),
        }

    def sweep(self, step: int) -> dict[str, Array]:
        """Return D of the total loss on the first pair of batches at every eta, (E,)."""
        theta = self.run.load_snapshot(step)
        theta64 = theta.astype(np.float64)
        rows = self.probe64.draw(self.work.rng(f"commutator/{step}/0"))
        self.probe64.load(rows)
        a, b = self.probe64.a, self.probe64.b
        exact = brackets.bracket(a, b, theta64)
        found: dict[str, list[float]] = {name: [] for name in ("exact", "float64", "float32", "floor", "error")}
        for eta in ETAS:
            double = brackets.difference(a, b, theta64, eta, (exact.g_a, exact.g_b))
            single, _ = self._float32(theta, rows, self.modes[0], eta)
            gap, size = brackets.norm(double.vector / eta**2 - exact.vector), brackets.norm(exact.vector)
            found["exact"].append(brackets.defect(exact))
            found["float64"].append(brackets.defect(double, eta))
            found["float32"].append(single["float32"])
            found["floor"].append(single["floor"])
            found["error"].append(gap / size if size > 0 else float("nan"))
        return {name: np.array(values) for name, values in found.items()}


def _energy(x: Array, mask: Array) -> float:
    size = float(x @ x)
    return float(x[mask] @ x[mask]) / size if size > 0 else float("nan")
