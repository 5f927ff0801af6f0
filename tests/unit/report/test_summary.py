"""The plain facts claim nothing: what was trained, which arm scores highest, what is missing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from counterpoise.report.summary import Summary, summarise
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.read import read_run
from counterpoise.runs.records import FailureCause
from counterpoise.statistics.results import summarise_run
from counterpoise.statistics.run_verdict import judge_run

Make = Callable[..., RunFolder]


def scores(**arms: list[float]) -> dict[str, dict[int, list[dict[str, float | None]]]]:
    """One class, one epoch, a value per seed."""
    return {arm: {seed: [{"mito": v}] for seed, v in enumerate(values, 1)} for arm, values in arms.items()}


def summary_of(folder: RunFolder) -> Summary:
    run = read_run(folder)
    return summarise(summarise_run(run, judge_run(run)))


@pytest.mark.parametrize(
    ("made", "finding"),
    [
        # The gap is the mean of 0.05 and 0.03, seed by seed.
        (
            scores(uniform=[0.50, 0.52], sqrt=[0.55, 0.55]),
            "sqrt has the highest Dice of mito, 0.550 over 2 seeds, 0.040 above the baseline uniform.",
        ),
        (
            scores(uniform=[0.6, 0.6], sqrt=[0.5, 0.52], log=[0.3, 0.3]),
            "uniform has the highest Dice of mito, 0.600 over 2 seeds, 0.090 above the next, sqrt.",
        ),
        (
            scores(uniform=[0.5, 0.5], sqrt=[0.5, 0.5]),
            "uniform and sqrt share the highest Dice of mito, 0.500 over 2 seeds.",
        ),
        (scores(uniform=[0.5], sqrt=[0.6]), "sqrt has the highest Dice of mito, 0.600 over 1 seed, 0.100 above the"),
        (
            scores(uniform=[0.5]),
            "uniform has the highest Dice of mito, 0.500 over 1 seed; no other arm has a score to compare it with.",
        ),
    ],
)
def test_the_highest_arm_is_named_with_its_distance_and_seeds(
    make_scored: Make, made: dict[str, object], finding: str
) -> None:
    assert summary_of(make_scored(made)).finding.startswith(f"In the last epoch {finding}")


def test_nobody_wins_in_the_plain_facts(make_scored: Make) -> None:
    summary = summary_of(make_scored(scores(uniform=[0.1] * 3, sqrt=[0.9] * 3)))
    said = f"{summary.design} {summary.finding}".lower()
    assert not any(word in said for word in ("winner", "better", "best", "significant"))


def test_unfinished_trials_are_listed_with_their_reason(make: Make) -> None:
    summary = summary_of(make(reason="out of <memory>"))
    assert not summary.is_complete
    assert summary.trials == 10
    (trial,) = summary.incomplete
    status = trial.status
    assert (trial.arm, trial.seed) == ("weight_log_inv", 2)
    assert (status.state, status.epoch, status.epochs, status.reason) == ("failed", 4, 12, "out of <memory>")
    assert status.cause is FailureCause.DIVERGED


def test_unequal_seeds_name_how_many_the_gap_rests_on(make: Make) -> None:
    finding = summary_of(make(failed=(("weight_uniform", 2),))).finding
    assert "above the baseline weight_uniform on the 1 seed that both finished" in finding


def test_a_run_without_a_finished_trial_has_no_score(make: Make) -> None:
    summary = summary_of(make(arms=("a", "b"), same_as={}, failed=tuple((a, s) for a in "ab" for s in (1, 2))))
    assert summary.finding == "No trial has finished, so there is no score to show."
    assert len(summary.incomplete) == 4


def test_arms_that_are_copies_are_not_counted_as_trained(make: Make) -> None:
    assert summary_of(make()).design == (
        "Planned: 5 class weightings of one and the same loss, 2 seeds each, 12 epochs, 5 classes "
        "(1 more not trained: see the table)."
    )
