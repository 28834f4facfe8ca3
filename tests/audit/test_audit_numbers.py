"""Every quantity of the shipped claims is a number on a run: each path leads somewhere, and not only by its types."""

from dataclasses import replace

import numpy as np
import pytest
from claim_texts import SMALL

from minigrok.analyses import ANALYSES
from minigrok.analyses.base import Work
from minigrok.audit.book import load
from minigrok.audit.fields import number
from minigrok.config import preset, with_values
from minigrok.network.params import initial
from minigrok.storage import runs

STEPS = (1, *range(100, 2100, 100))
QUICK = {"draws": 40, "most": 5, "repeats": 2, "sweep": 1, "windows": 3, "products": 6, "probes": 2, "components": 4}
BOOK = load()
MAY_BE_UNKNOWN = ("crossing", "below", "{spike}", "{v2}.step", "update inside")  # no k*, no onset, no intervention here


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Results of all analyses that claims ask, of a run of two tasks and of one of three."""
    held = {}

    def result(tasks, name, protocol):
        if tasks not in held:
            held[tasks] = made(tmp_path_factory.mktemp("runs") / "+".join(tasks), tasks)
        key = tasks, name, protocol
        if key not in held:
            settings = BOOK.settings[name, protocol]
            short = {k: v for k, v in QUICK.items() if k in type(settings).__dataclass_fields__}
            if name == "hessian":
                del short["most"], short["components"]
            held[key] = ANALYSES[name].compute([held[tasks]], replace(settings, **short), Work(1))
        return held[key]

    return result


def made(folder, tasks):
    """Make a run that memorises, then groks, task by task, while its weights decay and wander."""
    config = with_values(preset("tiny"), {**SMALL, "seed": 11, "task.operations": tasks, "model.blocks": 2})
    rng, theta = np.random.default_rng(1), initial(config).astype(np.float64)
    with runs.create(folder, config) as run:
        for i, step in enumerate(STEPS):
            row = {"step": step}
            for k, task in enumerate(tasks):
                row |= {f"train_loss_{task}": float(np.exp(-i - k)), f"train_accuracy_{task}": float(i > 2)}
            for k, task in enumerate(tasks):
                row |= {f"test_loss_{task}": 1.0, f"test_accuracy_{task}": float(i > 12 - 2 * k)}
            alone = {f"test_accuracy_alone_{task}": float(i > 14 - 2 * k) for k, task in enumerate(tasks)}
            run.append_metrics(row | {"grad_norm": 1.0, "param_norm": 50.0 - i} | alone)
        for i in range(len(STEPS)):
            run.save_snapshot(100 * i, theta.astype(np.float32))
            theta = 0.97 * theta + 0.02 * rng.standard_normal(theta.size)
    return run


@pytest.mark.parametrize("claim", [claim for claim in BOOK.claims if claim.quantities], ids=lambda claim: claim.id)
def test_every_quantity_is_a_number(results, claim):
    config = BOOK.groups[claim.cases[0]].config
    tasks = tuple(config.task.operations) if len(config.task.operations) > 1 else ("add", "mul")
    for quantity in claim.quantities:
        if not quantity.waits:
            found = number(results(tasks, quantity.analysis, quantity.protocol), quantity.field)
            is_known = np.isfinite(found)
            assert is_known or any(word in quantity.field for word in MAY_BE_UNKNOWN), (quantity, found)
