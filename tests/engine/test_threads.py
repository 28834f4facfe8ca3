"""The team runs every job once, passes exceptions on, and is usable afterwards."""

from __future__ import annotations

import threading
import weakref
from collections import Counter

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from minigrok.engine.threads import Team, available_threads

SIZES = [1, 2, 3, 5]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_every_job_runs_once(size: int, n: int) -> None:
    team, done = Team(size), Counter[int]()
    for _ in range(20):
        team.run(lambda i: done.update([i]), n)
    assert done == {i: 20 for i in range(n)}


@pytest.mark.parametrize("size", SIZES)
def test_a_job_belongs_to_one_thread(size: int) -> None:
    """Thread i takes the jobs i, i + size, ...: what the workspaces rely on."""
    team, where = Team(size), dict[int, set[int]]()
    for _ in range(5):
        team.run(lambda i: where.setdefault(i, set()).add(threading.get_ident()), 9)
    assert all(len(threads) == 1 for threads in where.values())
    assert all(where[i] == where[i % size] for i in range(9))
    assert len({min(threads) for threads in where.values()}) == size
    assert where[0] == {threading.get_ident()}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bad", [0, 1, 4])
def test_an_exception_reaches_the_caller_and_the_team_goes_on(size: int, bad: int) -> None:
    team = Team(size)

    def job(i: int) -> None:
        if i == bad:
            raise ZeroDivisionError(f"job {i}")

    for _ in range(3):
        with pytest.raises(ZeroDivisionError, match=f"job {bad}"):
            team.run(job, 5)
        done: list[int] = []
        team.run(done.append, 5)
        assert sorted(done) == list(range(5))


def test_nothing_runs_any_more_when_an_exception_arrives() -> None:
    """Memory of the jobs may be used again at once."""
    team, running = Team(2), threading.Event()

    def job(i: int) -> None:
        if i == 0:
            raise KeyboardInterrupt
        threading.Event().wait(0.1)
        running.set()

    with pytest.raises(KeyboardInterrupt):
        team.run(job, 2)
    assert running.is_set()


def test_blas_has_one_thread_in_jobs_and_its_own_number_afterwards() -> None:
    def numbers() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    np.ones((2, 2)) @ np.ones((2, 2))
    before, inside = numbers(), list[list[int]]()
    Team(2).run(lambda i: inside.append(numbers()), 2)
    assert before
    assert all(set(each) == {1} for each in inside)
    assert numbers() == before


def test_available_threads_is_what_the_process_may_use() -> None:
    assert available_threads() >= 1


def test_a_team_keeps_no_memory_of_its_jobs_and_ends_with_its_owner() -> None:
    """An analysis makes an objective for each checkpoint: none may stay behind in a sleeping thread."""

    class Workspace:
        pass

    before = set(threading.enumerate())
    team, workspace = Team(3), Workspace()
    helpers = set(threading.enumerate()) - before
    watched = weakref.ref(workspace)
    team.run(lambda i, owner=workspace: None, 3)  # type: ignore[misc]
    del workspace
    assert watched() is None
    assert len(helpers) == 2
    assert all(helper.is_alive() for helper in helpers)
    del team
    for helper in helpers:
        helper.join(timeout=5)
    assert not any(helper.is_alive() for helper in helpers)
