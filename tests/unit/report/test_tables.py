"""The tables of a paper: figures from the verdict, spreads worked out by hand, captions that say what they rest on."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace

import numpy as np
import pytest

from counterpoise.errors import RunFolderError
from counterpoise.report.tables import ResultTables, make_tables, read_tables
from counterpoise.runs.layout import RunFolder
from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import Settings

ARMS = ("weight_uniform", "weight_sqrt_inv", "weight_inv_freq")
# Hits of 100 positives and 100 predicted voxels, so Dice is hits / 100: arms x seeds.
NUC = ((60, 62, 64), (70, 73, 73), (61, 60, 65))
PM = ((20, 22, 21), (18, 21, 21), (40, 38, 45))


def counts_of(hits: float) -> list[float]:
    return [hits, 100 - hits, 100 - hits]


def make_counts(
    *, seeds: int = 3, crops: int = 6, rare_pm: bool = False, lost: dict[tuple[int, int], RunState] | None = None
) -> CountTable:
    """Make crops that differ by two voxels up or down, so that pooled Dice is that of the tables above."""
    states = lost or {}
    shift = np.resize([2.0, -2.0], crops)
    counts = np.array(
        [
            [
                [
                    [counts_of(NUC[a][s] + d), counts_of(PM[a][s] - d) if g < 2 or not rare_pm else [0.0, 0.0, 0.0]]
                    for g, d in enumerate(shift)
                ]
                for s in range(seeds)
            ]
            for a in range(3)
        ]
    )
    for cell in states:
        counts[cell] = np.nan
    cells = tuple(
        tuple(RunCell(arm, s, states.get((a, s), "finished"), "lost") for s in range(seeds))
        for a, arm in enumerate(ARMS)
    )
    names = tuple(f"set{g % 2}/crop{g}" for g in range(crops))
    return CountTable(ARMS, ARMS[0], tuple(range(seeds)), names, ("nuc", "pm"), counts, cells)


def tables_of(table: CountTable, settings: Settings | None = None, *, tiles: int | None = None) -> ResultTables:
    return make_tables(table, judge(table, settings), tiles=tiles)


def test_scores_and_spreads_are_those_of_the_runs() -> None:
    tables = tables_of(make_counts())
    assert [row.arm for row in tables.arms] == ["weight_inv_freq", "weight_sqrt_inv", "weight_uniform"]
    for row in tables.arms:
        a = ARMS.index(row.arm)
        means = [(n + p) / 200 for n, p in zip(NUC[a], PM[a], strict=True)]
        assert row.dice == pytest.approx(statistics.fmean(means))
        assert row.sd == pytest.approx(statistics.stdev(means))
        ious = [
            (d / (2 - d) + e / (2 - e)) / 2 for d, e in zip(np.array(NUC[a]) / 100, np.array(PM[a]) / 100, strict=True)
        ]
        assert row.iou == pytest.approx(statistics.fmean(ious))
        assert (row.seeds, row.planned) == (3, 3)


def test_classes_come_in_their_order_with_the_arms_in_theirs() -> None:
    tables = tables_of(make_counts())
    order = [row.arm for row in tables.arms]
    assert [(row.class_name, row.arm) for row in tables.classes] == [(c, arm) for c in ("nuc", "pm") for arm in order]
    pm = next(row for row in tables.classes if (row.class_name, row.arm) == ("pm", "weight_inv_freq"))
    assert pm.dice == pytest.approx(0.41)
    assert pm.sd == pytest.approx(statistics.stdev([0.40, 0.38, 0.45]))
    assert pm.iou == pytest.approx(statistics.fmean([d / (2 - d) for d in (0.40, 0.38, 0.45)]))
    assert pm.difference == pytest.approx(0.20)  # (20 + 16 + 24) / 300
    assert pm.low < 0.20 < pm.high
    assert pm.in_best_set is None


def test_differences_intervals_and_words_are_the_verdicts() -> None:
    table = make_counts()
    verdict, tables = judge(table), tables_of(table)
    for row in tables.arms:
        found = verdict.arm(row.arm)
        assert row.in_best_set == found.is_in_best_set
        if found.comparison is None:
            assert (row.arm, row.label) == ("weight_uniform", "baseline")
            assert math.isnan(row.difference)
        else:
            comparison = found.comparison
            assert (row.difference, row.low, row.high) == (comparison.difference, comparison.low, comparison.high)
            assert row.label == comparison.label
    assert next(row for row in tables.arms if row.arm == "weight_inv_freq").difference == pytest.approx(0.1)


def test_two_seeds_have_differences_without_intervals_and_the_caption_says_why() -> None:
    tables = tables_of(make_counts(seeds=2))
    by_arm = {row.arm: row for row in tables.arms}
    assert by_arm["weight_sqrt_inv"].difference == pytest.approx(((10 - 2) + (11 - 1)) / 2 / 200)
    for row in (*tables.arms, *tables.classes):
        assert math.isnan(row.low)
        assert math.isnan(row.high)
        assert row.in_best_set is None
    for caption in (tables.arms_caption, tables.classes_caption):
        assert "needs 3 seeds; the baseline and another arm have 2 finished in common" in caption
    assert tables.no_verdict.startswith("needs 3 seeds")


def test_without_a_verdict_differences_are_over_common_seeds_only() -> None:
    # weight_uniform lost seed 0, weight_sqrt_inv seed 1: one seed in common, (73 + 21 - 64 - 21) / 200.
    tables = tables_of(make_counts(lost={(0, 0): "failed", (1, 1): "failed", (2, 0): "failed"}))
    assert tables.no_verdict
    by_arm = {row.arm: row for row in tables.arms}
    assert by_arm["weight_sqrt_inv"].difference == pytest.approx(0.045)
    assert (by_arm["weight_sqrt_inv"].seeds, by_arm["weight_sqrt_inv"].planned) == (2, 3)


def test_one_seed_has_no_spread_and_no_run_no_score() -> None:
    one = tables_of(make_counts(seeds=1))
    assert all(math.isnan(row.sd) for row in one.arms)
    assert one.arms[0].dice == pytest.approx((61 + 40) / 200)
    everything: dict[tuple[int, int], RunState] = {(a, s): "failed" for a in range(3) for s in range(3)}
    none = tables_of(make_counts(lost=everything))
    assert all(math.isnan(row.dice) and row.seeds == 0 for row in none.arms)
    assert none.classes == ()
    assert "no run has finished" in none.arms_caption


def test_captions_say_what_the_figures_rest_on() -> None:
    tables = tables_of(make_counts(), tiles=123)
    for part in (
        "3 weightings over 3 seeds",
        "a fixed list of 123 tiles in 6 validation crops (effective 6.0)",
        "mean over nuc, pm",
        "difference to weight_uniform",
        "95% interval that holds for all 2 comparisons together",
        "jackknife over validation crops",
        "margin is 0.01",
        "Holds for new crops like these",
    ):
        assert part in tables.arms_caption
    assert "Exploratory: not corrected" in tables.classes_caption
    assert "tiles" not in tables_of(make_counts()).arms_caption


def test_captions_follow_the_settings() -> None:
    settings = Settings(alpha=0.1, looks=2, margin=0.02, unit="data_set", thresholds="tuned", select_crops=7)
    table = make_counts(crops=12)
    caption = tables_of(table.by_data_set(), replace(settings, min_crops=2)).arms_caption
    for part in ("90% interval", "2 comparisons at 2 looks", "margin is 0.02", "2 validation data sets"):
        assert part in caption
    assert "above thresholds tuned on 7 other crops" in caption
    assert "Holds for these validation data sets only" in caption


def test_unscored_classes_lost_runs_and_copies_are_named() -> None:
    table = replace(
        make_counts(rare_pm=True, lost={(2, 1): "diverged"}),
        copies={"weight_effective_num": "weight_uniform"},
        controls={"weight_sqrt_inv": "weight_uniform"},
    )
    tables = tables_of(table)
    assert {row.class_name for row in tables.classes} == {"nuc"}
    assert "Not scored: pm (positives in 2 crops)." in tables.classes_caption
    assert "weight_inv_freq: 1 of 3 trainings diverged." in tables.arms_caption
    assert "weight_sqrt_inv is a control with the weights of weight_uniform." in tables.arms_caption
    assert "weight_effective_num has the weights of weight_uniform and was not trained." in tables.arms_caption


def test_intervals_of_few_crops_are_marked() -> None:
    few, many = tables_of(make_counts(crops=4)), tables_of(make_counts(crops=6))
    assert [row.few_crops for row in few.classes] == [True, True, False] * 2  # the baseline comes last
    assert not any(row.few_crops for row in many.classes)
    assert "†" in few.classes_caption
    assert "†" not in many.classes_caption


def test_a_run_without_counts_says_so_and_no_run_is_refused(made_run: RunFolder) -> None:
    tables = read_tables(made_run)
    assert "no run has finished with counts" in tables.arms_caption
    assert not made_run.verdict.exists()
    with pytest.raises(RunFolderError, match="is not a run folder"):
        read_tables(RunFolder(made_run.path / "none"))
