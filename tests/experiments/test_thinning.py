"""Thinning: which snapshots stay, and that nothing else is touched."""

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
from small_sweeps import contents, small

from minigrok.errors import RunFolderError
from minigrok.experiments.thinning import kept_steps, thin
from minigrok.network.params import initial
from minigrok.storage.runs import create
from minigrok.training.train import train


@pytest.mark.parametrize("keep", [2, 3, 5, 11, 12])
def test_thinning_keeps_both_ends_and_even_distances(keep: int) -> None:
    steps = list(range(0, 1100, 100))
    kept = kept_steps(steps, keep)
    assert len(kept) == min(keep, 11)
    assert (kept[0], kept[-1]) == (0, 1000)
    gaps = {b - a for a, b in pairwise(kept)}
    assert max(gaps) - min(gaps) <= 100


def test_only_a_finished_run_is_thinned_and_only_its_snapshots(tmp_path: Path) -> None:
    config = small(seeds=(1,)).configs[0]
    with create(tmp_path / "run", config) as run:
        run.save_snapshot(0, initial(config))
        with pytest.raises(RunFolderError, match="one that can go on"):
            thin(run, 2)
    shutil.rmtree(tmp_path / "run")
    with create(tmp_path / "run", config) as run:
        train(run, 1)
        before = contents(run.folder)
        assert run.snapshots() == [0, 20, 40, 60]
        assert thin(run, 3) == 1
        assert run.snapshots() in ([0, 20, 60], [0, 40, 60])
        assert thin(run, 2) == 1
        assert thin(run, 2) == 0
        assert run.snapshots() == [0, 60]
        after = contents(run.folder)
        assert after == {name: data for name, data in before.items() if name in after}
        train(run, 1)
        assert run.snapshots() == [0, 60]
