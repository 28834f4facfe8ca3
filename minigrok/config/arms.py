"""Arms of an intervention: what is changed, in which subspace, and why; one table, two registries.

Every linear arm replaces a vector x by a(s) x + b(s) P x, s the dose and P the orthogonal projector onto a plane:

    deletion        x - s (x - P x)            a = 1 - s,  b = s             the part outside the plane shrinks
    amplification   x + s / (1 - s) P x        a = 1,      b = s / (1 - s)   the part inside grows by 1 / (1 - s)
    removal         x - s P x                  a = 1,      b = -s            the part inside shrinks
    scaling         x - s x                    a = 1 - s,  b = 0

x is the clipped gradient, AdamW's update, or the decay. AdamW divides a factor common to all gradients out again, up to
eps, and deletion is (1 - s) times amplification: under AdamW the two are one intervention, and scaling is none.
With a support, x is the part of it in the support, and so is P; the rest of x goes through as it is.
Kicks add a vector to theta instead. The slow filter gives AdamW g + s h, h <- 0.98 h + 0.02 g, both after clipping.
Arm norm gives the key biases, whose exact gradient is 0, a gradient along themselves, which AdamW brings to full size:
from rounding errors of 1e-11 they came to 0.7 in 350 steps of the tiny model, where without the arm they stay at 1e-11.
Source: deletion of the gradient: arXiv:2602.18523, code aa4e72f; keep_rank: arXiv:2604.25143; perp_grad:
arXiv:2501.04697, its formula, for theta as one vector; slow: arXiv:2405.20233 (Grokfast-EMA), which does not clip;
everything else: controls of minigrok.
"""

from collections.abc import Callable
from dataclasses import dataclass

BASES = {
    "source": "leading uncentred principal components of the source run's full trajectory, to its last grok (paper)",
    "attention": "leading centred components of each attention matrix's trajectory, as many of each (paper)",
    "minus_pc1": "leading uncentred components of the full trajectory without the first one",
    "past": "leading uncentred components of the snapshots before the start, as many as there are: no future in it",
    "other_seed": "as source, of a run of another seed",
    "random": "uniformly random directions, as many",
    "matched": "random directions, each with the energy of its principal component in every named array, to 1e-7",
    "norm": "the direction of theta alone, of every step anew: no source run",
}

NO_SOURCE = ("", "norm")  # planes that need no source run: none at all, and theta's direction

Mix = Callable[[float], tuple[float, float]]


@dataclass(frozen=True)
class Arm:
    """What an intervention does.

    Attributes
    ----------
    does : str         in one line
    target : str       "gradient", "update", "decay", "parameters" or "filter"
    basis : str        of its plane, a key of BASES, unless the setting says another
    source : str
    mix : function     (a, b) of a dose; None: a kick or a filter
    most : float       largest dose
    closed : bool      whether the largest dose itself is allowed
    support : tuple    parts of the network that it changes, unless the setting says others; (): all
    """

    does: str
    target: str
    basis: str
    source: str
    mix: Mix | None = None
    most: float = 1.0
    closed: bool = True
    support: tuple[str, ...] = ()

    @property
    def doses(self) -> str:
        """The range of doses, in words."""
        return f"0 <= dose {'<=' if self.closed else '<'} {self.most:g}"

    def takes(self, dose: float) -> bool:
        """Whether a dose is in the range."""
        return 0 <= dose and (dose < self.most or (self.closed and dose == self.most < float("inf")))


def _deletion(s: float) -> tuple[float, float]:
    return 1 - s, s


def _amplification(s: float) -> tuple[float, float]:
    return 1.0, s / (1 - s)


def _removal(s: float) -> tuple[float, float]:
    return 1.0, -s


def _scaling(s: float) -> tuple[float, float]:
    return 1 - s, 0.0


PAPER, OURS = "arXiv:2602.18523, gradient interventions", "control of minigrok"
RANK, PERP, SLOW = "arXiv:2604.25143", "Prieto et al. 2025, arXiv:2501.04697", "Lee et al. 2024, arXiv:2405.20233"
NO_LIMIT = float("inf")

ARMS = {
    "none": Arm("nothing; with a repeat number: the run once more, one rounding error away", "gradient", "", OURS),
    "deletion": Arm("gradient: the part outside the plane times 1 - s", "gradient", "source", PAPER, _deletion),
    "scaling": Arm("gradient: all of it times 1 - s (predicted: no effect)", "gradient", "source", OURS, _scaling),
    "amplification": Arm(
        "gradient: the part inside the plane times 1 / (1 - s) (predicted: as deletion)",
        "gradient",
        "source",
        OURS,
        _amplification,
        closed=False,
    ),
    "removal": Arm("gradient: the part inside the plane times 1 - s", "gradient", "source", OURS, _removal),
    "attention": Arm("deletion with a plane in the attention matrices", "gradient", "attention", PAPER, _deletion),
    "random": Arm("deletion with a plane of random directions", "gradient", "random", PAPER, _deletion),
    "matched": Arm("deletion, random directions matched block by block", "gradient", "matched", OURS, _deletion),
    "other_seed": Arm("deletion with the plane of another seed's run", "gradient", "other_seed", OURS, _deletion),
    "past": Arm("deletion with the plane of the past alone", "gradient", "past", OURS, _deletion),
    "norm": Arm(
        "deletion with theta's own direction as plane; chaotic: key biases, exact gradient 0, grow out of rounding",
        "gradient",
        "norm",
        OURS,
        _deletion,
    ),
    "minus_pc1": Arm("deletion with the plane minus its first direction", "gradient", "minus_pc1", OURS, _deletion),
    "update_deletion": Arm(
        "AdamW's update, decay apart: the part outside the plane times 1 - s (true deletion)",
        "update",
        "source",
        OURS,
        _deletion,
    ),
    "keep_rank": Arm(
        "deletion in the attention arrays alone: at dose 1 their gradient keeps to the plane (paper: of rank 3)",
        "gradient",
        "source",
        RANK,
        _deletion,
        support=("attention",),
    ),
    "perp_grad": Arm(
        "removal along theta itself: at dose 1 the gradient is perpendicular to theta",
        "gradient",
        "norm",
        PERP,
        _removal,
    ),
    "slow": Arm(
        "gradient plus s times its running mean over some 50 steps (paper: s = 2)",
        "filter",
        "",
        SLOW,
        most=NO_LIMIT,
        closed=False,
    ),
    "decay_exempt": Arm("decay: the part outside the plane times 1 - s", "decay", "source", OURS, _deletion),
    "kick": Arm(
        "theta moves by s norms of its update, along the part of the exact bracket outside the plane",
        "parameters",
        "source",
        OURS,
        most=NO_LIMIT,
        closed=False,
    ),
    "random_kick": Arm(
        "the same, along a random direction outside the plane",
        "parameters",
        "source",
        OURS,
        most=NO_LIMIT,
        closed=False,
    ),
}
