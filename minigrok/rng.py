"""One seed, many independent named streams of random numbers."""

from zlib import crc32

import numpy as np


def rng(seed: int, name: str) -> np.random.Generator:
    """Stream of random numbers that belongs to one purpose.

    The split and the batches follow the original's generators instead (`minigrok.tasks`), and so do the initial
    weights if the configuration says so (`minigrok.network.torch_generator`); everything else draws from a stream of
    its own, so that adding one measurement never changes another.

    Parameters
    ----------
    seed : int >= 0    the run's seed
    name : str         purpose, for example "init"

    Returns
    -------
    numpy.random.Generator
        PCG64 seeded by (seed, crc32(name)); the same on every machine

    Source
    ------
    Our choice.
    """
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, crc32(name.encode())])))
