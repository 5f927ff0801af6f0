"""What the looks before a verdict do to it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from scipy import stats

from counterpoise.runs.looks import LookRecord
from counterpoise.statistics.counts import RunState
from counterpoise.statistics.looks import LookHistory
from counterpoise.statistics.spending import LookAt, spend_alpha
from counterpoise.statistics.verdict import judge

from .tables import make_table, number


def looked_at(*seeds: int, planned: int = 5, arms: int = 4) -> LookHistory:
    """Make looks that saw the first so many seeds of every arm."""
    runs = [{f"arm_{a}": tuple(range(1, number + 1)) for a in range(arms)} for number in seeds]
    return LookHistory(tuple(LookRecord(each, planned) for each in runs))


def test_earlier_looks_widen_intervals_by_what_they_spent() -> None:
    table = make_table((0.0, 0.02, 0.0, 0.0))
    once, twice = judge(table), judge(table, history=looked_at(3))
    level = spend_alpha((LookAt(3, 5), LookAt(5, 5)), 0.05 / 3).level
    for arm in once.arms:
        other = twice.arm(arm.name)
        if arm.comparison and other.comparison:
            wider = stats.t.isf(level / 2, number(arm.comparison.df)) / stats.t.isf(0.05 / 6, number(arm.comparison.df))
            assert other.comparison.difference == arm.comparison.difference
            assert number(other.comparison.high) - number(other.comparison.low) == pytest.approx(
                wider * (number(arm.comparison.high) - number(arm.comparison.low))
            )
    assert once.looks.seeds == (5,)
    assert (twice.looks.recorded, twice.looks.seeds, twice.looks.planned) == (1, (3, 5), 5)
    assert twice.looks.error_rate == pytest.approx(0.05)


def test_seeds_added_after_the_last_look_raise_the_error_and_it_is_said() -> None:
    table = make_table(seeds=8)
    verdict = judge(table, history=looked_at(5, planned=5))
    overall = spend_alpha((LookAt(5, 5), LookAt(8, 8)), 0.05 / 3).overall
    assert verdict.looks.error_rate == pytest.approx(overall * 3)
    assert verdict.looks.error_rate > 0.055
    assert judge(table, history=looked_at(5, planned=8)).looks.error_rate == pytest.approx(0.05)


def test_runs_that_a_look_saw_and_that_are_gone_make_claims_exploratory() -> None:
    gone: dict[tuple[int, int], RunState] = {(1, 4): RunState.UNFINISHED}
    verdict = judge(make_table((0.0, 0.05, 0.0, 0.0), missing=gone), history=looked_at(5))
    assert verdict.looks.lost_runs == (("arm_1", 5),)
    assert verdict.is_exploratory
    assert not judge(make_table((0.0, 0.05, 0.0, 0.0)), history=looked_at(5)).is_exploratory


def test_intervals_of_classes_are_single_however_many_arms_and_looks_there_are() -> None:
    table = make_table()
    once, twice = judge(table), judge(table, history=looked_at(3, 4))
    for arm in once.arms:
        assert arm.classes == twice.arm(arm.name).classes
    # Of one class alone the arms' intervals rest on the same pairs, and are wider: three comparisons share the 5 %.
    alone = judge(replace(table, classes=("nuc",), counts=table.counts[..., :1, :]))
    for arm in alone.arms:
        if arm.comparison:
            (entry,) = arm.classes
            assert entry.difference == pytest.approx(arm.comparison.difference)
            single, shared = (stats.t.isf(0.025 / k, number(arm.comparison.df)) for k in (1, 3))
            assert number(entry.high) - number(entry.low) == pytest.approx(
                (number(arm.comparison.high) - number(arm.comparison.low)) * single / shared
            )
