"""The analyses: one module each, one explicit table.

The command line, the README and the tests go through `ANALYSES`.
"""

from minigrok.analyses import (
    ablation,
    compression,
    connectivity,
    drive,
    effective_rank,
    gram,
    grok_order,
    heads,
    linearised,
    sharpness,
    trajectory_pca,
)
from minigrok.analyses.base import Analysis
from minigrok.analyses.commutator import analysis as commutator
from minigrok.analyses.dose_response import analysis as dose_response
from minigrok.analyses.fourier import analysis as fourier
from minigrok.analyses.hessian import analysis as hessian
from minigrok.analyses.onset import analysis as onset
from minigrok.analyses.orbits import analysis as orbits
from minigrok.analyses.phase import analysis as phase
from minigrok.analyses.reconstruction import analysis as reconstruction
from minigrok.analyses.subspace import analysis as subspace
from minigrok.analyses.weight_spectra import analysis as weight_spectra
from minigrok.checks import nearest
from minigrok.errors import ConfigError

ANALYSES: dict[str, Analysis] = {
    module.ANALYSIS.name: module.ANALYSIS
    for module in (
        trajectory_pca,
        subspace,
        commutator,
        hessian,
        grok_order,
        gram,
        weight_spectra,
        heads,
        onset,
        dose_response,
        phase,
        compression,
        reconstruction,
        ablation,
        effective_rank,
        connectivity,
        fourier,
        orbits,
        drive,
        sharpness,
        linearised,
    )
}


def chosen(name: str) -> list[Analysis]:
    """Return the analysis of that name, or every one for "all".

    Raises
    ------
    ConfigError
        No such analysis.
    """
    if name == "all":
        return list(ANALYSES.values())
    if name not in ANALYSES:
        raise ConfigError("the name of an analysis", repr(name), nearest(name, ["all", *ANALYSES]))
    return [ANALYSES[name]]
