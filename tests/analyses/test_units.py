"""What runs are observations of: conditions by every setting, seeds, repeats; and what may not be compared."""

from dataclasses import fields, is_dataclass, replace
from typing import NamedTuple

import pytest

from minigrok.analyses.shared.units import DRAWN, IDLE, require_alike, units
from minigrok.config import Config, preset
from minigrok.errors import RunFolderError


class Holder(NamedTuple):
    """Of a run only its config is read."""

    config: Config


def run(**changes):
    config = preset("dual")
    for key, value in changes.items():
        section, _, leaf = key.partition("__")
        config = replace(config, **{section: replace(getattr(config, section), **{leaf: value}) if leaf else value})
    return Holder(config)


def keys():
    for item in fields(Config):
        section = getattr(preset("dual"), item.name)
        yield from (f"{item.name}.{leaf.name}" for leaf in fields(section)) if is_dataclass(section) else [item.name]


def test_the_settings_that_make_no_condition_exist():
    assert set(DRAWN + IDLE) <= set(keys())


CHANGED = {"optimiser__learning_rate": 0.01, "model__width": 64, "train__batch_size": 64, "compute__dtype": "float64"}


@pytest.mark.parametrize("key", CHANGED)
def test_runs_of_another_setting_are_of_another_condition_which_names_it(key):
    a, b = units([run(), run(**{key: CHANGED[key]})])
    assert a.condition != b.condition
    assert b.condition.endswith(f"{key.partition('__')[2].replace('_', ' ')} {CHANGED[key]}")
    with pytest.raises(RunFolderError, match=rf"{key.replace('__', '.')} = .* in a and {CHANGED[key]} in b"):
        require_alike([run(), run(**{key: CHANGED[key]})], ["a", "b"], ["optimiser.weight_decay"], "weight decay")


def test_seeds_budgets_and_the_engine_leave_a_condition_as_it_is():
    found = units([run(), run(seed=1), run(train__max_steps=5), run(compute__engine="plain"), run(name="x")])
    assert len({unit.condition for unit in found}) == 1
    assert [(unit.seed, unit.repeat) for unit in found] == [(42, 0), (1, 0), (42, 1), (42, 2), (42, 3)]


def test_an_intervention_of_dose_0_is_the_baseline():
    none, zero = run(), run()
    zero = Holder(replace(zero.config, intervention=replace(zero.config.intervention, start=7, repeat=2)))
    assert units([none, zero])[1] == (units([none])[0].condition, 42, 1)


def test_what_is_compared_may_differ_and_nothing_else():
    runs, names = [run(), run(optimiser__weight_decay=0.0), run(seed=1)], ["a", "b", "c"]
    require_alike(runs, names, ["optimiser.*"], "weight decay")
    with pytest.raises(RunFolderError, match=r"optimiser.weight_decay = 1 in a and 0 in b"):
        require_alike(runs, names, [], "nothing")
