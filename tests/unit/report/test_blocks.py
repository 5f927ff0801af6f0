"""What is printed: every figure of the verdict, and nothing that was not found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from counterpoise.report import statements
from counterpoise.report.blocks import Table, verdict_blocks, verdict_lines
from counterpoise.statistics.counts import RunCell, RunState
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import Settings, Unit, Verdict

from .verdicts import make_table, make_verdicts

VERDICTS = make_verdicts()


def printed(verdict: Verdict) -> str:
    return "\n".join(verdict_lines(verdict))


def arms_table(verdict: Verdict) -> dict[str, dict[str, str]]:
    """Return the table of arms by arm and heading."""
    (table,) = (b for b in verdict_blocks(verdict) if isinstance(b, Table) and b.rows[0][:2] == ("arm", "runs"))
    head, *rows = table.rows
    return {row[0]: dict(zip(head, row, strict=True)) for row in rows}


def expected_gain(verdict: Verdict) -> float:
    """Shrink the best arm's difference by hand: the spread of the arms beyond their noise, over all of it."""
    found = [arm.comparison for arm in verdict.arms if arm.comparison]
    differences, errors = np.array([[c.difference, c.se] for c in found], float).T
    spread = (differences**2 - errors**2).mean()
    best = int(differences.argmax())
    return float(differences[best] * spread / (spread + errors[best] ** 2))


def test_every_part_of_the_science_note_is_printed() -> None:
    verdict = VERDICTS["use"]
    text = printed(verdict)
    for part in (
        "Question   which weighting gives the best Dice? Baseline: weight_uniform",
        "margin that matters to you: 0.010",
        "3 arms x 4 seeds = 12 trainings, 12 finished",
        "moves the score by ±0.00",
        f"These runs more often miss than find differences below about {verdict.visible_difference:.3f}.",
        "Cannot be told apart from the best: weight_sqrt_inv (1 of 3 arms).",
        f"Best bet, not a claim: weight_sqrt_inv, expected {expected_gain(verdict):+.3f} against weight_uniform",
        "Holds for new crops of these 3 data sets, this split, this model and schedule.",
        "* weight_effective_num has the weights of weight_uniform: not trained",
    ):
        assert part in text, part
    best, row = verdict.arm("weight_sqrt_inv"), arms_table(verdict)["weight_sqrt_inv"]
    assert best.comparison is not None
    assert row == {
        "arm": "weight_sqrt_inv",
        "runs": "4/4",
        "Dice": f"{best.score:.3f} ± {best.sd_over_seeds:.3f}",
        "vs baseline": f"{best.comparison.difference:+.3f}",
        "95 % range (all together)": f"[{best.comparison.low:+.3f}, {best.comparison.high:+.3f}]",
        "verdict": best.comparison.label.value,
        "IoU": f"{best.iou:.3f}",
        "Dice by crop": f"{best.crop_dice:.3f}",
        "noise": f"{best.sd:.4f}",
    }


def test_rows_follow_the_score_and_columns_stand_below_their_titles() -> None:
    lines = verdict_lines(VERDICTS["use"])
    start = next(i for i, line in enumerate(lines) if line.startswith("arm "))
    head, rows = lines[start], lines[start + 1 : start + 4]
    assert rows[0].startswith("weight_sqrt_inv")
    scores = [float(row[head.index("Dice") :].split()[0]) for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_undecided_and_keep_the_baseline_are_answers() -> None:
    text = printed(VERDICTS["keep"])
    assert "undecided" in text
    assert statements.headline(VERDICTS["keep"]).startswith(
        "Keep weight_uniform for new crops of these 3 data sets: no evidence that weighting helps."
    )
    assert "more often miss than find" in statements.headline(VERDICTS["keep"])
    bands = {arm.name: arm.seeds_to_decide for arm in VERDICTS["keep"].arms}
    (limited, ranged) = (bands[name] for name in ("weight_sqrt_inv", "weight_inv_freq"))
    assert limited is not None
    assert ranged is not None
    assert f"weight_sqrt_inv more than {limited.low} and weight_inv_freq {ranged.low} to {ranged.high} (" in text
    assert limited.high is None
    sentence = statements.headline(VERDICTS["keep, others worse or the same"])
    assert sentence.endswith("every other arm is worse, or the same within 0.01.")


def test_where_crops_set_the_limit_no_number_of_seeds_is_promised() -> None:
    text = printed(VERDICTS["limited by crops"])
    assert "No number of seeds finds a difference of 0.010: weight_" in text
    assert "The validation crops set the limit; it takes more of them." in text
    assert "Seeds per arm" not in text


def test_fewer_than_three_seeds_show_scores_and_claim_nothing() -> None:
    text = printed(VERDICTS["two seeds"]).replace("found better than by predicting", "")  # says nothing of arms
    assert arms_table(VERDICTS["two seeds"])["weight_uniform"]["verdict"] == "baseline"
    assert arms_table(VERDICTS["two seeds"])["weight_sqrt_inv"]["verdict"] == "no verdict"
    assert "0.6" in text
    for claim in ("better", "worse", "undecided", "Cannot be told apart", "Holds for", "[+", "[-"):
        assert claim not in text
    assert "Per class: Dice, mean over the finished runs." in text
    assert "Exploratory" not in text
    single = printed(VERDICTS["one seed"])
    assert "3 arms x 1 seed = 3 trainings, 3 finished" in single
    assert "unknown: it needs two seeds" in single


def test_lost_runs_are_listed_with_what_becomes_of_them() -> None:
    text = printed(VERDICTS["lost runs"])
    assert "12 trainings, 9 finished, 1 diverged, 1 failed, 1 unfinished" in text
    assert "weight_sqrt_inv, seed 0: diverged (the loss was not finite); counts as a result" in text
    assert "weight_inv_freq, seed 1: failed (out of memory); run the same seed again" in text
    assert "weight_inv_freq, seed 3: unfinished (epoch 2 of 9); not yet counted" in text


@pytest.mark.parametrize(("reason", "said"), [("", "not started"), ("a file is damaged", "a file is damaged")])
def test_a_run_that_may_have_been_trained_is_not_called_not_started(reason: str, said: str) -> None:
    cell = RunCell("weight_sqrt_inv", 0, RunState.UNFINISHED, reason)
    text = printed(replace(VERDICTS["lost runs"], incomplete=(cell,)))
    assert f"weight_sqrt_inv, seed 0: unfinished ({said}); not yet counted" in text


@pytest.mark.parametrize(
    ("name", "arm", "mark"),
    [
        ("diverged", "weight_sqrt_inv", "better, by at least the margin *"),
        ("diverged, allowed", "weight_sqrt_inv", "better, by at least the margin *"),
        ("noisy", "weight_manual", "undecided *"),
        ("control", "weight_inv_freq", "undecided *"),
        ("diverged baseline", "weight_uniform", "baseline *"),
        ("diverged", "weight_inv_freq", "better"),
    ],
)
def test_an_arm_with_a_note_is_marked_and_the_note_stands_below(name: str, arm: str, mark: str) -> None:
    assert arms_table(VERDICTS[name])[arm]["verdict"] == mark
    assert (f"* {arm}: " in printed(VERDICTS[name])) == mark.endswith("*")


def test_an_unstable_arm_is_eligible_if_that_was_asked_for() -> None:
    assert VERDICTS["diverged"].recommendation.arm == "weight_inv_freq"
    assert VERDICTS["diverged, allowed"].recommendation.arm == "weight_sqrt_inv"
    assert "diverged; not eligible" in printed(VERDICTS["diverged"])
    assert "diverged; eligible anyway, as the experiment asks" in printed(VERDICTS["diverged, allowed"])


@pytest.mark.parametrize(
    ("name", "scope"),
    [("these data sets", "new data sets like these 4"), ("new data sets", "new data sets like these 6")],
)
def test_a_verdict_about_data_sets_says_so(name: str, scope: str) -> None:
    text = printed(VERDICTS[name])
    assert f"Holds for {scope}" in text
    assert "a class needs positives in 3 data sets" in text
    assert "Dice by data set" in arms_table(VERDICTS[name])["weight_uniform"]


def test_an_answer_that_rests_on_few_crops_says_that_its_intervals_are_rough() -> None:
    few, many = printed(VERDICTS["few crops"]), printed(VERDICTS["use"])
    assert (
        "It rests on few crops (effective number 4.0): the intervals allow for that, and are wide and rough themselves."
    ) in few
    assert "rough" not in many
    assert "few data sets (effective number" in printed(VERDICTS["these data sets"])


def test_a_table_of_single_intervals_says_how_often_chance_alone_shows_something() -> None:
    # Two arms and one class: 1 - P(both inside) with the baseline in common, a correlation of one half.
    both = stats.multivariate_normal(cov=[[1, 0.5], [0.5, 1]])
    z = stats.norm.isf(0.025)
    inside = both.cdf([z, z]) - both.cdf([-z, z]) - both.cdf([z, -z]) + both.cdf([-z, -z])
    said = f"Of these 2 intervals, some exclude 0 in about {100 * (1 - inside):.0f} % of experiments in which all arms"
    assert said in printed(VERDICTS["use"])
    assert "Of these" not in printed(VERDICTS["two seeds"])


def test_the_spread_over_seeds_and_the_noise_are_told_apart() -> None:
    assert statements.SPREAD in verdict_lines(VERDICTS["use"])
    assert statements.SPREAD not in verdict_lines(VERDICTS["one seed"]), "one seed has no spread"


def test_columns_of_thresholds_say_what_they_are() -> None:
    lines = verdict_lines(VERDICTS["tuned"])
    start = next(n for n, line in enumerate(lines) if line.startswith("Thresholds tuned on one half of the crops"))
    assert lines[start + 1 : start + 4] == (
        "arm             Dice at 1/2  Dice tuned  nuc above  golgi_mem above",
        "weight_uniform  0.500        0.625       0.25       0.75",
        "The last columns: the probability above which a voxel counts as the class, mean over runs.",
    )
    by_set = replace(judge(make_table(), Settings(unit=Unit.DATA_SET)), tuned=VERDICTS["tuned"].tuned)
    assert "Thresholds tuned on one half of the data sets, scored on the other" in printed(by_set)


def test_reasons_of_hypotheses_stand_below_them_in_one_line() -> None:
    lines = verdict_lines(VERDICTS["hypotheses"])
    first = next(n for n, line in enumerate(lines) if line.startswith("supported "))
    assert lines[first].split()[:4] == ["supported", "a", ">", "b"]
    assert lines[first + 1] == "    because: it is so & <so>"
