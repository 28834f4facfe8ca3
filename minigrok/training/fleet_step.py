"""One training step of R replicas as a list of kernels: batch, passes, clipping, AdamW, without a word to the host.

What differs from replica to replica lies in arrays with a replica axis: parameters, moments, data, the batches that the
host's streams drew for the steps to come, and the optimiser's factors of each of those steps, reckoned in float64 on
the host. A cursor on the device counts the steps, so that every step is the same list of calls.

A replica whose loss or gradient is not finite stands still from then on, parameters and moments as before the step.

    state[0] norm of the gradient    state[1] 1: it goes on, 0: it stands still    state[2] steps made of this block
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from minigrok.config import Optimiser
from minigrok.engine import Array
from minigrok.layers.select import Selection
from minigrok.network import model
from minigrok.network.fleet import Fleet
from minigrok.network.params import N_TOKENS
from minigrok.training.optim import (
    CHUNK,
    CLIP_EPS,
    chunks,
    factors,
    least_sum,
    length,
    lengths,
    step_chunks,
    sum_of_squares,
)


def gather(
    lo: int,
    hi: int,
    cursor: Array,
    batches: Array,
    tokens: Array,
    targets: Array,
    p: int,
    index: Array,
    first: Array,
    target: Array,
) -> None:
    """Look up the pairs lo .. hi-1 of this step's batch: their rows of the table, and their classes."""
    T = tokens.shape[1]
    for i in range(lo, hi):
        pair = batches[cursor[0], i]
        for t in range(T):
            index[i * T + t] = tokens[pair, t] + p * t
        first[i] = tokens[pair, 0]
        for k in range(targets.shape[0]):
            target[k, i] = targets[k, pair]


def count_members(lo: int, hi: int, index: Array, counts: Array) -> None:
    """counts_r = how often row r is selected."""
    for r in range(lo, hi):
        count = 0
        for i in range(index.size):
            if index[i] == r:
                count += 1
        counts[r] = count


def starts_of(lo: int, hi: int, counts: Array, starts: Array) -> None:
    """starts_r = sum of the counts before r: one row of work."""
    for _ in range(lo, hi):
        starts[0] = 0
        for r in range(counts.size):
            starts[r + 1] = starts[r] + counts[r]


def list_members(lo: int, hi: int, index: Array, starts: Array, members: Array) -> None:
    """members[starts_r : starts_(r+1)] = where row r is selected, ascending."""
    for r in range(lo, hi):
        j = starts[r]
        for i in range(index.size):
            if index[i] == r:
                members[j] = i
                j += 1


def judge(lo: int, hi: int, sums: Array, sizes: Array, least: float, cursor: Array, table: Array, state: Array) -> None:
    """Write the norm of the gradient into state_0; stop if it, or the square of its clipped value, is not finite.

    It is the root of all chunks' squares, summed with compensation (Neumaier 1974); where that sum is below `least` or
    too large, the norm of the chunks' norms.
    """
    real = sums.dtype.type
    for _ in range(lo, hi):
        total, lost = real(0), real(0)
        for i in range(sums.size):
            both = total + sums[i]
            if total >= sums[i]:
                lost += (total - both) + sums[i]
            else:
                lost += (sums[i] - both) + total
            total = both
        size = real(math.sqrt(total + lost))
        if not (real(least) <= total and math.isfinite(total)):
            size = length(sizes)
        clipped = min(size, table[cursor[0], 0])
        if not math.isfinite(size) or not math.isfinite(clipped * clipped):
            state[1] = real(0)
        if state[1] == real(1):
            state[0] = size


def judge_losses(lo: int, hi: int, loss: Array, state: Array) -> None:
    """Stop where the loss of a pair is not finite."""
    for _ in range(lo, hi):
        for i in range(loss.size):
            if not math.isfinite(loss[i]):
                state[1] = loss.dtype.type(0)


def step_of(
    lo: int, hi: int, cursor: Array, table: Array, state: Array, g: Array, m: Array, v: Array, theta: Array
) -> None:
    """Make the AdamW step of the elements lo .. hi-1: `optim.step_chunks` with the factors of this step."""
    real = g.dtype.type
    if state[1] == real(1):
        f = table[cursor[0]]
        scale = min(real(1), f[0] / (state[0] + real(CLIP_EPS)))
        step_chunks(lo, hi, g, 1, scale, f[1], f[2], f[3], f[4], f[5], f[6], f[7], f[8], m, v, theta)


def still(lo: int, hi: int, cursor: Array, table: Array, frozen: Array, g: Array) -> None:
    """g = 0 where a parameter stands still at this step."""
    for i in range(lo, hi):
        if frozen[i] and table[cursor[0], 9] > 0:
            g[i] = 0


def step_of_trained(
    lo: int,
    hi: int,
    cursor: Array,
    table: Array,
    state: Array,
    frozen: Array,
    g: Array,
    m: Array,
    v: Array,
    theta: Array,
) -> None:
    """Make `step_of`, and undo it where a parameter stands still: `optim.Frozen.after`."""
    for i in range(lo, hi):
        kept = theta[i]
        step_of(i, i + 1, cursor, table, state, g, m, v, theta)
        if frozen[i] and table[cursor[0], 9] > 0 and state[1] > 0:
            theta[i] = kept
            m[i] = 0


def advance(lo: int, hi: int, cursor: Array, state: Array) -> None:
    """Go on to the next step."""
    for _ in range(lo, hi):
        cursor[0] += 1
        state[2] += state[1]


class FleetStep:
    """The step of R replicas.

    Parameters
    ----------
    fleet : Fleet
        Its `theta` is trained.
    tokens : sequence of (n_train, T) int64
        Train pairs of each replica.
    targets : sequence of (n_tasks, n_train) int64
    size : int
        Pairs of a batch.
    frozen : (R, P) bool, optional
        Parameters that the settings of `block` freeze.
    """

    def __init__(
        self, fleet: Fleet, tokens: Sequence[Array], targets: Sequence[Array], size: int, frozen: Array | None = None
    ) -> None:
        self.fleet, self.machine, self.size = fleet, fleet.machine, size
        machine, P = self.machine, fleet.layout.size
        self.m, self.v = machine.zeros((P,)), machine.zeros((P,))
        self.state = machine.zeros((3,))
        self._frozen = None if frozen is None else machine.stack(frozen)
        self._sums, self._sizes = (machine.zeros((chunks(fleet.gradients),)) for _ in range(2))
        self._cursor = machine.zeros((1,), np.int64)
        self._tokens, self._targets = machine.stack(np.stack(tokens)), machine.stack(np.stack(targets))
        fleet.load_each([each[:size] for each in _repeated(tokens, size)], [t[:, :size] for t in _wide(targets, size)])
        self._rows, self._firsts = model.drawn(fleet.shards[0].plan)
        self._first = self._firsts.index if self._firsts else machine.zeros((size,), np.int64)
        self._counts = machine.zeros((fleet.config.task.p * N_TOKENS,), np.int64)
        self._again: Callable[[], None] | None = None  # makes the step that was recorded
        self._room = 0  # steps of the longest block so far

    def block(self, batches: Array, settings: Sequence[Optimiser], done: Sequence[int]) -> None:
        """Make a block of steps.

        Parameters
        ----------
        batches : (R, steps, B) int64
            Rows of the train pairs.
        settings : sequence of Optimiser
            Of each replica.
        done : sequence of int
            Steps that each replica has made before.
        """
        steps = batches.shape[1]
        table = np.array(
            [
                [(s.clip_norm, *factors(s, t + 1 + j), s.freezes(t + 1 + j)) for j in range(steps)]
                for s, t in zip(settings, done, strict=True)
            ]
        )
        if steps > self._room:  # other arrays: the recording is of the old ones
            self._batches = self.machine.zeros((steps, self.size), np.int64)
            self._table, self._again, self._room = self.machine.zeros(table.shape[1:]), None, steps
        self._batches[:] = _padded(batches, self._room)
        self._table[:] = _padded(table, self._room)
        self._cursor[:] = 0
        self.state[:] = np.array([0, 1, 0])
        for _ in range(steps):
            self._step()

    def _step(self) -> None:
        if self._again:
            self._again()
        else:
            self._again = self.machine.graph(self.machine.record(self._work))

    def _work(self) -> None:
        fleet, machine, shard = self.fleet, self.machine, self.fleet.shards[0]
        rows = self._rows
        data = self._cursor, self._batches, self._tokens, self._targets
        machine.rows(gather, self.size, *data, fleet.config.task.p, rows.index, self._first, fleet.targets)
        for selection in (rows, self._firsts):
            if selection is not None:
                self._invert(selection)
        fleet.forward_and_backward(0)
        g, least = fleet.gradients, least_sum(CHUNK, fleet.dtype)
        if self._frozen is not None:
            machine.rows(still, fleet.layout.size, self._cursor, self._table, self._frozen, g)
        machine.rows(sum_of_squares, self._sums.size, g, CHUNK, self._sums)
        machine.rows(lengths, self._sizes.size, g, CHUNK, self._sums, least, self._sizes)
        least = least_sum(fleet.layout.size, fleet.dtype)
        machine.rows(judge, 1, self._sums, self._sizes, least, self._cursor, self._table, self.state)
        for loss in shard.losses:
            machine.rows(judge_losses, 1, loss, self.state)
        vectors = g, self.m, self.v, fleet.theta
        when = self._cursor, self._table, self.state
        if self._frozen is None:
            machine.rows(step_of, fleet.layout.size, *when, *vectors)
        else:
            machine.rows(step_of_trained, fleet.layout.size, *when, self._frozen, *vectors)
        machine.rows(advance, 1, self._cursor, self.state)

    def _invert(self, selection: Selection) -> None:
        """Fill members and starts of a selection from its index."""
        machine, n = self.machine, self._counts.size
        machine.rows(count_members, n, selection.index, self._counts)
        machine.rows(starts_of, 1, self._counts, selection.starts)
        machine.rows(list_members, n, selection.index, selection.starts, selection.members)


def _padded(values: Array, steps: int) -> Array:
    """Values (R, n, ...) of the first n steps, and zeros for the others."""
    full = np.zeros((len(values), steps, *values.shape[2:]), values.dtype)
    full[:, : values.shape[1]] = values
    return full


def _repeated(tokens: Sequence[Array], size: int) -> list[Array]:
    """Pairs enough for a batch, whatever they are: they give the plan its sizes."""
    return [np.resize(each, (size, each.shape[1])) for each in tokens]


def _wide(targets: Sequence[Array], size: int) -> list[Array]:
    return [np.resize(each, (len(each), size)) for each in targets]
