"""The sentences claim no more than the numbers carry."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from counterpoise.report.summary import pooled_sd, summarise
from counterpoise.runs.layout import RunFolder
from counterpoise.statistics.results import Spread, load_results

Make = Callable[..., RunFolder]


def scores(**arms: list[float]) -> dict[str, dict[int, list[dict[str, float | None]]]]:
    """One class, one epoch, a value per seed."""
    return {arm: {seed: [{"mito": v}] for seed, v in enumerate(values, 1)} for arm, values in arms.items()}


def test_the_gap_to_the_baseline_stands_beside_the_spread_over_seeds(make_scored: Make) -> None:
    run = make_scored(scores(uniform=[0.50, 0.52], sqrt=[0.55, 0.55]))
    # Gap: mean of 0.05 and 0.03. Spread: sd of uniform is 0.01 * sqrt(2), of sqrt 0; pooled: 0.01.
    assert summarise(load_results(run)).finding == (
        "In the last epoch sqrt has the highest mean Dice, 0.550 over 2 seeds, 0.040 above the baseline "
        "uniform; the seeds of one and the same arm differ by ±0.010 (1 sd), so this gap is 4.0 times that "
        "spread."
    )


def test_two_seeds_give_no_verdict(make_scored: Make) -> None:
    summary = summarise(load_results(make_scored(scores(uniform=[0.1, 0.1], sqrt=[0.9, 0.9]))))
    assert summary.verdict.startswith("No verdict: needs 3 seeds")


def test_three_seeds_give_no_winner_either(make_scored: Make) -> None:
    summary = summarise(load_results(make_scored(scores(uniform=[0.1] * 3, sqrt=[0.9] * 3))))
    assert summary.verdict.startswith("No verdict yet")
    said = f"{summary.trained} {summary.finding} {summary.verdict}".lower()
    assert not any(word in said for word in ("winner", "better", "significant"))


def test_a_leading_baseline_is_compared_with_the_next_arm(make_scored: Make) -> None:
    finding = summarise(load_results(make_scored(scores(uniform=[0.6, 0.6], sqrt=[0.5, 0.52])))).finding
    assert "uniform has the highest mean Dice, 0.600 over 2 seeds, 0.090 above the next, sqrt;" in finding


def test_equal_arms_share_the_highest_score(make_scored: Make) -> None:
    finding = summarise(load_results(make_scored(scores(uniform=[0.5, 0.5], sqrt=[0.5, 0.5])))).finding
    assert finding == (
        "In the last epoch uniform and sqrt share the highest mean Dice, 0.500 over 2 seeds; "
        "the seeds of an arm do not differ."
    )


def test_one_seed_says_that_the_spread_is_unknown(make_scored: Make) -> None:
    finding = summarise(load_results(make_scored(scores(uniform=[0.5], sqrt=[0.6])))).finding
    assert "over 1 seed," in finding
    assert "not known: no arm has two finished seeds" in finding
    assert "times" not in finding


def test_unfinished_trials_are_listed_with_their_reason(make: Make) -> None:
    summary = summarise(load_results(make(reason="out of <memory>")))
    assert not summary.is_complete
    assert summary.trials == 10
    (trial,) = summary.incomplete
    assert (trial.arm, trial.seed, trial.state, trial.epoch, trial.epochs, trial.reason) == (
        "weight_log_inv",
        2,
        "failed",
        4,
        12,
        "out of <memory>",
    )


def test_unequal_seeds_name_how_many_the_gap_rests_on(make: Make) -> None:
    run = make(failed=(("weight_uniform", 2),))
    assert "above the baseline weight_uniform on the 1 seed that both finished" in summarise(load_results(run)).finding


def test_a_run_without_a_finished_trial_has_no_score(make: Make) -> None:
    run = make(arms=("a", "b"), same_as={}, failed=tuple((a, s) for a in "ab" for s in (1, 2)))
    summary = summarise(load_results(run))
    assert summary.finding == "No trial has finished, so there is no score to report."
    assert summary.verdict == "No verdict."
    assert len(summary.incomplete) == 4


def test_arms_that_are_copies_are_not_counted_as_trained(make: Make) -> None:
    assert summarise(load_results(make())).trained == (
        "5 class weightings of one and the same loss, 2 seeds each, 12 epochs, 5 classes "
        "(1 more not trained: see the table)."
    )


def test_spreads_are_pooled_by_degrees_of_freedom() -> None:
    spreads = [Spread(0.5, 0.01, 2), Spread(0.5, 0.02, 4), Spread(0.5, None, 1), None]
    assert pooled_sd(spreads) == pytest.approx(((0.01**2 + 3 * 0.02**2) / 4) ** 0.5)
    assert pooled_sd([None, Spread(0.5, None, 1)]) is None
