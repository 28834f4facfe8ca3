"""Interventions while a run trains: what happens at a step, and what is written down about it.

Order of a step (the paper's): gradient, clipping, HERE, AdamW. Clipping is one factor on all of the gradient, so a
linear change before it, with the factor of the unchanged gradient, is the same change after it.

    gradient      AdamW gets a g + b P g
    update        theta <- (1 - lr wd) theta + (a u + b P u),            u AdamW's update without the decay
    decay         theta <- theta + (a d + b P d) + u,                    d = -lr wd theta
    filter        AdamW gets g + s h,        h <- ALPHA h + (1 - ALPHA) g, from 0 at the start
    parameters    after AdamW: theta <- theta + s |u| n,                 n a unit vector outside the plane: a kick
With a support, a, b and P act on the part of the vector there, and the rest goes through.
a and b follow from the dose s: `minigrok.config.arms`. Before the start, and at dose 0, a step is that of
`minigrok.training.optim`.

A kick goes along x - P x; x is random, or the exact bracket H_B g_A - H_A g_B of the total losses of two batches.
Whether it changes what it is meant to change is measured: the defect D of these batches before and after it. Where
x - P x is 0 to rounding, or not finite, there is no direction: nothing is kicked, and kick_norm says 0.
Source: deletion: arXiv:2602.18523, code aa4e72f; the rest: controls of minigrok.
"""

from typing import Any

import numpy as np

from minigrok.config import Config
from minigrok.engine import Array
from minigrok.errors import ConfigError
from minigrok.geometry import brackets, lengths
from minigrok.network.objective import Objective
from minigrok.network.params import members
from minigrok.network.sharded import Sharded
from minigrok.rng import rng
from minigrok.tasks import pairs
from minigrok.training.optim import CLIP_EPS, AdamW, norm
from minigrok.training.planes import Plane

TABLE = "intervention.csv"  # a row an evaluation, in the run's folder
DEFECT_EVERY = 5  # evaluations between two measurements of D, which takes the time of some 15 steps: our choice
ROUNDING = 32  # eps: what is left of a unit vector outside the plane, and not more than that, is rounding (our choice)
ALPHA = 0.98  # of the slow filter (arXiv:2405.20233)
QUANTILES = {"added_50": 0.5, "added_90": 0.9, "added_99": 0.99}  # of s |P g|_i / |g_i| over the parameters

Row = dict[str, float]


class Intervener:
    """An intervention in a run: makes its optimiser steps, and measures.

    Parameters
    ----------
    config : Config
        With an intervention.
    net : Sharded
        Its `theta` is what is trained.
    adamw : AdamW
    B : (K, P), optional
        Rows of the plane; None: the plane is the direction of theta, or there is none.
    """

    def __init__(self, config: Config, net: Sharded, adamw: AdamW, B: Array | None) -> None:
        self.config, self.settings, self.act = config, config.intervention, config.intervention.act
        self.theta, self.engine, self.adamw = net.theta, net.engine, adamw
        self._is_norm = self.settings.plane == "norm"
        parts = self.settings.parts
        self._outside = np.flatnonzero(~members(config, parts)) if parts else np.empty(0, np.intp)
        self.memory = {"slow": np.zeros_like(self.theta)} if self.act.target == "filter" else {}
        rows = np.zeros((1, self.theta.size)) if self._is_norm else B
        if rows is None and self.settings.plane:
            do = "pass plane = planes.plane_of(run), as minigrok.training.train.train does"
            raise ConfigError(f"the rows of the plane of {self.settings.arm}", "none", do)
        self.plane = None if rows is None else Plane(self.engine, rows)
        self._changed, self._update = np.zeros_like(self.theta), np.zeros_like(self.theta)
        self._given: Array = self._changed  # the gradient that AdamW got
        self._defects = _Defects(config, net.team.size)
        self.kicks: Row = {"kicks": 0, "kick_norm": np.nan, "defect_before": np.nan, "defect_after": np.nan}

    def step(self, g: Array, size: float) -> None:
        """Make an optimiser step with the gradient g (P,) of norm `size`, before clipping; g is left as it is."""
        number = self.adamw.steps + 1
        if number == self.settings.start and self.settings.repeat:
            self._nudge()
        if self._is_norm and self.plane:
            inside = self.theta.copy()
            inside[self._outside] = 0
            size_inside = norm(self.engine, inside)
            self.plane.B[0] = inside / self.engine.dtype.type(size_inside) if size_inside > 0 else 0
        is_on = self._is_on(number)
        self._given = g
        if is_on and self.act.target in ("update", "decay"):
            self._step_in_two(g, size)
            return
        if is_on and self.act.target == "gradient":
            self._given = self._mixed(g)
        if is_on and self.act.target == "filter":
            self._given = self._filtered(g, size)
        self.adamw.step(self.theta, self._given, size)
        if is_on and self.act.target == "parameters" and self._kick_due(number):
            self._kick(number)

    def measure(self, g: Array) -> Row:
        """Return what the last step, of gradient g (P,), did; `step` the number of steps made.

        Columns: norms of g, of AdamW's update as applied (no decay) and of theta; "..._inside": share of the squared
        norm that lies in the plane; given: the gradient after the intervention; added_50 ...: quantiles of
        s |P g|_i / |g_i|, the change of a parameter's gradient beside the gradient, infinite where g_i = 0 but not
        P g; defect: exact D of two fresh batches, nan between its turns.
        """
        step = self.adamw.steps
        self.adamw.update(self._update)
        if self._is_on(step) and self.act.target == "update":
            self._mix(self._update, self._update)
        row: Row = {"step": step}
        for name, x in (("grad", g), ("given", self._given), ("update", self._update), ("param", self.theta)):
            row[f"{name}_norm"] = size = norm(self.engine, x)
            row[f"{name}_inside"] = self._inside(x) / size**2 if size**2 > 0 else np.nan
        row |= self._added(g)
        due = step % (DEFECT_EVERY * self.config.train.eval_every) == 0
        row["defect"] = self._defects.at(f"defect/{step}", self.theta)[0] if due else np.nan
        return row | (self.kicks if self.act.target == "parameters" else {})

    def _is_on(self, number: int) -> bool:
        return number >= self.settings.start and self.settings.dose > 0

    def _mix(self, x: Array, out: Array) -> None:
        """out = a x + b P x; x itself outside the support."""
        assert self.act.mix
        elsewhere = x[self._outside]
        a, b = self.act.mix(self.settings.dose)
        if self.plane is None or b == 0:
            np.multiply(x, x.dtype.type(a), out=out)
        else:
            self.plane.mix(a, b, self.plane.coordinates(x), x, out)
        out[self._outside] = elsewhere

    def _filtered(self, g: Array, size: float) -> Array:
        """g + s h of the clipped gradient, before the clipping that AdamW does."""
        real, h = g.dtype.type, self.memory["slow"]
        scale = min(1.0, self.adamw.settings.clip_norm / (size + CLIP_EPS))
        h *= real(ALPHA)
        h += real((1 - ALPHA) * scale) * g
        np.multiply(h, real(self.settings.dose / scale), out=self._changed)
        self._changed += g
        return self._changed

    def _mixed(self, x: Array) -> Array:
        self._mix(x, self._changed)
        return self._changed

    def _step_in_two(self, g: Array, size: float) -> None:
        """AdamW's step as two displacements, decay and update, one of them changed."""
        u, real = self._update, self.engine.dtype.type
        u[:] = 0
        self.adamw.step(u, g, size)  # from 0 there is no decay: what is left is the update
        s = self.adamw.settings
        rate = real(-s.decay_rate)
        if self.act.target == "decay":
            self.theta += self._mixed(rate * self.theta)
            self.theta += u
        else:
            self.theta *= real(1) + rate
            self.theta += self._mixed(u)

    def _nudge(self) -> None:
        """theta (1 + eps N(0, 1)): another repeat of the same seed."""
        noise = rng(self.config.seed, f"intervention/repeat/{self.settings.repeat}").standard_normal(self.theta.size)
        self.theta *= (1 + np.finfo(self.theta.dtype).eps * noise).astype(self.theta.dtype)

    def _kick_due(self, number: int) -> bool:
        since, every = number - self.settings.start, self.settings.every
        return since == 0 or (every > 0 and since % every == 0)

    def _kick(self, number: int) -> None:
        """theta + s |u| n, with D of the same batches before and after."""
        before, bracket = self._defects.at(f"kick/{number}", self.theta)
        stream = rng(self.config.seed, f"intervention/random_kick/{number}")
        x = bracket if self.settings.arm == "kick" else stream.standard_normal(self.theta.size)
        n = lengths.unit(x).astype(self.theta.dtype)
        if self.plane:
            self.plane.mix(1.0, -1.0, self.plane.coordinates(n), n, n)
        left, length, after = norm(self.engine, n), 0.0, before
        if ROUNDING * np.finfo(n.dtype).eps < left < np.inf:
            self.adamw.update(self._update)
            length = self.settings.dose * norm(self.engine, self._update)
            self.theta += n * self.theta.dtype.type(length / left)
            after, _ = self._defects.at(f"kick/{number}", self.theta)
        self.kicks = {
            "kicks": self.kicks["kicks"] + (length > 0),
            "kick_norm": length,
            "defect_before": before,
            "defect_after": after,
        }

    def _inside(self, x: Array) -> float:
        """|P x|^2; nan without a plane."""
        return float(np.square(self.plane.coordinates(x)).sum()) if self.plane else np.nan

    def _added(self, g: Array) -> Row:
        if self.plane is None:
            return dict.fromkeys(QUANTILES, np.nan)
        inside = np.empty_like(g)
        self.plane.mix(0.0, 1.0, self.plane.coordinates(g), g, inside)
        added = self.settings.dose * np.abs(inside)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(added > 0, added / np.abs(g), 0)
        found = np.quantile(ratio, list(QUANTILES.values()), method="inverted_cdf")  # no arithmetic with infinities
        return dict(zip(QUANTILES, map(float, found), strict=True))


class _Defects:
    """Exact brackets of the total losses of two training batches, in float64; made when first asked for."""

    def __init__(self, config: Config, threads: int) -> None:
        self.config, self.threads = config, threads
        self._losses: tuple[Objective, Objective] | None = None

    def at(self, name: str, theta: Array) -> tuple[float, Array]:
        """Return D and the bracket (P,) float64 of two batches that belong to the name."""
        config = self.config
        if self._losses is None:
            data = pairs(config.task, config.seed)
            self._data: Any = data.of(data.train)
            few = self._data[0][:1], self._data[1][:, :1]
            self._losses = Objective(config, *few, threads=self.threads), Objective(config, *few, threads=self.threads)
        tokens, targets = self._data
        stream = rng(config.seed, f"intervention/{name}")
        for loss in self._losses:
            rows = stream.integers(0, len(tokens), config.train.batch_size)
            loss.load(tokens[rows], targets[:, rows])
        found = brackets.bracket(*self._losses, theta.astype(np.float64))
        return brackets.defect(found), found.vector


def intervener(config: Config, net: Sharded, adamw: AdamW, B: Array | None) -> Intervener | None:
    """Return the intervention of a config; None: it has none, and training is what it is without this module."""
    settings = config.intervention
    return Intervener(config, net, adamw, B) if settings.arm != "none" or settings.repeat else None
