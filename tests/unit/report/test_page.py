"""The numbers of the page are those of the trials, computed here a second time by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from counterpoise.report.page import Judged, Page, arm_styles, build_page
from counterpoise.report.svg import ArmStyle
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.read import read_run
from counterpoise.statistics.results import Results, summarise_run
from counterpoise.statistics.run_verdict import judge_run

Make = Callable[..., RunFolder]

SCORES = {
    "uniform": {
        1: [{"nuc": 0.30, "pm": 0.10}, {"nuc": 0.80, "pm": 0.40}],
        2: [{"nuc": 0.90, "pm": 0.50}, {"nuc": 0.70, "pm": 0.30}],
    },
    "sqrt": {
        1: [{"nuc": 0.10, "pm": 0.10}, {"nuc": 0.80, "pm": 0.50}],
        2: [{"nuc": 0.20, "pm": 0.10}, {"nuc": 0.90, "pm": 0.90}],
    },
}


def results_of(folder: RunFolder) -> Results:
    run = read_run(folder)
    return summarise_run(run, judge_run(run))


def page_of(folder: RunFolder) -> Page:
    run = read_run(folder)
    return build_page(Judged(run, judge_run(run)))


def test_the_results_table_holds_what_the_epochs_say(make_scored: Make) -> None:
    rows = {row.name: row for row in page_of(make_scored(SCORES)).rows}
    uniform, sqrt = rows["uniform"], rows["sqrt"]
    # Last epoch: uniform 0.60, 0.50; sqrt 0.65, 0.90.
    assert uniform.last is not None
    assert sqrt.last is not None
    assert (uniform.last.mean, sqrt.last.mean) == pytest.approx((0.55, 0.775))
    assert uniform.last.sd == pytest.approx(0.1 / 2**0.5)
    # Seed by seed: 0.05 and 0.40.
    assert sqrt.difference is not None
    assert (sqrt.difference.mean, sqrt.difference.sd) == pytest.approx((0.225, 0.35 / 2**0.5))
    assert uniform.difference is None
    # Best epochs: uniform seed 1 its second (0.60), seed 2 its first (0.70).
    assert uniform.best is not None
    assert uniform.best_epoch is not None
    assert (uniform.best.mean, uniform.best_epoch.mean) == pytest.approx((0.65, 1.5))
    nuc, pm = sqrt.by_class
    assert nuc is not None
    assert pm is not None
    assert (nuc.mean, pm.mean, pm.n) == pytest.approx((0.85, 0.7, 2))


def test_rows_fall_by_last_dice(make_scored: Make) -> None:
    assert [row.name for row in page_of(make_scored(SCORES)).rows] == ["sqrt", "uniform"]


def test_a_copy_has_a_remark_and_no_scores(make_scored: Make) -> None:
    page = page_of(make_scored(SCORES, same_as={"effective": "uniform"}))
    (copy,) = (row for row in page.rows if row.name == "effective")
    assert copy.remark == "same weights as uniform after scaling; not trained again"
    assert (copy.last, copy.difference, copy.best, copy.by_class) == (None, None, None, (None, None))
    assert "effective" not in {entry.name for entry in page.legend}
    assert "effective" not in {row.label for row in page.dots}


def test_dots_are_the_seeds_and_keep_their_place(make_scored: Make) -> None:
    (row,) = (row for row in page_of(make_scored(SCORES)).dots if row.label == "uniform")
    assert [(dot.seed, dot.slot) for dot in row.dots] == [(1, 0), (2, 1)]
    assert [dot.value for dot in row.dots] == pytest.approx([0.6, 0.5])


def test_curves_are_the_mean_with_lowest_and_highest_seed(make_scored: Make) -> None:
    charts = {chart.title: chart for chart in page_of(make_scored(SCORES)).charts}
    (line,) = (line for line in charts["Mean Dice"].lines if line.label == "uniform")
    assert [p.epoch for p in line.points] == [1, 2]
    first, second = line.points
    assert (first.mean, first.low, first.high) == pytest.approx((0.45, 0.2, 0.7))
    assert (second.mean, second.low, second.high) == pytest.approx((0.55, 0.5, 0.6))


def test_the_second_half_of_a_long_run_has_its_own_chart(make: Make) -> None:
    charts = {chart.title: chart for chart in page_of(make(epochs=12)).charts}
    assert {p.epoch for line in charts["Mean Dice, second half"].lines for p in line.points} == set(range(7, 13))


def test_failed_trials_count_only_where_no_trial_finished(make: Make) -> None:
    run = make(failed=(("weight_log_inv", 2), ("weight_manual", 1), ("weight_manual", 2)), epochs=12)
    lines = {line.label: line for line in page_of(run).charts[0].lines}
    assert len(lines["weight_log_inv"].points) == 12
    assert all(p.low == p.high for p in lines["weight_log_inv"].points)
    assert len(lines["weight_manual (not finished)"].points) == 4


def test_the_baseline_looks_the_same_wherever_it_stands(make: Make) -> None:
    run = make(arms=("z", "a"), same_as={}, failed=())
    assert arm_styles(results_of(run)) == {"z": ArmStyle(0, 0, 0), "a": ArmStyle(1, 0, 1)}


def test_frequencies_come_from_the_document(make: Make) -> None:
    balance = page_of(make(classes=("nuc", "pm"))).balance
    nuc = balance.counts[0]
    assert (nuc.train.positives, nuc.train.known, nuc.train.crops) == (4_800_000, 40_000_000, 9)
    assert nuc.train.frequency == pytest.approx(0.12)
    assert (nuc.validate.positives, nuc.validate.crops) == (3_840_000, 3)
    assert (balance.crops_train, balance.crops_validate) == (9, 3)


def test_weight_bars_are_logarithmic_about_one(make: Make) -> None:
    balance = page_of(make()).balance
    assert balance.widest == 5.0
    cells = {c.weight: c for column in balance.columns for c in column.cells}
    assert (cells[5.0].bar_start, cells[5.0].bar_width) == pytest.approx((50, 50))
    assert (cells[1.0].bar_start, cells[1.0].bar_width) == pytest.approx((50, 0))
    half = cells[0.5]
    assert half.is_clamped
    assert half.bar_start + half.bar_width == pytest.approx(50)
    assert half.bar_width == pytest.approx(50 * 0.430677, rel=1e-5)  # log 2 / log 5
