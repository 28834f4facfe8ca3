"""Settings and result of fourier; what the numbers are, `minigrok.analyses.fourier.analysis` says."""

from dataclasses import dataclass
from typing import Annotated

from minigrok.analyses import base
from minigrok.analyses.base import MANY, Draws
from minigrok.checks import Between
from minigrok.engine import Array

KINDS = ("full", "restricted", "excluded")
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Settings(base.Settings):
    """Settings of fourier.

    Attributes
    ----------
    protocol : str    "exact"; "paper": the same, on the paper's checkpoints
    most : int        snapshots, evenly thinned (our choice: 20)
    draws : int       random bases (our choice: 50; fewer than 39 have no band, and then there are no key frequencies)
    """

    name = "fourier"
    most: Annotated[int, Between(1, MANY)] = 20
    draws: Draws = 50


@dataclass(frozen=True)
class Spectrum:
    """One family of functions by one coordinate, at S snapshots; energies are shares of the variance.

    Attributes
    ----------
    what, by : str              such as "L0 neurons", "a, b"
    channels : int              functions, C
    chance : float              share that functions of the coordinate have of the variance of a random function
    inside : (S,)               the same, measured
    shares : (S, K)             of frequencies 1 .. K, all channels together
    single : (S,)               share of a channel's best frequency, mean over the channels
    half : (S,) int             channels with more than half of their variance in one frequency
    random_largest : (3,)       largest share of a frequency in random bases, last snapshot: mean and band
    random_single : (3,)        the same of `single`
    keys : (n,) int             key frequencies, of the last snapshot
    """

    what: str
    by: str
    channels: int
    chance: float
    inside: Array
    shares: Array
    single: Array
    half: Array
    random_largest: Array
    random_single: Array
    keys: Array


@dataclass(frozen=True)
class Ablation:
    """Loss of one task's logits with only the key frequencies, and without them; keys of the last snapshot.

    Attributes
    ----------
    task, by : str
    explained : (S,)                   share of the logits' variance in the span of the keys' characters
    loss, accuracy : (S, 3, 2)         by KINDS and SPLITS
    random_loss, random_accuracy : (3, 3, 2)    mean and band in random bases, as many frequencies; last snapshot
    """

    task: str
    by: str
    explained: Array
    loss: Array
    accuracy: Array
    random_loss: Array
    random_accuracy: Array


@dataclass(frozen=True)
class Shared:
    """Variance of the embedding in the span of its key characters of one coordinate, or of all together.

    Attributes
    ----------
    by : str
    rank : int                dimensions of the span
    explained : (S,)
    random : (3,)             mean and band of random spans of the rank, at the last snapshot
    """

    by: str
    rank: int
    explained: Array
    random: Array


@dataclass(frozen=True)
class Mixed:
    """Whether the same channels of a family serve two coordinates.

    Attributes
    ----------
    what, first, second : str
    cosine : (S,)             of the channels' energies in the two coordinates' keys: 0 disjoint, 1 the same
    random : (3,)             mean and band where channels are permuted, at the last snapshot
    """

    what: str
    first: str
    second: str
    cosine: Array
    random: Array


@dataclass(frozen=True)
class Result:
    """Spectra of one run.

    Attributes
    ----------
    run, says : str                     says: why a coordinate is missing, or nothing
    draws : int
    steps : (S,) int
    groks : dict of task to step or None
    spectra : list of Spectrum
    ablations : list of Ablation
    shared : list of Shared
    mixed : list of Mixed
    """

    run: str
    says: str
    draws: int
    steps: Array
    groks: dict[str, int | None]
    spectra: list[Spectrum]
    ablations: list[Ablation]
    shared: list[Shared]
    mixed: list[Mixed]
