"""What looks cost: against ldbounds (R), scipy's normal integrals, and walks that are drawn."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from counterpoise.statistics.spending import LookAt, drop_levels, spend_alpha

ALPHA = 0.05


def looks_at(seeds: tuple[int, ...], planned: int) -> tuple[LookAt, ...]:
    return tuple(LookAt(each, planned) for each in seeds)


def levels_of(looks: tuple[LookAt, ...], alpha: float = ALPHA) -> list[float]:
    return [spend_alpha(looks[:number], alpha).level for number in range(1, len(looks) + 1)]


def crossed(seeds: tuple[int, ...], bounds: list[float], tables: int = 400_000) -> np.ndarray:
    """Draw walks, and return at which look each is first beyond a two-sided bound (the number of looks: never)."""
    rng = np.random.default_rng(sum(seeds))
    steps = np.diff((0, *seeds))
    walk = np.cumsum(rng.standard_normal((tables, len(seeds))) * np.sqrt(steps), axis=1) / np.sqrt(seeds)
    beyond = np.abs(walk) > np.array(bounds)
    return np.where(beyond.any(1), beyond.argmax(1), len(seeds))


# Figures of others ----------------------------------------------------------------------------------------------


def test_five_equal_looks_have_the_bounds_of_ldbounds() -> None:
    # ldbounds (R), Lan-DeMets spending like O'Brien and Fleming, two-sided .05.
    levels = levels_of(looks_at((1, 2, 3, 4, 5), 5))
    bounds = [float(stats.norm.isf(level / 2)) for level in levels]
    assert bounds == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=2e-4)


def test_a_race_drops_at_the_bounds_of_ldbounds() -> None:
    # The same with Pocock's spending, one-sided .025.
    bounds = [float(stats.norm.isf(level)) for level in drop_levels((1, 2, 3, 4, 5), 5, 0.025)]
    assert bounds == pytest.approx([2.4380, 2.4268, 2.4101, 2.3966, 2.3859], abs=1e-4)


def test_two_looks_are_the_integral_of_a_plane() -> None:
    first, last = levels_of(looks_at((3, 8), 8))
    # alpha*(t) = 4 - 4 Phi(z_{alpha / 4} / sqrt t), all of it at the first look.
    assert first == pytest.approx(4 * stats.norm.sf(stats.norm.isf(ALPHA / 4) / math.sqrt(3 / 8)))
    c1, c2 = (float(stats.norm.isf(level / 2)) for level in (first, last))
    # Scores at 3 and 8 seeds correlate by sqrt(3/8); the rectangle inside both bounds has chance 1 - alpha.
    plane = stats.multivariate_normal(cov=[[1, math.sqrt(3 / 8)], [math.sqrt(3 / 8), 1]])
    inside = plane.cdf([c1, c2]) - plane.cdf([-c1, c2]) - plane.cdf([c1, -c2]) + plane.cdf([-c1, -c2])
    assert 1 - inside == pytest.approx(ALPHA, abs=1e-5)


# Any looks ------------------------------------------------------------------------------------------------------


def test_one_planned_look_at_the_end_has_all_of_alpha() -> None:
    for seeds in (2, 5, 30):
        spent = spend_alpha((LookAt(seeds, seeds),), ALPHA)
        assert (spent.level, spent.overall) == pytest.approx((ALPHA, ALPHA))


def test_without_a_look_nothing_is_spent() -> None:
    spent = spend_alpha((), ALPHA)
    assert (spent.level, spent.overall) == (ALPHA, 0.0)


@pytest.mark.parametrize("seeds", [(3, 5, 8), (2, 3, 4, 5), (3, 4, 5, 6, 7, 8), (5, 6, 20)])
def test_all_looks_together_are_wrong_as_often_as_one(seeds: tuple[int, ...]) -> None:
    looks = looks_at(seeds, seeds[-1])
    levels = levels_of(looks)
    first = crossed(seeds, [float(stats.norm.isf(level / 2)) for level in levels])
    assert (first < len(seeds)).mean() == pytest.approx(ALPHA, abs=4 * math.sqrt(ALPHA / 400_000))
    for number in range(1, len(seeds) + 1):
        # What was spent by then, look by look.
        expected = 4 * stats.norm.sf(stats.norm.isf(ALPHA / 4) / math.sqrt(seeds[number - 1] / seeds[-1]))
        overall = spend_alpha(looks[:number], ALPHA).overall
        assert overall == pytest.approx(expected)
        assert (first < number).mean() == pytest.approx(overall, abs=4 * math.sqrt(ALPHA / 400_000))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(2, 20), min_size=1, max_size=6, unique=True).map(sorted),
    st.integers(0, 10),
    st.floats(0.001, 0.2),
)
def test_looks_at_the_same_seeds_cost_nothing_and_no_level_is_above_alpha(
    seeds: list[int], more: int, alpha: float
) -> None:
    planned = seeds[-1] + more
    looks = looks_at(tuple(seeds), planned)
    twice = tuple(itertools.chain.from_iterable((look, look, look) for look in looks))
    assert spend_alpha(twice, alpha) == spend_alpha(looks, alpha)
    fewer = (*looks, LookAt(seeds[0], planned))  # seeds that were lost
    assert spend_alpha(fewer, alpha) == spend_alpha(looks, alpha)
    levels = levels_of(looks, alpha)
    assert all(0 < level <= alpha * (1 + 1e-9) for level in levels)
    assert levels[-1] <= alpha + 1e-9
    assert spend_alpha(looks, alpha).overall <= alpha + 1e-6


def test_looks_that_were_not_known_in_advance_spend_what_is_left() -> None:
    # Planned five seeds, looked at 3 and 5, and then eight were planned: all of alpha was spent at the fifth.
    looks = (LookAt(3, 5), LookAt(5, 5), LookAt(8, 8))
    spent = spend_alpha(looks, ALPHA)
    planned = levels_of(looks_at((3, 5, 8), 8))
    assert spent.level == pytest.approx(planned[-1]), "as if it had been planned"
    assert spent.overall > ALPHA + 0.005
    levels = [*levels_of(looks_at((3, 5), 5)), spent.level]
    first = crossed((3, 5, 8), [float(stats.norm.isf(level / 2)) for level in levels])
    assert spent.overall == pytest.approx((first < 3).mean(), abs=4 * math.sqrt(0.07 / 400_000))
    assert levels_of(looks)[:2] == pytest.approx(levels[:2])


def test_a_plan_that_grew_in_time_keeps_its_promise() -> None:
    # At three of five seeds the maximum became eight: less had been spent than alpha, and the rest is spent by eight.
    looks = (LookAt(3, 5), LookAt(5, 8), LookAt(8, 8))
    assert spend_alpha(looks, ALPHA).overall == pytest.approx(ALPHA)
    levels = levels_of(looks)
    first = crossed((3, 5, 8), [float(stats.norm.isf(level / 2)) for level in levels])
    assert (first < 3).mean() == pytest.approx(ALPHA, abs=4 * math.sqrt(ALPHA / 400_000))


def test_a_plan_that_shrank_spends_all_at_its_end() -> None:
    looks = (LookAt(3, 8), LookAt(5, 5))
    spent = spend_alpha(looks, ALPHA)
    assert spent.overall == pytest.approx(ALPHA)
    assert spent.level > levels_of(looks_at((3, 5), 8))[-1]


def test_each_look_beyond_the_plan_adds_to_the_error_and_is_said() -> None:
    looks = tuple(LookAt(seeds, seeds) for seeds in (3, 4, 5, 6, 7, 8))
    overall = [spend_alpha(looks[:number], ALPHA).overall for number in range(1, 7)]
    assert overall[0] == pytest.approx(ALPHA)
    assert all(one < two for one, two in itertools.pairwise(overall))
    levels = levels_of(looks)
    first = crossed((3, 4, 5, 6, 7, 8), [float(stats.norm.isf(level / 2)) for level in levels])
    for number in range(1, 7):
        assert overall[number - 1] == pytest.approx((first < number).mean(), abs=4 * math.sqrt(0.1 / 400_000))


def test_drops_are_wrong_as_often_as_was_allowed() -> None:
    seeds, alpha, tables = (3, 5, 8, 12), 0.25, 400_000
    bounds = np.array([stats.norm.isf(level) for level in drop_levels(seeds, 12, alpha)])
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.standard_normal((tables, 4)) * np.sqrt(np.diff((0, *seeds))), axis=1) / np.sqrt(seeds)
    beyond = (walk > bounds).any(1).mean()
    assert beyond == pytest.approx(alpha, abs=4 * math.sqrt(0.25 * 0.75 / tables))
    # alpha log(1 + (e - 1) t) at the first look.
    assert drop_levels(seeds, 12, alpha)[0] == pytest.approx(alpha * math.log(1 + (math.e - 1) / 4))
