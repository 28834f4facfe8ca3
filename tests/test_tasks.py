import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrok.config import Task, preset
from minigrok.config.operations import OPERATIONS
from minigrok.errors import ConfigError
from minigrok.tasks import BatchStream, pairs

FORMULAS = {
    "add": lambda a, b, p: (a + b) % p,
    "sub": lambda a, b, p: (a - b) % p,
    "mul": lambda a, b, p: (a * b) % p,
    "sq": lambda a, b, p: (a**2 + b**2) % p,
    "x2_xy_y2": lambda a, b, p: (a**2 + a * b + b**2) % p,
    "x3_xy": lambda a, b, p: (a**3 + a * b) % p,
    "div": lambda a, b, p: (a * pow(b, p - 2, p)) % p,
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("p", [3, 7, 97])
def test_operations_are_their_formulas_on_python_integers(name: str, p: int) -> None:
    table = pairs(Task(p=p, operations=(name,)), seed=0)
    assert table.targets.dtype == np.int64
    for (a, b), target in zip(table.tokens.tolist(), table.targets[0].tolist(), strict=True):
        assert target == FORMULAS[name](a, b, p)


@pytest.mark.parametrize("name", sorted(set(OPERATIONS) - {"div"}))
def test_operations_accept_zero(name: str) -> None:
    table = pairs(Task(p=5, operations=(name,), exclude_zero=False), seed=0)
    assert table.tokens.tolist() == [[a, b] for a in range(5) for b in range(5)]
    assert table.targets[0].tolist() == [FORMULAS[name](a, b, 5) for a in range(5) for b in range(5)]


@given(st.integers(1, 96), st.integers(1, 96))
def test_division_undoes_multiplication(a: int, b: int) -> None:
    x, y = np.array([a]), np.array([b])
    assert OPERATIONS["mul"](OPERATIONS["div"](x, y, 97), y, 97) == a


def test_division_by_zero_is_an_error() -> None:
    with pytest.raises(ConfigError, match="exclude_zero"):
        OPERATIONS["div"](np.array([1]), np.array([0]), 97)


def test_the_papers_class_counts() -> None:
    """arXiv:2602.18523, code aa4e72f"""
    table = pairs(preset("tri").task, seed=42)
    add, mul, sq = (np.bincount(row, minlength=97) for row in table.targets)
    assert np.count_nonzero(add) == 97
    assert mul[0] == 0
    assert np.count_nonzero(mul) == 96
    assert sq[0] == 192
    assert set(sq[1:]) == {92, 96}


@pytest.mark.parametrize("seed", [42, 137, 2024])
@pytest.mark.parametrize("exclude_zero", [True, False])
def test_split_is_the_originals(seed: int, exclude_zero: bool) -> None:
    """The procedure of the original, written out."""
    universe = [(a, b) for a in range(exclude_zero, 97) for b in range(exclude_zero, 97)]
    shuffled = list(universe)
    random.Random(seed).shuffle(shuffled)
    n_train = int(len(shuffled) * 0.5)

    table = pairs(Task(exclude_zero=exclude_zero), seed)
    tokens = [tuple(pair) for pair in table.tokens.tolist()]
    assert tokens == universe
    assert [tokens[row] for row in table.train] == shuffled[:n_train]
    assert [tokens[row] for row in table.test] == shuffled[n_train:]


@given(st.sampled_from([3, 5, 11]), st.floats(0.3, 0.7), st.integers(0, 2**32 - 1))
def test_split_is_a_partition(p: int, fraction: float, seed: int) -> None:
    task = Task(p=p, train_fraction=fraction)
    table = pairs(task, seed)
    assert sorted([*table.train, *table.test]) == list(range(task.n_pairs))
    assert (len(table.train), len(table.test)) == (task.n_train, task.n_test)
    assert table.tokens.shape == (task.n_pairs, 2)
    assert table.targets.shape == (2, task.n_pairs)


@pytest.mark.parametrize(("seed", "n_train", "size"), [(42, 4608, 512), (137, 4704, 512), (0, 1, 3), (1, 2**33, 5)])
def test_batches_are_the_originals(seed: int, n_train: int, size: int) -> None:
    """Against NumPy's global generator, as the original draws them."""
    before = np.random.get_state()  # noqa: NPY002
    try:
        np.random.seed(seed)  # noqa: NPY002
        original = [np.random.randint(0, n_train, size=size) for _ in range(20)]  # noqa: NPY002
    finally:
        np.random.set_state(before)  # noqa: NPY002
    stream = BatchStream(seed, n_train, size)
    for batch in original:
        mine = stream.next()
        assert mine.dtype == np.int64
        assert mine.shape == (size,)
        assert np.array_equal(mine, batch)


@given(st.integers(0, 2**32 - 1), st.integers(0, 700), st.integers(0, 700))
def test_a_restored_stream_goes_on_where_it_was(seed: int, before: int, after: int) -> None:
    stream = BatchStream(seed, 4608, 1)
    for _ in range(before):
        stream.next()
    state = stream.state()
    assert {key: type(value) for key, value in state.items()} == {"keys": np.ndarray, "position": int}
    rest = [stream.next() for _ in range(after)]
    other = BatchStream(seed + 1 & 0xFFFFFFFF, 4608, 1)
    other.restore(state)
    assert np.array_equal(rest, [other.next() for _ in range(after)])


def test_the_state_is_a_copy() -> None:
    stream = BatchStream(0, 10, 1000)
    state = stream.state()
    keys = state["keys"].copy()
    stream.next()
    assert np.array_equal(state["keys"], keys)
