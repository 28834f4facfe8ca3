"""What is read on the way through the network is what its parts took in."""

import numpy as np
import pytest
from synthetic_runs import make

from minigrok.analyses.shared.activations import Activations
from minigrok.network.params import initial


def test_z_is_what_the_heads_take_in(tmp_path):
    run = make(tmp_path / "a", settings=["task.p=11", "model.width=32"])
    theta, tokens = initial(run.config).astype(np.float64), np.array([[1, 2], [3, 4], [1, 5]])
    read = Activations(run, tokens)(theta, lambda logits, tape: {"z": tape.heads[0], "mul": logits[1]})
    views = run.layout.views(theta)
    assert read["z"] @ views["heads.mul.weight"].T + views["heads.mul.bias"] == pytest.approx(read["mul"])
