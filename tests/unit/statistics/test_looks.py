"""What the looks on record cost each comparison of a table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from counterpoise.runs.looks import LookRecord
from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.looks import NO_LOOKS, LookHistory
from counterpoise.statistics.spending import LookAt, spend_alpha

ARMS = ("a", "b", "c")


def table_of(finished: dict[str, int], *, seeds: int = 8) -> CountTable:
    """Make arms of which the first so many seeds have finished."""
    there = np.array([[s < finished[arm] for s in range(seeds)] for arm in ARMS])
    counts = np.where(there[:, :, None, None, None], 10.0, np.nan) * np.ones((3, seeds, 4, 1, 3))
    cells = tuple(
        tuple(RunCell(arm, s, RunState.FINISHED if there[a, s] else RunState.UNFINISHED) for s in range(seeds))
        for a, arm in enumerate(ARMS)
    )
    return CountTable(ARMS, "a", tuple(range(seeds)), tuple("wxyz"), ("nuc",), counts, cells)


def look(*, planned: int = 8, **finished: int) -> LookRecord:
    return LookRecord({arm: tuple(range(number)) for arm, number in finished.items()}, planned)


def at(*seeds: int, planned: int = 8) -> tuple[LookAt, ...]:
    return tuple(LookAt(number, planned) for number in seeds)


def test_without_earlier_looks_this_one_is_all() -> None:
    table = table_of({"a": 8, "b": 8, "c": 8})
    assert NO_LOOKS.spent(table, (0, 1), 0.05).level == pytest.approx(0.05)
    np.testing.assert_allclose(NO_LOOKS.levels(table, 0.02), 0.02)


def test_an_early_look_spends_little_and_leaves_less_for_the_last() -> None:
    early = NO_LOOKS.spent(table_of({"a": 3, "b": 3, "c": 3}), (0, 1), 0.05)
    assert early == spend_alpha(at(3), 0.05)
    assert early.level < 0.001
    table, history = table_of({"a": 8, "b": 8, "c": 8}), LookHistory((look(a=3, b=3, c=3), look(a=5, b=5, c=5)))
    assert history.spent(table, (0, 1), 0.05) == spend_alpha(at(3, 5, 8), 0.05)
    assert 0.04 < history.spent(table, (0, 1), 0.05).level < 0.05


def test_each_comparison_pays_for_what_was_seen_of_it() -> None:
    # The second look saw five common seeds of a and b and two of c with either.
    history = LookHistory((look(a=3, b=3, c=2), look(a=5, b=6, c=2)))
    table = table_of({"a": 8, "b": 8, "c": 4})
    levels = history.levels(table, 0.05)
    assert levels[0, 1] == levels[1, 0] == spend_alpha(at(3, 5, 8), 0.05).level
    assert levels[0, 2] == levels[1, 2] == spend_alpha(at(2, 4), 0.05).level
    # One arm alone: its own seeds.
    assert history.spent(table, (1,), 0.05) == spend_alpha(at(3, 6, 8), 0.05)


def test_common_seeds_count_and_not_their_number() -> None:
    history = LookHistory((LookRecord({"a": (0, 1, 2, 3), "b": (2, 3, 4, 5)}, 8),))
    table = table_of({"a": 8, "b": 8, "c": 8})
    assert history.spent(table, (0, 1), 0.05) == spend_alpha(at(2, 8), 0.05)
    # Of one common seed nothing is shown, so nothing was seen.
    assert LookHistory((look(a=1, b=8),)).spent(table, (0, 1), 0.05) == spend_alpha(at(8), 0.05)
    # An arm that the look did not know cost nothing.
    assert LookHistory((look(a=8, b=8),)).spent(table, (0, 2), 0.05) == spend_alpha(at(8), 0.05)


def test_a_comparison_without_common_seeds_costs_nothing() -> None:
    table = table_of({"a": 8, "b": 0, "c": 1})
    for pair in ((0, 1), (0, 2), (1, 2)):
        spent = NO_LOOKS.spent(table, pair, 0.05)
        assert (spent.level, spent.overall) == (0.05, 0.0)


def test_looks_beyond_the_plan_are_paid_by_a_larger_error() -> None:
    # Five seeds were planned and looked at; the table now has eight.
    history = LookHistory((look(a=5, b=5, c=5, planned=5),))
    spent = history.spent(table_of({"a": 8, "b": 8, "c": 8}), (0, 1), 0.05)
    assert spent == spend_alpha((LookAt(5, 5), LookAt(8, 8)), 0.05)
    assert spent.overall > 0.055


def test_runs_that_were_seen_and_are_gone_are_named() -> None:
    table = table_of({"a": 4, "b": 5, "c": 2})
    history = LookHistory((look(a=5, b=5, c=2), LookRecord({"a": (0, 7), "gone": (3,)}, 8)))
    assert history.lost_runs(table) == (("a", 4), ("a", 7), ("gone", 3))
    assert LookHistory((look(a=4, b=5, c=2),)).lost_runs(table) == ()
    assert NO_LOOKS.lost_runs(table) == ()


def test_a_seed_that_diverged_is_no_longer_planned() -> None:
    table = table_of({"a": 8, "b": 7, "c": 8})
    lost = replace(table.cells[1][7], state=RunState.DIVERGED)
    cells = (table.cells[0], (*table.cells[1][:7], lost), table.cells[2])
    diverged = replace(table, cells=cells)
    assert NO_LOOKS.spent(diverged, (0, 1), 0.05).level == pytest.approx(0.05), "all seven that will ever be"
    assert NO_LOOKS.spent(table, (0, 1), 0.05) == spend_alpha(at(7), 0.05)
