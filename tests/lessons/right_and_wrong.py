"""Answers to the exercises: a right one a lesson, and wrong ones that students write, as a change of the right one."""

from typing import NamedTuple

RIGHT = {
    1: """
def grok_step(decay):
    return 4500 / decay
""",
    2: """
def partners(a, b, p):
    signs = [(s * a % p, t * b % p) for s in (1, -1) for t in (1, -1)]
    return set(signs) | {(y, x) for x, y in signs}
""",
    3: """
def backward(gain, x, dy):
    return (dy * x).sum(axis=0), dy * gain
""",
    4: """
import numpy as np

def null_directions(x):
    N, D = x.shape
    found = np.zeros((N, N, D))
    for j in range(N):
        found[j, j, :] = 1
    return found
""",
    5: """
import numpy as np

def r_forward(q, k, v, Rq, Rk, Rv):
    return np.repeat(Rv.mean(axis=0, keepdims=True), len(q), axis=0)

def r_backward(q, k, v, dy, Rq, Rk, Rv, Rdy):
    Rdv = np.repeat(Rdy.sum(axis=0, keepdims=True) / len(v), len(v), axis=0)
    return np.zeros_like(q), np.zeros_like(k), Rdv
""",
    6: """
def product(gradient, theta, v, eps):
    return (gradient(theta + eps * v) - gradient(theta - eps * v)) / (2 * eps)

def best_eps(rounding, bend):
    return (rounding / (2 * bend)) ** (1 / 3)
""",
    7: """
def norm_at_which_float32_fails(size, defect, eta):
    return (6e-8 * size / defect) ** 0.5 / eta
""",
    8: """
import numpy as np

def walk(T, n, rng):
    steps = rng.standard_normal((T, n))
    return np.vstack([np.zeros(n), np.cumsum(steps, axis=0)])

def pc1_share(X):
    values = np.linalg.svd(X - X.mean(axis=0), compute_uv=False)
    return values[0] ** 2 / (values**2).sum()
""",
    9: """
def removal(s):
    return 1, -s

def twin(s):
    return 1 / (1 - s), -s / (1 - s)
""",
    10: """
def log_table(p):
    for g in range(1, p):
        powers = [pow(g, k, p) for k in range(p - 1)]
        if len(set(powers)) == p - 1:
            return [-1] + [powers.index(x) for x in range(1, p)]
""",
    11: """
def runs_needed(level):
    n = 1
    while 2 / 2**n >= level:
        n += 1
    return n
""",
}


class Wrong(NamedTuple):
    """A wrong answer: what is changed in the right one, the law that says so (or the words of the error), the hint."""

    lesson: int
    name: str
    old: str
    new: str
    law: str
    hint: str


WRONG = [
    Wrong(1, "decay does nothing", "4500 / decay", "4500", "decay 0.3", "too early"),
    Wrong(1, "less decay groks sooner", "4500 / decay", "4500 * decay", "decay 0.3", "groks sooner"),
    Wrong(1, "far too late", "4500 / decay", "4500 / decay**3", "decay 0.3", "too late"),
    Wrong(1, "own run not looked at", "4500 / decay", "500 / decay", "decay 1.0", "your own run"),
    Wrong(2, "no swap", " | {(y, x) for x, y in signs}", "", "8 partners", "without the swap"),
    Wrong(2, "negative numbers", "s * a % p", "s * a", "numbers in 0 .. p-1", "(-a) % p"),
    Wrong(2, "joint sign alone", "for t in (1, -1)", "for t in (s,)", "8 partners", "joint sign"),
    Wrong(2, "forgets itself", "return set(signs)", "return set(signs[1:])", "8 partners", "its own partner"),
    Wrong(
        2,
        "search",
        "return set",
        "r = range(p)\n    return {(x, y) for x in r for y in r if not (x * x + y * y - a * a - b * b) % p}\n    set",
        "8 partners",
        "search",
    ),
    Wrong(
        2,
        "duplicates",
        "return set(signs) | {(y, x) for x, y in signs}",
        "return signs + [(y, x) for x, y in signs]",
        "each partner once",
        "set",
    ),
    Wrong(2, "additive shift", "(y, x) for", "((y + 1) % p, (x - 1) % p) for", "equal answers", "only swap"),
    Wrong(3, "no sum over rows", ".sum(axis=0)", "", "dgain of shape", "sum over the rows"),
    Wrong(3, "sum over the wrong axis", "axis=0", "axis=1", "dgain of shape", "wrong axis"),
    Wrong(3, "mean instead of sum", ".sum(axis=0)", ".mean(axis=0)", "adjoint of dgain", "mean"),
    Wrong(3, "gradient of a bias", "(dy * x)", "dy", "adjoint of dgain", "gradient of a bias"),
    Wrong(3, "dx forgets the gain", "dy * gain", "dy", "adjoint of dx", "forgets the gain"),
    Wrong(3, "dx with x", "dy * gain", "dy * x", "adjoint of dx", "by x is gain"),
    Wrong(3, "sign", "dy * gain", "-dy * gain", "adjoint of dx", "sign"),
    Wrong(4, "the row itself", "= 1", "= x[j] - x[j].mean()", "H v = 0", "smaller gradient"),
    Wrong(4, "a column", "found[j, j, :]", "found[j, :, j]", "J v = 0", "column"),
    Wrong(4, "one for all", "found[j, j, :]", "found[j, :, :]", "independent", "each row"),
    Wrong(4, "zero", "= 1", "= 0", "no direction is 0", "no direction"),
    Wrong(4, "a channel", "found[j, j, :]", "found[j, j, 0]", "J v = 0", "mean"),
    Wrong(5, "sum for mean", "Rv.mean", "Rv.sum", "taylor 1", "1/T is missing in Ry"),
    Wrong(5, "v for Rv", "Rv.mean", "v.mean", "taylor 1", "v where Rv belongs"),
    Wrong(5, "dy for Rdy", "Rdy.sum", "dy.sum", "taylor 2", "dy where Rdy belongs"),
    Wrong(
        5,
        "mean over queries",
        "Rdy.sum(axis=0, keepdims=True) / len(v)",
        "Rdy.mean(axis=0, keepdims=True)",
        "taylor 2",
        "mean over the queries",
    ),
    Wrong(5, "no 1/T", " / len(v)", "", "taylor 2", "1/T is missing in Rdv"),
    Wrong(
        5,
        "no sum over queries",
        "np.repeat(Rdy.sum(axis=0, keepdims=True) / len(v), len(v), axis=0)",
        "Rdy / len(v)",
        "Rdv of shape",
        "sum over the queries",
    ),
    Wrong(5, "queries matter", "np.zeros_like(q), np", "0.1 * Rq, np", "taylor 2", "derivative"),
    Wrong(
        6,
        "one-sided",
        "gradient(theta - eps * v)) / (2 * eps)",
        "gradient(theta)) / eps",
        "shrinks as eps^2",
        "one-sided",
    ),
    Wrong(6, "factor 2", "(2 * eps)", "eps", "shrinks as eps^2", "divide by 2 eps"),
    Wrong(6, "not divided", " / (2 * eps)", "", "shrinks as eps^2", "divide"),
    Wrong(
        6,
        "sign",
        "(gradient(theta + eps * v) - gradient(theta - eps * v))",
        "(gradient(theta - eps * v) - gradient(theta + eps * v))",
        "shrinks as eps^2",
        "sign",
    ),
    Wrong(6, "square root", "** (1 / 3)", "** (1 / 2)", "cube root", "one-sided"),
    Wrong(6, "fixed eps", "return (rounding", "return 1e-8\n    return (rounding", "cube root", "fixed number"),
    Wrong(7, "no root", "** 0.5 / eta", "/ eta", "size times", "round"),
    Wrong(7, "no eta", " / eta", "", "eta times", "eta belongs"),
    Wrong(7, "float64", "6e-8", "1.1e-16", "within a factor", "float32"),
    Wrong(7, "no theta", "6e-8 * size", "6e-8", "size times", "eps |theta|"),
    Wrong(7, "no D", " / defect", "", "defect times", "solve that"),
    Wrong(8, "points of noise", "np.cumsum(steps, axis=0)", "steps", "know one another", "cumsum"),
    Wrong(8, "uniform steps", "standard_normal((T, n))", "random((T, n))", "no mean", "straight line"),
    Wrong(
        8,
        "wrong axis of cumsum",
        "cumsum(steps, axis=0)",
        "cumsum(steps, axis=1)",
        "know one another",
        "adds its steps",
    ),
    Wrong(
        8, "own seed", "steps = rng", "steps = np.random.default_rng(0)", "two walks differ", "rng that you are given"
    ),
    Wrong(8, "not centred", "X - X.mean(axis=0)", "X", "moving all points", "mean"),
    Wrong(8, "not squared", "values[0] ** 2 / (values**2).sum()", "values[0] / values.sum()", "0.8", "square"),
    Wrong(
        8,
        "no start",
        "np.vstack([np.zeros(n), np.cumsum(steps, axis=0)])",
        "np.cumsum(steps, axis=0)",
        "walk of shape",
        "the start",
    ),
    Wrong(9, "deletion", "return 1, -s", "return 1 - s, s", "removal: inside", "that is deletion"),
    Wrong(9, "scaling", "return 1, -s", "return 1 - s, 0", "removal: inside", "that is scaling"),
    Wrong(9, "factor inside, not added", "return 1, -s", "return 1, 1 - s", "removal: inside", "added to a"),
    Wrong(9, "twin is itself", "return 1 / (1 - s), -s / (1 - s)", "return removal(s)", "another pair", "factor"),
    Wrong(9, "twin forgets b", "-s / (1 - s)", "-s", "equal bits", "factor"),
    Wrong(10, "no primitive root", "for g in range(1, p):", "for g in [2]:", "a result of log_table", "return"),
    Wrong(
        10,
        "2 is no primitive root",
        "if len(set(powers)) == p - 1:\n            return [-1] + [powers.index(x) for x in range(1, p)]",
        "if g == 2:\n            return [-1] + [powers.index(x) if x in powers else -1 for x in range(1, p)]",
        "every logarithm once",
        "does not reach",
    ),
    Wrong(10, "from 1", "[powers.index(x) for", "[powers.index(x) + 1 for", "log 1 = 0", "k = 0"),
    Wrong(
        10,
        "powers for logarithms",
        "[-1] + [powers.index(x) for x in range(1, p)]",
        "powers + [0]",
        "a",
        "turn it round",
    ),
    Wrong(
        10,
        "natural logarithm",
        "for g in range(1, p):",
        "import math\n    return [-1] + [math.log(x) for x in range(1, p)]\n    for g in []:",
        "whole numbers",
        "another group",
    ),
    Wrong(10, "one entry too few", "[-1] + [", "[", "log_table of shape", "entry for each"),
    Wrong(11, "one-sided", "2 / 2**n", "1 / 2**n", "enough", "one-sided"),
    Wrong(11, "may be equal", ">= level", "> level", "enough", "equal to the level"),
    Wrong(11, "nine whatever is asked", "    return n", "    return 9", "p < 0.05", "function of the level"),
    Wrong(11, "one too many", "return n", "return n + 1", "n - 1 are not", "one run less"),
    Wrong(11, "not rounded", "return n", "return n + 0.5", "a number of runs", "round up"),
]
