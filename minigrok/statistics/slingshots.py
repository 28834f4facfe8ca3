"""Slingshots: cycles in which a memorised training loss collapses and jumps up again, counted from the evaluations.

A cycle is a jump of the loss to more than `factor` times its lowest value since the last jump began to recover. After a
jump the next can come only when the loss has fallen by `factor` from its peak: one jump with a ragged top counts once.
Counting begins when every task is memorised. Jumps shorter than the spacing of evaluations are not seen, so counts are
lower bounds, and compare only between runs of one spacing.
Source: the phenomenon: Thilak et al. 2022; this detector, and its factor of 10: our choice.
"""

import numpy as np

from minigrok.engine import Array

FACTOR = 10.0


def slingshots(steps: Array, loss: Array, begin: int, factor: float = FACTOR) -> Array:
    """Return the steps (n,) at which the loss passes `factor` times the floor before it.

    Parameters
    ----------
    steps : (rows,) int       ascending
    loss : (rows,) float      training loss summed over the tasks, nats; 0 or more
    begin : int               step from which to count
    factor : float            more than 1
    """
    found, floor, peak, jumping = [], np.inf, 0.0, False
    for step, value in zip(steps, loss, strict=True):
        if step < begin or not np.isfinite(value):
            continue
        if jumping:
            peak = max(peak, value)
            if value * factor <= peak:
                jumping, floor = False, value
        elif value > factor * floor:
            found.append(int(step))
            jumping, peak = True, value
        floor = min(floor, value) if not jumping else floor
    return np.array(found, np.int64)
