"""The paper's figures of compression, by name: which part of which analysis each is, and its picture.

A figure is made of parts of `reconstruction`, `compression` and `ablation`. With protocol "paper" these are the paper's
curves on its grids; with "exact" the same parts measured exactly, with their controls beside them.
    RUN/analysis/compress/figX.png, .svg       the picture          compress-paper/ for the paper's procedure
                         /figX-ANALYSIS.csv    every point of it
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from minigrok.analyses import ablation, compression
from minigrok.analyses.base import Analysis, Row, Work, fingerprint, plain_row
from minigrok.analyses.reconstruction import analysis as reconstruction
from minigrok.analyses.reconstruction.figure import draw_tracks
from minigrok.analyses.reconstruction.result import AFTER
from minigrok.analyses.reconstruction.table import points
from minigrok.analyses.results import csv_text, kept_parts
from minigrok.analyses.shared.curves_figure import draw_study
from minigrok.checks import nearest
from minigrok.errors import ConfigError
from minigrok.plotting import Figure, defaults, legend_of_all, panel_grid, save
from minigrok.storage.files import inside, write_atomically
from minigrok.storage.runs import Run


class Piece(NamedTuple):
    """What of an analysis a figure shows.

    Attributes
    ----------
    analysis : Analysis
    parts : tuple of str       of its setting `parts`: the paper's curves
    controls : tuple of str    further parts with protocol "exact"
    paper : tuple of str       further parts of the paper, with protocol "paper" alone
    grids : mapping            other settings, where the figure's grid is not the analysis' own
    """

    analysis: Analysis
    parts: tuple[str, ...]
    controls: tuple[str, ...] = ()
    grids: Mapping[str, Any] = {}
    paper: tuple[str, ...] = ()

    def settings(self, protocol: str) -> Any:
        """Return the analysis' settings for this piece."""
        parts = self.parts + (self.paper if protocol == "paper" else self.controls)
        return self.analysis.settings(protocol=protocol, parts=parts, **self.grids)


class PaperFigure(NamedTuple):
    """A figure of the paper: what it shows, in words, and its pieces."""

    shows: str
    pieces: tuple[Piece, ...]


RECONSTRUCTION, COMPRESSION, ABLATION = reconstruction.ANALYSIS, compression.ANALYSIS, ablation.ANALYSIS
COMP_GRID = {"ranks": (1, 2, 3, 5, 10), "keep": (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)}
SNAP = ("svd", "svd, attention", "prune", "scale", "keep", "remove")
PAPER_FIGURES = {
    "figCOMP": PaperFigure(
        "Centred PCA of the trajectory, post-grok PCA, SVD and pruning of theta - init.",
        (
            Piece(RECONSTRUCTION, ("centred, init row kept", AFTER[0]), ("centred, about the mean", AFTER[1])),
            Piece(COMPRESSION, ("svd", "prune"), ("random rank",), COMP_GRID),
        ),
    ),
    "figSNAP": PaperFigure(
        "SVD, pruning, scaling, and one module kept or removed, of theta - init.",
        (Piece(COMPRESSION, SNAP, ("svd, linear", "random rank", "noise"), paper=("svd, all",)),),
    ),
    "figABL1": PaperFigure(
        "PC 1 to 3 of each attention matrix kept or removed, random directions.", (Piece(ABLATION, ("components",)),)
    ),
    "figABL2": PaperFigure(
        "First k of 64 attention PCs, all else initial: the column-order artefact.",
        (
            Piece(
                ABLATION, ("first columns, rest origin",), ("by variance, rest origin",), paper=("random, rest origin",)
            ),
        ),
    ),
    "figABL3": PaperFigure(
        "First k of 80 attention PCs, all else final: the column-order artefact.",
        (Piece(ABLATION, ("first columns, rest final", "random, rest final"), ("by variance, rest final",)),),
    ),
    "figABL4": PaperFigure(
        "Centred PCA of the trajectory without its first row, random directions.",
        (
            Piece(
                RECONSTRUCTION,
                ("centred, init row dropped", "random directions"),
                ("centred, about the mean", "centred, init row kept"),
            ),
        ),
    ),
    "figTHR": PaperFigure(
        "k*: uncentred PCA of the trajectory until every task's test accuracy is 90 %.",
        (
            Piece(
                RECONSTRUCTION,
                ("uncentred",),
                ("decay removed", "theta itself", "held out, first 75 %", "walk bridge", "decay bridge"),
            ),
        ),
    ),
}


class Made(NamedTuple):
    """A figure that was made: a table for each piece, by analysis, and the folder of its files."""

    name: str
    tables: dict[str, list[Row]]
    folder: Path


def figure_names(name: str) -> list[str]:
    """Return the figure of that name, or all for "all"; a ConfigError says what was probably meant."""
    if name != "all" and name not in PAPER_FIGURES:
        raise ConfigError("the name of a figure", repr(name), nearest(name, ["all", *PAPER_FIGURES]))
    return list(PAPER_FIGURES) if name == "all" else [name]


def make(
    run: Run,
    name: str,
    protocol: str,
    out: Path | None = None,
    report: Callable[[int, int, str], None] = lambda done, of, words: None,
) -> Made:
    """Compute a figure of a run and write its files.

    Parameters
    ----------
    run : Run
    name : str            key of PAPER_FIGURES
    protocol : str        "exact" or "paper"
    out : Path, optional  folder of the files; default: RUN/analysis/compress, or compress-paper
    report : function     (done, of, words), for a progress bar
    """
    folder = out or run.path("analysis", "compress" if protocol == "exact" else f"compress-{protocol}")
    results, tables, works = {}, {}, []
    with kept_parts(inside(folder, f"{name}-parts")) as lock:
        for piece in PAPER_FIGURES[name].pieces:
            settings = piece.settings(protocol)
            key = fingerprint(piece.analysis, [run], settings)
            works += [work := Work(run.config.seed, inside(folder, f"{name}-parts-{piece.analysis.name}"), key, report)]
            result = piece.analysis.compute([run], settings, work)
            results[piece.analysis.name] = result
            tables[piece.analysis.name] = [plain_row(row) for row in piece.analysis.table(result)]
        lock.take()
        for analysis, result in results.items():
            rows = points(result) if analysis == RECONSTRUCTION.name else tables[analysis]
            write_atomically(folder / f"{name}-{analysis}.csv", csv_text(rows).encode(), lock.take)
        save(picture(name, protocol, run, results), folder / name)
        for work in works:
            work.forget()
    return Made(name, tables, folder)


@defaults()
def picture(name: str, protocol: str, run: Run, results: Mapping[str, Any]) -> Figure:
    """Return a figure with a panel for each convention and study of its pieces."""
    panels: list[tuple[str, str]] = []
    for analysis, result in results.items():
        kinds = [t.name for t in result.tracks] if analysis == RECONSTRUCTION.name else [c.study for c in result.curves]
        panels += [(analysis, kind) for kind in dict.fromkeys(kinds)]
    title = f"{name}, {protocol}: {run.folder.name}, step {next(iter(results.values())).step:,}"
    skipped = set(AFTER) & {part for piece in PAPER_FIGURES[name].pieces for part in piece.settings(protocol).parts}
    if skipped and not skipped & {kind for _, kind in panels}:
        title += f"; no post-grok PCA: {results[RECONSTRUCTION.name].after} snapshots after the last grok"
    drawn, axes = panel_grid(len(panels), title, size=(4.6, 3.3) if len(panels) > 1 else (7, 4))
    for axis, (analysis, kind) in zip(axes, panels, strict=True):
        result = results[analysis]
        if analysis == RECONSTRUCTION.name:
            draw_tracks(axis, [track for track in result.tracks if track.name == kind], result.tasks)
        else:
            note = ablation.notes(result).get(kind, "") if analysis == ABLATION.name else ""
            draw_study(axis, [curve for curve in result.curves if curve.study == kind], result.tasks, note)
    legend_of_all(drawn, axes)
    return drawn
