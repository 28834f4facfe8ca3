"""What the analysis `hessian` measures at one snapshot, part by part; each part is kept as soon as it is there."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from minigrok.analyses.hessian.result import PRODUCTS, Checkpoint, Inside, Settings, Traced
from minigrok.analyses.shared.curvature import (
    Curvature,
    Density,
    Ends,
    Meter,
    dense,
    density,
    ends,
    inside,
    project_out,
    random_like,
    spectrum,
)
from minigrok.engine import Array
from minigrok.errors import NonFiniteError
from minigrok.geometry.bases import Basis
from minigrok.geometry.hutchinson import hutchinson

SPECTRUM = ("values", "weights", "residuals")


class Part(NamedTuple):
    """A part of one checkpoint: what is measured, of which task's loss (None: of their sum), with how many products."""

    what: str  # point, H, G, H - G, H outside B, inside, traces, density
    products: int
    task: str | None = None

    @property
    def name(self) -> str:
        """Name of its operator, or of what is measured."""
        return f"{self.what} of {self.task}" if self.task else self.what


def plan(settings: Settings, tasks: Sequence[str], K: int) -> list[Part]:
    """Return the parts of one checkpoint, in their order.

    Shares of H's products: the top of G needs a quarter; both ends of H - G, which lacks the large eigenvalues, a
    third; H outside B starts almost converged; a second start of the density a third.
    """
    m = settings.products or PRODUCTS
    parts = [Part("point", 0), Part("H", m)]
    if "tasks" in settings.parts and len(tasks) > 1:
        parts += [Part("H", m, task) for task in tasks]
    if "split" in settings.parts:
        parts += [Part("G", _share(m, 4)), Part("H - G", _share(m, 3))]
    if "manifold" in settings.parts and K:
        parts += [Part("H outside B", _share(m, 5)), Part("inside", K * (1 + settings.draws))]
    if "traces" in settings.parts:
        parts.append(Part("traces", 2 * settings.probes))
    if "density" in settings.parts:
        parts.append(Part("density", _share(m, 3) * (settings.density_probes - 1)))
    return parts


def _share(products: int, of: int) -> int:
    return -(-products // of)


@dataclass
class Site:
    """One snapshot and what it takes to measure it.

    Attributes
    ----------
    step : int
    theta : (P,) float64
    basis : Basis                 the manifold; may have no columns
    masks : (groups + 1, P)       groups of the traces
    curvature, settings, meter
    found : dict                  arrays of the parts that are there
    """

    step: int
    theta: Array
    basis: Basis
    masks: Array
    curvature: Curvature
    settings: Settings
    meter: Meter
    found: dict[str, dict[str, Array]] = field(default_factory=dict)

    def measure(self, parts: Sequence[Part], clock: float) -> Checkpoint:
        """Compute the parts that are not there yet, and return all of them."""
        found = self.found
        for part in parts:
            file = f"{self.step:06d}-{part.name.replace(' ', '')}"
            found[part.name] = self.meter.part(file, part.products, lambda part=part: self._part(part))  # type: ignore[misc]
        return Checkpoint(
            self.step,
            clock,
            found["point"]["losses"],
            found["point"]["slopes"],
            [self._ends(part) for part in parts if "residuals" in found[part.name]],
            Traced(**found["traces"], probes=self.settings.probes) if "traces" in found else None,
            Inside(**found["inside"]) if "inside" in found else None,
            self._density() if "density" in found else None,
        )

    def _ends(self, part: Part) -> Ends:
        """Ends of an operator: only the highest of G >= 0, only the outermost of H outside B, which start close."""
        k = 1 if part.what == "H outside B" else self.settings.values
        low = 0 if part.what == "G" else k
        return ends(part.name, self.found[part.name], low, k, self.settings.tolerance, part.task)

    def _part(self, part: Part) -> dict[str, Array]:
        at = self.curvature.at(self.theta, part.task)
        match part.what:
            case "point":
                return self._point()
            case "H outside B":
                return self._outside(at, part.products)
            case "inside":
                return self._inside(at)
            case "traces":
                return self._traces(at)
            case "density":
                return self._probes(at, part.products)
        product = {"G": at.gauss_newton, "H - G": at.rest}.get(part.what, at.hessian)
        start = self._rng(part.name).standard_normal(self.theta.size)
        return spectrum(product, start, part.products, part.name == "H")

    def _point(self) -> dict[str, Array]:
        slopes = np.array([self.curvature.at(self.theta, k).slope() for k in [*self.curvature.tasks, None]])
        losses = self.curvature.losses()
        if not np.isfinite([*losses, *slopes]).all():
            do = "analyse the part of the run before it diverged"
            raise NonFiniteError(f"a finite loss and gradient at step {self.step}", f"losses {losses}", do)
        return {"losses": losses, "slopes": slopes}

    def _outside(self, at: Curvature, steps: int) -> dict[str, Array]:
        B = dense(self.basis)
        start = project_out(B, self.found["H"]["vectors"].sum(axis=1))
        return spectrum(lambda v: project_out(B, at.hessian(project_out(B, v))), start, steps)

    def _inside(self, at: Curvature) -> dict[str, Array]:
        rng = self._rng("random bases")
        null = [random_like(self.basis, rng) for _ in range(self.settings.draws)]
        values = [np.linalg.eigvalsh(inside(at.hessian, B)) for B in [dense(self.basis), *null]]
        return {"values": values[0], "random": np.array(values[1:])}

    def _traces(self, at: Curvature) -> dict[str, Array]:
        def all_three(v: Array) -> Array:
            Hv, Gv = at.hessian(v), at.gauss_newton(v)
            return np.stack([Hv, Gv, Hv - Gv])

        drawn = hutchinson(all_three, self.theta.size, self.settings.probes, self._rng("traces"), self.masks)
        return {"mean": drawn.mean, "error": drawn.error}

    def _probes(self, at: Curvature, products: int) -> dict[str, Array]:
        rng, n = self._rng("density"), self.settings.density_probes - 1
        drawn = [spectrum(at.hessian, rng.standard_normal(self.theta.size), products // n) for _ in range(n)]
        return {f"{key}{i}": each[key] for i, each in enumerate(drawn) for key in SPECTRUM}

    def _density(self) -> Density | None:
        """Density from H's own start and the further ones."""
        further = self.found["density"]
        starts = [{key: further[f"{key}{i}"] for key in SPECTRUM} for i in range(self.settings.density_probes - 1)]
        return density([self.found["H"], *starts], self.theta.size)

    def _rng(self, name: str) -> np.random.Generator:
        return self.meter.work.rng(f"hessian/{self.step}/{name}")
