"""What is printed: every figure of the verdict, in words, and nothing that was not found."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from counterpoise.report.verdict_text import verdict_as_json, verdict_lines, verdict_sentence
from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import HypothesisVerdict, Settings, TunedArm


def make_table(
    gains: tuple[float, ...] = (0.0, 0.05, 0.0),
    *,
    seeds: int = 4,
    crops: int = 12,
    noise: float = 0.005,
    lost: dict[tuple[int, int], RunState] | None = None,
) -> CountTable:
    """Make arms over two classes, the second present in two crops only."""
    rng = np.random.default_rng(6)
    arms, states = len(gains), lost or {}
    dice = 0.6 + np.array(gains)[:, None, None] + rng.normal(0, noise, (arms, seeds, 1))
    dice = dice + rng.normal(0, 0.05, crops) + rng.normal(0, 0.01, (arms, seeds, crops))
    hits = np.rint(1e5 * dice)
    nuc = np.stack([hits, 1e5 - hits, 1e5 - hits], -1)
    golgi = np.where(np.arange(crops)[:, None] < 2, nuc, 0.0)
    counts = np.stack([nuc, golgi], axis=3)
    names = ("weight_uniform", "weight_sqrt_inv", "weight_inv_freq", "weight_manual")[:arms]
    for cell in states:
        counts[cell] = np.nan
    cells = tuple(
        tuple(
            RunCell(name, s, states.get((a, s), "finished"), "training diverged" if (a, s) in states else "")
            for s in range(seeds)
        )
        for a, name in enumerate(names)
    )
    crop_names = tuple(f"jrc_{g % 3}/crop{g}" for g in range(crops))
    return CountTable(
        names,
        "weight_uniform",
        tuple(range(seeds)),
        crop_names,
        ("nuc", "golgi_mem"),
        counts,
        cells,
        copies={"weight_effective_num": "weight_uniform"},
        tiles_hash="3fa9",
    )


def printed(table: CountTable) -> str:
    return "\n".join(verdict_lines(judge(table)))


def test_every_part_of_the_science_note_is_printed() -> None:
    verdict = judge(make_table())
    text = "\n".join(verdict_lines(verdict))
    for part in (
        "Question   which weighting gives the best Dice?  baseline: weight_uniform",
        "margin that matters to you: 0.010",
        "12 validation crops (effective 12.0), 3 data sets, fixed list 3fa9",
        "1 class scored, 1 not scorable: golgi_mem (positives in 2)",
        "3 arms x 4 seeds = 12 trainings, 12 finished",
        "moves the score by ±0.00",
        f"Differences below {verdict.visible_difference:.3f} cannot be seen",
        "95% range (all together)",
        "better, by at least the margin",
        "Cannot be told apart from the best: weight_sqrt_inv (1 of 3).",
        "P(weight_sqrt_inv beats weight_uniform in one fresh run): 1.00",
        "Use weight_sqrt_inv:",
        "Holds for: new crops like these, this split, this model and schedule.",
        "weight_effective_num has the weights of weight_uniform: not trained",
        "Exploratory, not corrected",
    ):
        assert part in text, part
    best = verdict.arm("weight_sqrt_inv")
    row = next(line for line in text.splitlines() if line.startswith("weight_sqrt_inv"))
    assert best.comparison is not None
    for figure in (best.score, best.iou, best.crop_dice):
        assert f"{figure:.3f}" in row
    assert f"[{best.comparison.low:+.3f}, {best.comparison.high:+.3f}]" in row


def test_rows_follow_the_score_and_columns_stand_below_their_titles() -> None:
    lines = printed(make_table()).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("arm "))
    head, rows = lines[start], lines[start + 1 : start + 4]
    assert rows[0].startswith("weight_sqrt_inv")
    scores = [float(row[head.index("Dice") :].split()[0]) for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_undecided_and_keep_the_baseline_are_answers() -> None:
    verdict = judge(make_table((0.0, 0.001, 0.0), noise=0.02))
    text = "\n".join(verdict_lines(verdict))
    assert "undecided" in text
    assert verdict_sentence(verdict).startswith("Keep weight_uniform: no evidence that weighting helps.")
    assert "could not have been seen" in verdict_sentence(verdict)
    assert "seeds each" in text


def test_where_crops_set_the_limit_no_number_of_seeds_is_promised() -> None:
    table = make_table((0.0, 0.0, 0.0), noise=0.001)
    rng = np.random.default_rng(1)
    counts = table.counts.copy()
    shift = np.rint(rng.normal(0, 8000, (3, 1, 12)))
    counts[..., 0, 0] += shift
    counts[..., 0, 1] -= shift
    counts[..., 0, 2] -= shift
    assert "takes more of them" in printed(replace(table, counts=counts))


def test_equal_within_the_margin_is_said() -> None:
    sentence = verdict_sentence(judge(make_table((0.0, 0.0, -0.05), noise=0.0005)))
    assert sentence.startswith("Keep weight_uniform")
    assert "every other arm is worse, or the same within 0.01" in sentence


def test_fewer_than_three_seeds_show_scores_and_claim_nothing() -> None:
    text = printed(make_table(seeds=2))
    assert "No verdict: needs 3 seeds" in text
    assert "no verdict" in text
    assert "0.6" in text
    for claim in ("better", "worse", "undecided", "Cannot be told apart", "Holds for", "[+", "[-"):
        assert claim not in text
    assert "Per class: Dice, mean over the finished runs." in text
    assert "Exploratory" not in text
    single = printed(make_table(seeds=1))
    assert "3 arms x 1 seed = 3 trainings, 3 finished" in single
    assert "unknown: it needs two seeds" in single


def test_lost_runs_are_listed_with_what_becomes_of_them() -> None:
    text = printed(make_table(lost={(1, 0): "diverged", (2, 1): "failed", (2, 3): "unfinished"}))
    assert "12 trainings, 9 finished, 1 diverged, 1 failed, 1 unfinished" in text
    assert "weight_sqrt_inv, seed 0: diverged (training diverged); counts as a result" in text
    assert "weight_inv_freq, seed 1: failed (training diverged); run the same seed again" in text
    assert "* weight_sqrt_inv: unstable 1 of 4; not eligible." in text


def test_an_unstable_arm_is_eligible_if_that_was_asked_for() -> None:
    table = make_table((0.0, 0.05), lost={(1, 0): "diverged"})
    verdict = judge(table, Settings(allow_unstable=True))
    assert verdict.recommendation.arm == "weight_sqrt_inv"
    assert "* weight_sqrt_inv: unstable 1 of 4; eligible all the same, as was asked." in "\n".join(
        verdict_lines(verdict)
    )


@pytest.mark.parametrize(("sets", "scope"), [(4, "these validation data sets only"), (6, "new data sets like these")])
def test_a_verdict_about_data_sets_speaks_of_no_crops(sets: int, scope: str) -> None:
    table = make_table()
    table = replace(table, crops=tuple(f"jrc_{g % sets}/crop{g}" for g in range(12))).by_data_set()
    text = "\n".join(verdict_lines(judge(table, Settings(unit="data_set"))))
    assert f"Holds for: {scope}" in text
    assert "a class needs positives in 3 data sets" in text
    assert "Dice by data set" in text
    assert "crop" not in text
    assert "crop" not in text.replace("Dice by crop", "")


def test_few_crops_and_controls_are_said() -> None:
    text = printed(replace(make_table(crops=4), controls={"weight_inv_freq": "weight_uniform"}))
    assert "Holds for: these validation crops only (effective 4.0, fewer than 5" in text
    assert "* weight_inv_freq: a control" in text
    assert "A ' marks a class" in text


@pytest.mark.parametrize("seeds", [1, 4])
def test_json_holds_the_same_and_no_nan(seeds: int) -> None:
    verdict = judge(make_table(seeds=seeds, lost={(0, 0): "failed"} if seeds > 1 else None))
    document = json.loads(json.dumps(verdict_as_json(verdict), allow_nan=False))
    assert document["sentence"] == verdict_sentence(verdict)
    assert [arm["name"] for arm in document["arms"]] == [arm.name for arm in verdict.arms]
    assert document["recommendation"]["arm"] == verdict.recommendation.arm
    assert document["settings"]["margin"] == 0.01
    if seeds > 1:
        best = verdict.arm("weight_sqrt_inv").comparison
        assert best is not None
        entry = next(arm for arm in document["arms"] if arm["name"] == "weight_sqrt_inv")
        assert entry["comparison"]["low"] == best.low
    else:
        assert document["visible_difference"] is None


def test_the_spread_says_that_it_is_not_the_one_of_the_results() -> None:
    explained = "sd: over seeds, without what all arms of a seed share; the ± of `counterpoise results` is with it."
    assert explained in printed(make_table()).splitlines()
    assert "sd: over seeds" not in printed(make_table(seeds=1))


def test_columns_of_thresholds_say_what_they_are() -> None:
    tuned = TunedArm("weight_uniform", 0.5, 0.625, (("nuc", 0.25), ("golgi_mem", 0.75)))
    lines = verdict_lines(replace(judge(make_table()), tuned=(tuned,)))
    start = next(n for n, line in enumerate(lines) if line.startswith("Thresholds tuned on one half of the crops"))
    assert lines[start + 1 : start + 4] == (
        "arm             Dice at 1/2  Dice tuned  nuc above  golgi_mem above",
        "weight_uniform  0.500        0.625       0.25       0.75",
        "The last columns: the probability above which a voxel counts as the class, mean over runs.",
    )
    by_set = verdict_lines(replace(judge(make_table(), Settings(unit="data_set")), tuned=(tuned,)))
    assert any(line.startswith("Thresholds tuned on one half of the data sets, scored on the other") for line in by_set)


def test_hypotheses_that_were_not_tested_have_no_chance_to_be_wrong() -> None:
    entry = HypothesisVerdict("a > b", "", "not tested", "no arm a in this run", np.nan, np.nan, np.nan)
    assert "Hypotheses, 0 of 1 tested." in verdict_lines(replace(judge(make_table()), hypotheses=(entry,)))
