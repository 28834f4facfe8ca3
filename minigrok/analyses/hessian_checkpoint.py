"""What the analysis `hessian` measures at one snapshot, part by part; each part is kept as soon as it is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

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

if TYPE_CHECKING:
    from minigrok.analyses.hessian import Settings

PRODUCTS = 80  # our choice, for cost: the lowest eigenvalue of the paper's model to a residual of some 1.4 %; 100: 1 %
OPERATORS = ("H", "G", "H - G")  # of the traces
PER_STEP = {"H - G": 2}  # products that a step takes, where it is not one


@dataclass(frozen=True)
class Traced:
    """Traces of H, G and H - G (rows) in each group of parameters and in all (columns), nats.

    Attributes
    ----------
    mean, error : (3, groups + 1)    estimates and standard errors; nan with one probe
    """

    mean: Array
    error: Array


@dataclass(frozen=True)
class Inside:
    """Eigenvalues of B^T H B, exact, nats.

    Attributes
    ----------
    values : (K,)          B: the manifold; ascending
    random : (nulls, K)    B: random, with as many directions in each attention matrix
    """

    values: Array
    random: Array


@dataclass(frozen=True)
class Checkpoint:
    """Everything about one snapshot.

    Attributes
    ----------
    step : int
    clock : float                lr wd t, dimensionless
    losses : (n_tasks,)          nats
    slopes : (n_tasks + 1,)      |gradient| of each task's loss, and of their sum; nats
    ends : list of Ends
    traced, inside, density      None: not asked for, or impossible (`Result.missing` says why)
    """

    step: int
    clock: float
    losses: Array
    slopes: Array
    ends: list[Ends]
    traced: Traced | None
    inside: Inside | None
    density: Density | None


def plan(settings: Settings, tasks: Sequence[str], K: int) -> dict[str, int]:
    """Return the parts of one checkpoint, in their order, with the products of each.

    Shares of H's products: the top of G needs a quarter; both ends of H - G, which lacks the large eigenvalues, a
    third, in steps of two products; H outside B starts almost converged; a second start of the density a third.
    """
    m = settings.products or PRODUCTS
    parts = {"point": 0, "H": m}
    if "tasks" in settings.parts and len(tasks) > 1:
        parts |= {f"H of {task}": m for task in tasks}
    if "split" in settings.parts:
        parts |= {"G": _share(m, 4), "H - G": 2 * _share(m, 3)}
    if "manifold" in settings.parts and K:
        parts |= {"H outside B": _share(m, 5), "inside": K * (1 + settings.nulls)}
    if "traces" in settings.parts:
        parts["traces"] = 2 * settings.probes
    if "density" in settings.parts:
        parts["density"] = _share(m, 3) * (settings.density_probes - 1)
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

    def measure(self, parts: Mapping[str, int], clock: float) -> Checkpoint:
        """Compute the parts that are not there yet, and return all of them."""
        found = self.found
        for name, products in parts.items():
            file = f"{self.step:06d}-{name.replace(' ', '')}"
            found[name] = self.meter.part(file, products, lambda n=name, m=products: self._part(n, m))  # type: ignore[misc]
        operators = [name for name in found if "residuals" in found[name]]
        return Checkpoint(
            self.step,
            clock,
            found["point"]["losses"],
            found["point"]["slopes"],
            [self._ends(name) for name in operators],
            Traced(**found["traces"]) if "traces" in found else None,
            Inside(**found["inside"]) if "inside" in found else None,
            self._density() if "density" in found else None,
        )

    def _ends(self, name: str) -> Ends:
        """Ends of an operator: only the highest of G >= 0, only the outermost of H outside B, which start close."""
        k = 1 if name == "H outside B" else self.settings.values
        return ends(name, self.found[name], 0 if name == "G" else k, k, self.settings.tolerance, PER_STEP.get(name, 1))

    def _part(self, name: str, products: int) -> dict[str, Array]:
        task = name.removeprefix("H of ")
        at = self.curvature.at(self.theta, task if task in self.curvature.tasks else None)
        match name:
            case "point":
                return self._point()
            case "H outside B":
                return self._outside(at, products)
            case "inside":
                return self._inside(at)
            case "traces":
                return self._traces(at)
            case "density":
                return self._probes(at, products)
        product = {"G": at.gauss_newton, "H - G": at.rest}.get(name, at.hessian)
        start = self._rng(name).standard_normal(self.theta.size)
        return spectrum(product, start, products // PER_STEP.get(name, 1), name == "H")

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
        null = [random_like(self.basis, rng) for _ in range(self.settings.nulls)]
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
        return {f"{key}{i}": each[key] for i, each in enumerate(drawn) for key in ("values", "weights")}

    def _density(self) -> Density | None:
        """Density from H's own start and the further ones."""
        H, further = self.found["H"], self.found["density"]
        starts = [(H["values"], H["weights"])]
        starts += [(further[f"values{i}"], further[f"weights{i}"]) for i in range(len(further) // 2)]
        return density(starts, self.theta.size)

    def _rng(self, name: str) -> np.random.Generator:
        return self.meter.work.rng(f"hessian/{self.step}/{name}")
