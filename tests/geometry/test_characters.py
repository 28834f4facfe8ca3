"""Laws of characters: homomorphisms, Parseval where elements are missing, planted circuits that come back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrok.errors import ShapeError
from minigrok.geometry import characters
from minigrok.geometry.characters import Coordinate, fourier_basis

PRIMES = (2, 3, 5, 7, 11, 13, 97)
P = 97  # the paper's
A, B = (x.ravel() for x in np.meshgrid(np.arange(1, P), np.arange(1, P), indexing="ij"))  # its pairs, without 0


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def wave(N, k, g):
    """Return cos and sin of frequency k at g (M,): (M, 2)."""
    return np.stack([np.cos(2 * np.pi * k * g / N), np.sin(2 * np.pi * k * g / N)], axis=1)


def is_logarithm(log, p):
    """Whether log (p,) turns products of 1 .. p-1 into sums mod p - 1, and is onto."""
    a, b = np.meshgrid(np.arange(1, p), np.arange(1, p))
    sums = (log[a] + log[b] - log[a * b % p]) % (p - 1)
    return not sums.any() and sorted(log[1:]) == list(range(p - 1)) and log[0] == -1


@pytest.mark.parametrize("p", PRIMES)
def test_characters_of_sums_and_of_logarithms_of_products_multiply(p):
    assert is_logarithm(characters.logarithms(p), p)
    a, b = np.meshgrid(np.arange(p), np.arange(p))
    for k in range(1, p):
        chi = np.exp(2j * np.pi * k * np.arange(p) / p)
        assert chi[(a + b) % p] == pytest.approx(chi[a] * chi[b])


def test_the_paper_s_numbers():
    assert characters.primitive_root(P) == 5
    assert characters.root_of_minus_one(P) == 22


def test_a_base_that_is_no_primitive_root_has_no_logarithm():
    log = np.full(P, -1)
    for k in range(P - 1):
        log[pow(22, k, P)] = k  # 22 has order 4
    assert not is_logarithm(log, P)


@pytest.mark.parametrize("p", PRIMES)
def test_log_u_and_log_v_add_up_to_the_log_of_a_square_plus_b_square(p):
    a, b = (x.ravel() for x in np.meshgrid(np.arange(p), np.arange(p)))
    found = characters.of_pairs(a, b, p).get("log u, log v")
    assert (found is not None) == (p % 4 == 1)
    if found is not None:
        s, t = np.divmod(found.values[found.inside], p - 1)
        log = characters.logarithms(p)[(a * a + b * b) % p]
        assert np.array_equal(found.inside, log >= 0)
        assert np.array_equal((s + t) % (p - 1), log[found.inside])


def is_basis(basis):
    """Whether a basis is orthonormal, and begins with the constant."""
    return np.allclose(basis.T @ basis, np.eye(len(basis))) and np.ptp(basis[:, 0]) < 1e-12


@pytest.mark.parametrize("N", [1, 2, 3, 4, 7, 96, 97])
def test_bases_are_orthonormal_and_begin_with_the_constant(N, rng):
    assert is_basis(fourier_basis(N))
    for basis in (*characters.random_bases(N, 3, rng), *characters.random_characters(N, 3, rng)):
        assert is_basis(basis)


@pytest.mark.parametrize("p", [5, 13, 97])
def test_random_characters_keep_what_is_even_and_nothing_else(p, rng):
    a, log = np.arange(1, p), characters.logarithms(p)
    f = rng.standard_normal(p)
    even = (f[a] + f[-a % p])[:, None]
    G = Coordinate(log[a], p - 1).push(even)
    for basis in (fourier_basis(p - 1), *characters.random_characters(p - 1, 2, rng)):
        assert characters.energies(G, basis)[1::2] == pytest.approx(0, abs=1e-12)
    G = Coordinate(a, p).push(even)
    for basis in (fourier_basis(p), *characters.random_characters(p, 2, rng)):
        assert (basis.T @ G)[2::2] == pytest.approx(0, abs=1e-12)
    if p > 5:
        turned = characters.random_characters(p, 1, rng)[0]
        assert np.abs(turned.T @ fourier_basis(p))[1:, 1:].max() < 0.99


def test_a_basis_with_a_wrong_factor_or_without_a_constant_is_seen(rng):
    broken = fourier_basis(7)
    broken[:, 1] *= np.sqrt(2)
    assert not is_basis(broken)
    assert not is_basis(np.linalg.qr(rng.standard_normal((7, 7)))[0])


@st.composite
def tables(draw):
    """Points with coordinates in Z_N, some in the same cell, some in none, and cells without points."""
    N, M = draw(st.integers(1, 9)), draw(st.integers(1, 20))
    values = draw(st.lists(st.integers(-1, N - 1), min_size=M, max_size=M))
    F = np.random.default_rng(draw(st.integers(0, 99))).standard_normal((M, 3))
    return Coordinate(np.array(values), N), F


def obeys_parseval(coordinate, F, basis):
    """Whether energies add up to that of the fibres' means."""
    means = np.zeros_like(F)
    for value in range(coordinate.order):
        fibre = coordinate.values == value
        if fibre.any():
            means[fibre] = F[fibre].mean(axis=0)
    G = coordinate.push(F)
    same = np.allclose(coordinate.pull(G), means)
    return same and np.allclose(characters.energies(G, basis).sum(axis=0), np.square(means).sum(axis=0))


@given(tables())
def test_parseval_holds_whatever_the_table_lacks(table):
    coordinate, F = table
    assert obeys_parseval(coordinate, F, fourier_basis(coordinate.order))
    assert obeys_parseval(coordinate, F, characters.random_bases(coordinate.order, 1, np.random.default_rng(0))[0])


@given(tables())
def test_pull_is_the_adjoint_of_push(table):
    coordinate, F = table
    G = np.random.default_rng(1).standard_normal((coordinate.order, 3))
    assert np.vdot(coordinate.push(F), G) == pytest.approx(np.vdot(F, coordinate.pull(G)))


def test_a_basis_that_is_not_orthonormal_breaks_parseval(rng):
    coordinate, F = Coordinate(np.arange(1, 7), 7), rng.standard_normal((6, 2))
    assert obeys_parseval(coordinate, F, fourier_basis(7))
    assert not obeys_parseval(coordinate, F, fourier_basis(7) * np.linspace(1, 1.1, 7))


def test_a_planted_character_of_z97_keeps_what_the_page_says_without_token_0():
    G = Coordinate(np.arange(1, P), P).push(wave(P, 12, np.arange(1, P)))
    chi = G[:, 0] + 1j * G[:, 1]
    energy = np.abs(np.fft.fft(chi)) ** 2 / P
    assert energy[12] / energy.sum() == pytest.approx(96 / 97)
    shares = characters.energies(G, fourier_basis(P)).sum(axis=1) / np.square(G).sum()
    assert shares[12] == pytest.approx((energy[12] + energy[-12]) / energy.sum())


@pytest.mark.parametrize("p", [5, 7, 13, 97])
def test_characters_of_one_group_are_spread_evenly_over_the_other(p):
    a, log = np.arange(p), characters.logarithms(p)
    F = wave(p - 1, 1, log) * (a > 0)[:, None]
    spread = characters.energies(Coordinate(a, p).push(F), fourier_basis(p)).sum(axis=1) / np.square(F).sum()
    assert spread[1:] == pytest.approx(characters.leak(p))
    assert spread[0] == pytest.approx(0)


@pytest.mark.parametrize("N", [2, 3, 6, 7])
def test_grid_energies_are_those_of_the_frequency_in_both_coordinates(N, rng):
    G = rng.standard_normal((N, N, 4))
    basis = characters.random_bases(N, 1, rng)[0]
    H = np.square(np.stack([basis.T @ G[:, :, c] @ basis for c in range(4)], axis=2))
    assert H.sum() == pytest.approx(np.square(G).sum())
    frequency = (np.arange(N) + 1) // 2
    for k, found in enumerate(characters.grid_energies(G, basis), 1):
        some = np.isin(frequency, [0, k])
        assert found == pytest.approx(H[np.ix_(some, some)].sum(axis=(0, 1)) - H[0, 0])


def test_a_unit_of_one_frequency_has_all_of_its_energy_there_and_none_elsewhere():
    N, k = 11, 3
    s, t = (wave(N, k, x) for x in np.divmod(np.arange(N * N), N))
    F = (s[:, 0] + 0.5 * t[:, 1] + 2 * s[:, 1] * t[:, 0])[:, None]
    found = characters.grid_energies(F.reshape(N, N, 1), fourier_basis(N))[:, 0]
    assert found[k - 1] == pytest.approx(np.square(F).sum())
    assert np.delete(found, k - 1) == pytest.approx(0, abs=1e-12)


KEYS = {3: 2.0, 17: 1.0, 40: 0.5}  # frequency and strength
ANSWERS = {"add": (A + B) % P, "mul": A * B % P, "sq": (A * A + B * B) % P}


def planted(y, c, N):
    """Return logits (M, V) of a circuit of a few frequencies."""
    return sum(size * np.cos(2 * np.pi * k * (y[:, None] - c) / N) for k, size in KEYS.items())


@pytest.mark.parametrize("task", ANSWERS)
@pytest.mark.parametrize("by", ["answer", "log answer"])
def test_a_planted_circuit_comes_back_exactly(task, by, rng):
    coordinate, log = characters.of_numbers(ANSWERS[task], P, "answer")[by], characters.logarithms(P)
    N, c = coordinate.order, np.arange(P) if by == "answer" else log
    bias = rng.standard_normal(P)
    F = np.where(coordinate.inside[:, None], planted(coordinate.values, c, N), 0) + bias
    waves = fourier_basis(N)[:, characters.columns(N, np.array([*KEYS]))]
    constant, part = characters.split(F, coordinate, waves)
    assert constant + part == pytest.approx(F, abs=1e-9)
    assert np.ptp((F - part)[coordinate.inside], axis=0) == pytest.approx(0, abs=1e-9)
    fewer = characters.split(F, coordinate, waves[:, 2:])[1]
    assert np.square(fewer).sum() < 0.5 * np.square(part).sum()  # without the strongest it does not


def test_split_is_a_projection_and_leaves_orthogonal_parts(rng):
    coordinate, F = Coordinate(rng.integers(-1, 9, 60), 9), rng.standard_normal((60, 2))
    waves = fourier_basis(9)[:, characters.columns(9, np.array([1, 4]))]
    constant, part = characters.split(F, coordinate, waves)
    again = characters.split(constant + part, coordinate, waves)
    assert again[0] == pytest.approx(constant)
    assert again[1] == pytest.approx(part)
    assert np.vdot(F - constant - part, part) == pytest.approx(0, abs=1e-12)
    assert np.vdot(constant, part) == pytest.approx(0, abs=1e-12)


def test_all_frequencies_span_all_functions_of_the_coordinate(rng):
    coordinate, F = Coordinate(np.arange(1, P), P), rng.standard_normal((P - 1, 3))
    waves = fourier_basis(P)[:, 1:]  # one more than there are dimensions
    constant, part = characters.split(F, coordinate, waves)
    assert constant + part == pytest.approx(F)


@pytest.mark.parametrize("values", [np.zeros((2, 2), int), np.array([0, 5]), np.array([-2])])
def test_coordinates_out_of_range_are_refused(values):
    with pytest.raises(ShapeError, match="coordinates"):
        Coordinate(values, 5)
