import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import multinomial

from calaudit.statistics.paired_proportions import tango_bound, tango_z

counts = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 200)).map(
    lambda t: (t[0], t[1], t[0] + t[1] + t[2])
)


def test_the_interval_is_that_of_the_worked_example():
    ends = tango_bound(40, 20, 160, [0.025, 0.975])
    assert ends == pytest.approx([0.0309, 0.2181], abs=5e-5)


def test_without_flips_268_units_certify_one_point_and_133_two():
    assert tango_bound(0, 0, [267, 268], 0.95) == pytest.approx([0.01003, 0.00999], abs=1e-5)
    assert (tango_bound(0, 0, [132, 133], 0.95) < 0.02).tolist() == [False, True]


@pytest.mark.parametrize(("b", "c", "n"), [(40, 20, 160), (3, 0, 50), (5, 9, 300), (1, 1, 4)])
@pytest.mark.parametrize("drop", [-0.2, 0.01, 0.1, 0.3])
def test_the_statistic_uses_the_constrained_maximum_likelihood(b, c, n, drop):
    def cost(q):  # the chance of gain is q, of loss q + drop
        p = np.array([q + drop, q, 1 - 2 * q - drop])
        return -sum(k * np.log(max(x, 1e-300)) for k, x in zip((b, c, n - b - c), p, strict=True))

    low, high = max(0.0, -drop), (1 - drop) / 2
    q = minimize_scalar(cost, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x
    z = (b - c - n * drop) / np.sqrt(n * (2 * q + drop * (1 - drop)))
    assert tango_z(b, c, n, drop) == pytest.approx(z, rel=1e-3)


@given(counts)
@settings(max_examples=100, deadline=None)
def test_the_ends_invert_the_statistic(found):
    b, c, n = found
    low, high = tango_bound(b, c, n, [0.025, 0.975])
    assert -1 <= low <= (b - c) / n + 1e-9
    assert (b - c) / n - 1e-9 <= high <= 1
    for end, z in ((low, 1.959964), (high, -1.959964)):
        if abs(end) < 1 - 1e-9:
            assert tango_z(b, c, n, end) == pytest.approx(z, abs=1e-4)


@given(counts)
@settings(max_examples=50, deadline=None)
def test_swapping_the_engines_mirrors_the_interval(found):
    b, c, n = found
    mirrored = -tango_bound(c, b, n, [0.975, 0.025])
    assert tango_bound(b, c, n, [0.025, 0.975]) == pytest.approx(mirrored, abs=1e-9)


def test_when_every_unit_is_lost_the_ends_have_a_closed_form():
    # The constrained maximum is q = (1 − δ)/2, so z² = n(1 − δ)/(1 + δ).
    z2 = 1.959964**2
    assert tango_bound(50, 0, 50, [0.025, 0.975]) == pytest.approx([(50 - z2) / (50 + z2), 1.0])


def test_without_units_nothing_is_bounded():
    assert tango_bound(0, 0, 0, [0.025, 0.975]).tolist() == [-1.0, 1.0]


@pytest.mark.parametrize(
    ("n", "drop", "gained"), [(50, 0.01, 0.02), (200, 0.02, 0.03), (200, 0.05, 0.02)]
)
def test_the_exact_chance_of_a_false_pass_is_near_its_promise(n, drop, gained):
    b, c = (index.ravel() for index in np.indices((n + 1, n + 1)))
    b, c = b[b + c <= n], c[b + c <= n]
    chance = multinomial.pmf(
        np.stack([b, c, n - b - c], axis=1), n, [drop + gained, gained, 1 - drop - 2 * gained]
    )
    passed = tango_bound(b, c, n, 0.95) < drop
    assert chance[passed].sum() < 0.055
