"""minigrok: multi-task grokking with exact, hand-written derivatives.

A reference implementation of arXiv:2602.18523 in NumPy and Numba: a small Transformer with its forward,
backward, R-forward and R-backward maps written out, training on modular arithmetic, and the curvature of its
loss.

Importing the package imports nothing heavy: import the module that you need, for example `minigrok.config`.
"""

__version__ = "0.1.0"
