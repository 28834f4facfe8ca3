"""The sections of a configuration: frozen dataclasses, the one source of every default.

Sources of the defaults: "paper" is arXiv:2602.18523, code aa4e72f; "our choice" is everything else.
Use them through `minigrok.config`.
"""

import math
from dataclasses import dataclass
from typing import Literal

from minigrok.checks import between, check_types, is_prime, nearest, require
from minigrok.config.arms import ARMS, BASES, NO_SOURCE, Arm
from minigrok.errors import ConfigError

Norm = Literal["layernorm", "sphere"]
Attention = Literal["softmax", "uniform"]
CrossEntropy = Literal["stable", "saturating"]
EngineName = Literal["plain", "cpu", "cuda", "auto"]
DType = Literal["float32", "float64"]
InitGenerator = Literal["numpy", "pytorch"]
Split = Literal["random", "orbits"]

# Bounds of whole numbers, so that whatever reads a configuration ends at once; whether a run has room is reckoned by
# minigrok.training.budget
MODULUS = 2_000_000  # of p: int64 holds a^3 below it, and trial division takes a millisecond
BLOCKS = 1000  # of model.blocks: the names of their arrays are a list of some thousands: our choice
COUNT = 10**12  # of everything else: no run is longer or larger: our choice


def _require_parts(key: str, parts: tuple[str, ...]) -> None:
    """Raise a ConfigError unless the parts of a network are words; whether they are there, `params.members` says."""
    words = all(part and part.isprintable() for part in parts)
    require(words, key, "names or patterns of arrays", list(parts))


@dataclass(frozen=True, slots=True)
class Task:
    """The data: modular operations on pairs of tokens, and the train/test split.

    Attributes
    ----------
    p : int                         modulus, a prime below two million; the tokens are 0 .. p-1 (paper: 97)
    operations : tuple of str       names in `minigrok.tasks.OPERATIONS`, one head each (paper, dual)
    exclude_zero : bool             pairs from 1 .. p-1 instead of 0 .. p-1 (paper)
    train_fraction : float          share of the pairs to train on, between 0 and 1 (paper)
    split : str                     "random": pair by pair (paper). "orbits": pairs that a symmetry of an operation
                                    takes to one another are all train or all test pairs, for all operations together
                                    (our choice; `minigrok.orbits`)
    train_rows : tuple of int       rows of the pair table to train on, in the order that batches index, in the place of
                                    a split that is drawn; (): the split is drawn (paper)
    """

    p: int = 97
    operations: tuple[str, ...] = ("add", "mul")
    exclude_zero: bool = True
    train_fraction: float = 0.5
    split: Split = "random"
    train_rows: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        from minigrok.config.operations import OPERATIONS
        from minigrok.config.symmetries import group

        check_types(self, "task")
        require(self.p < MODULUS and is_prime(self.p), "task.p", "a prime below two million", self.p)
        for operation in self.operations:
            if operation not in OPERATIONS:
                raise ConfigError(
                    f"task.operations from {', '.join(OPERATIONS)}", repr(operation), nearest(operation, OPERATIONS)
                )
        distinct = 0 < len(self.operations) == len(set(self.operations))
        require(distinct, "task.operations", "one or more different operations", list(self.operations))
        divides = "div" in self.operations and not self.exclude_zero
        require(not divides, "task.exclude_zero", "true for the operation div (0 has no inverse)", False)
        require(0 < self.train_fraction < 1, "task.train_fraction", "between 0 and 1", self.train_fraction)
        self._require_rows()
        split = f"{self.n_train} train and {self.n_test} test pairs"
        require(0 < self.n_train < self.n_pairs, "task.train_fraction", "a pair on both sides of the split", split)
        if self.split == "orbits":
            group(self.operations)  # raises if the orbits are not small

    def _require_rows(self) -> None:
        """Raise a ConfigError unless the listed rows are different ones of the table."""
        rows = self.train_rows
        if rows:
            require(self.split == "random", "task.split", '"random" where task.train_rows are listed', self.split)
            inside = 0 <= min(rows) and max(rows) < self.n_pairs
            got = f"rows {min(rows)} to {max(rows)}"
            require(inside, "task.train_rows", f"between 0 and {self.n_pairs - 1}", got)
            got = f"{len(rows) - len(set(rows))} twice"
            require(len(set(rows)) == len(rows), "task.train_rows", "different rows of the pair table", got)

    @property
    def n_pairs(self) -> int:
        """Number of ordered pairs."""
        return (self.p - self.exclude_zero) ** 2

    @property
    def n_train(self) -> int:
        """Number of train pairs: listed, or floor(train_fraction * n_pairs); at most that where orbits stay whole."""
        return len(self.train_rows) or int(self.train_fraction * self.n_pairs)

    @property
    def n_test(self) -> int:
        """Number of test pairs: the rest."""
        return self.n_pairs - self.n_train


@dataclass(frozen=True, slots=True)
class Model:
    """The network: a pre-norm Transformer encoder, read out at position 0, one linear head a task.

    Attributes
    ----------
    width : int             D, model width (paper)
    heads : int             H, attention heads; divides the width (paper)
    mlp_width : int         F, hidden width of the MLP (paper)
    blocks : int            L, Transformer blocks (paper)
    norm_eps : float        epsilon under the root of LayerNorm (paper: PyTorch's default)
    cross_entropy : str     "stable" keeps a correct gradient at any loss (our choice); "saturating" rounds as
                            the paper's float32 softmax does: the gradient dies once the loss underflows
    attention : str         "softmax" (paper); "uniform": every token weighs 1 / T (arXiv:2603.05228). Queries and keys
                            have no gradient then, and decay shrinks them as it does everything
    norm : str              "layernorm" (paper); "sphere": rows of unit length before and after each half of a block,
                            and logits of 10 times the cosine, so no gains, shifts and biases of heads; the other biases
                            stay (arXiv:2603.05228)
    """

    width: int = 128
    heads: int = 4
    mlp_width: int = 256
    blocks: int = 2
    norm_eps: float = 1e-5
    cross_entropy: CrossEntropy = "stable"
    attention: Attention = "softmax"
    norm: Norm = "layernorm"

    def __post_init__(self) -> None:
        check_types(self, "model")
        between(1, COUNT, self, "model", "width", "heads", "mlp_width")
        between(1, BLOCKS, self, "model", "blocks")
        whole = self.width % self.heads == 0
        require(whole, "model.width", f"divisible by model.heads = {self.heads}", self.width)
        require(0 < self.norm_eps < math.inf, "model.norm_eps", "positive and finite", self.norm_eps)

    @property
    def head_width(self) -> int:
        """Width K = D / H of one attention head."""
        return self.width // self.heads


@dataclass(frozen=True, slots=True)
class Init:
    """The initial parameters: PyTorch's default distributions.

    Attributes
    ----------
    identical_blocks : bool    all blocks start equal, as nn.TransformerEncoder copies one layer (paper)
    generator : str            "pytorch": what PyTorch's CPU generator gives for the seed, in the order of the paper's
                               code (paper; its presets have it). "numpy": a stream of our own (from before there was
                               a choice: then no file and no hash mentions it)
    zero : tuple of str        parts of the network that start at 0, as in optimiser.frozen (paper: none)
    """

    identical_blocks: bool = True
    generator: InitGenerator = "numpy"
    zero: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_types(self, "init")
        _require_parts("init.zero", self.zero)


@dataclass(frozen=True, slots=True)
class Optimiser:
    """AdamW: decay decoupled from the gradient, on every parameter; no warm-up, no schedule.

    Attributes
    ----------
    learning_rate : float    step size (paper)
    weight_decay : float     decay rate; a step multiplies theta by 1 - learning_rate weight_decay (paper)
    beta1, beta2 : float     decay of the two moments, in [0, 1) (paper)
    eps : float              added to the root of the second moment (paper: PyTorch's default)
    clip_norm : float        largest norm of the whole gradient; inf: no clipping (paper)
    frozen : tuple of str    parts of the network that stand still, with no update and no decay: names or patterns of
                             arrays, or "queries", "keys", "values", "outputs" of all blocks, or all "attention"; their
                             gradient counts as 0, in the norm that is clipped too, as of PyTorch's requires_grad =
                             False (paper: none)
    frozen_from : int        first step at which they do (1: from the start)
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1.0
    beta1: float = 0.9
    beta2: float = 0.98
    eps: float = 1e-8
    clip_norm: float = 1.0
    frozen: tuple[str, ...] = ()
    frozen_from: int = 1

    def __post_init__(self) -> None:
        check_types(self, "optimiser")
        between(1, COUNT, self, "optimiser", "frozen_from")
        _require_parts("optimiser.frozen", self.frozen)
        for name in ("learning_rate", "eps"):
            value = getattr(self, name)
            require(0 < value < math.inf, f"optimiser.{name}", "positive and finite", value)
        decay = self.weight_decay
        require(0 <= decay < math.inf, "optimiser.weight_decay", "0 or more, and finite", decay)
        for name in ("beta1", "beta2"):
            value = getattr(self, name)
            require(0 <= value < 1, f"optimiser.{name}", "in [0, 1)", value)
        require(self.clip_norm > 0, "optimiser.clip_norm", "positive (inf: no clipping)", self.clip_norm)

    def freezes(self, step: int) -> bool:
        """Whether the frozen parts stand still at a step."""
        return bool(self.frozen) and step >= self.frozen_from

    @property
    def decay_rate(self) -> float:
        """Share of theta that the decay of one step takes, lr wd."""
        return self.learning_rate * self.weight_decay

    def clock(self, step: float) -> float:
        """Return lr wd t, the time of the decay: theta alone would have shrunk by exp(-lr wd t)."""
        return step * self.learning_rate * self.weight_decay


@dataclass(frozen=True, slots=True)
class Train:
    """The loop: budget, evaluations, snapshots and the criterion of grokking.

    Attributes
    ----------
    batch_size : int            B, pairs a step, drawn with replacement (paper)
    max_steps : int             budget in optimiser steps (paper, weight decay 1.0)
    eval_every : int            steps between evaluations on all train and all test pairs (paper)
    snapshot_every : int        steps between saved parameters (paper: checkpoints; it logs attention every 100)
    grok_threshold : float      a task groks at this test accuracy, in (0, 1] ... (paper)
    grok_patience : int         ... in this many evaluations in a row; the last one is the grok step (paper)
    after_grok : int            steps to go on after the last task grokked (paper: 0)
    stop_when_grokked : bool    stop then; false: always use the whole budget (paper: true)
    """

    batch_size: int = 512
    max_steps: int = 300_000
    eval_every: int = 100
    snapshot_every: int = 200
    grok_threshold: float = 0.98
    grok_patience: int = 3
    after_grok: int = 0
    stop_when_grokked: bool = True

    def __post_init__(self) -> None:
        check_types(self, "train")
        counts = ("batch_size", "max_steps", "eval_every", "snapshot_every", "grok_patience")
        between(1, COUNT, self, "train", *counts)
        between(0, COUNT, self, "train", "after_grok")
        require(0 < self.grok_threshold <= 1, "train.grok_threshold", "in (0, 1]", self.grok_threshold)


@dataclass(frozen=True, slots=True)
class Compute:
    """How the numbers are computed; everything here may change their last bits.

    Attributes
    ----------
    engine : str    "plain", "cpu" or "cuda"; "auto": cuda where there is a device, else cpu (our choice)
    dtype : str     "float32" or "float64" (paper: float32)
    shards : int    the batch is cut in this many fixed parts, so that the bits do not depend on the number of
                    threads; one on the engine cuda, whatever this says (our choice)
    portable : bool whether to use the instructions of Haswell alone, so that the bits do not depend on the
                    machine either: see minigrok.engine.portable (our choice: false, the fastest kernels there are)
    """

    engine: EngineName = "cpu"
    dtype: DType = "float32"
    shards: int = 2
    portable: bool = False

    def __post_init__(self) -> None:
        check_types(self, "compute")
        between(1, COUNT, self, "compute", "shards")
        elsewhere = self.portable and self.engine in ("cuda", "auto")
        require(not elsewhere, "compute.portable", "false for the engine " + self.engine, True)


@dataclass(frozen=True, slots=True)
class Intervention:
    """What is changed in the middle of training; the default is nothing, and then no file and no hash mentions it.

    Attributes
    ----------
    arm : str       a key of `minigrok.config.arms.ARMS`: what is done ("deletion": paper)
    dose : float    s; 0 changes no bit. For a kick: its length in lengths of that step's AdamW update
    source : str    folder of the run whose trajectory spans the plane, seen from the folder that this run lies in
    start : int     first step that is changed (paper: 500)
    rank : int      directions of the plane (paper: 20)
    basis : str     a key of `minigrok.config.arms.BASES`, for a plane that is not the arm's own; "": the arm's
    every : int     steps between kicks; 0: one, at the start
    support : tuple of str    parts of the network, as in optimiser.frozen, that a linear arm changes, in a plane that
                    lies in them; what is elsewhere goes through unchanged. (): the arm's, which for most is everything
    repeat : int    0, or the number of a repeat of the same seed: at the start theta is multiplied by 1 + eps N(0, 1),
                    eps the spacing of numbers at 1. Equal runs have equal bits here; this stands in for the paper's
                    hardware, on which they have not
    """

    arm: str = "none"
    dose: float = 0.0
    source: str = ""
    start: int = 500
    rank: int = 20
    basis: str = ""
    every: int = 0
    repeat: int = 0
    support: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_types(self, "intervention")
        _require_parts("intervention.support", self.support)
        for key, known in (("arm", ARMS), ("basis", {"": "", **BASES})):
            if (value := getattr(self, key)) not in known:
                required = f"intervention.{key} from {', '.join(filter(None, known))}"
                raise ConfigError(required, repr(value), nearest(value, list(filter(None, known))))
        between(1, COUNT, self, "intervention", "start", "rank")
        between(0, COUNT, self, "intervention", "every", "repeat")
        is_kick, is_some = self.act.target == "parameters", self.arm != "none"
        is_linear = self.act.mix is not None
        require(is_linear or not self.support, "intervention.support", "() for this arm", list(self.support))
        doses = self.act.doses if is_some else "0 without an arm"
        require(self.act.takes(self.dose) if is_some else self.dose == 0, "intervention.dose", doses, self.dose)
        require(is_kick or not self.every, "intervention.every", "0: only a kick is repeated", self.every)
        require(self.plane != "minus_pc1" or self.rank > 1, "intervention.rank", "2 or more without PC1", self.rank)
        needs = self.plane not in NO_SOURCE
        named = self.source.isprintable() and (bool(self.source) or not needs)
        require(named, "intervention.source", "the folder of the run that spans the plane", repr(self.source))

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts of the network that are changed; (): all."""
        return self.support or self.act.support

    @property
    def act(self) -> Arm:
        """What the arm does."""
        return ARMS[self.arm]

    @property
    def words(self) -> str:
        """What is done, to end a sentence; "" for nothing."""
        changed = f"{self.arm} {self.dose:g} from step {self.start:,}" if self.arm != "none" else ""
        repeat = f"repeat {self.repeat}" if self.repeat else ""
        return "".join(f", {part}" for part in (changed, repeat) if part)

    @property
    def plane(self) -> str:
        """Key of the plane's basis; "": none."""
        return self.basis or self.act.basis
