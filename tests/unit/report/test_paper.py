"""The tables of a paper: figures from the verdict, spreads worked out by hand, captions that say what they rest on."""

from __future__ import annotations

import csv
import io
import re
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterpoise.report.paper import arm_cells, arms_caption, as_csv, as_markdown, class_cells, classes_caption
from counterpoise.runs.looks import LookRecord
from counterpoise.statistics.arm_verdict import ClassDifference
from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.inference import Label
from counterpoise.statistics.looks import LookHistory
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import Settings, Unit, Verdict

from .conftest import change_arm, change_class, rename
from .verdicts import make_table

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
        tuple(RunCell(arm, s, states.get((a, s), RunState.FINISHED), "lost") for s in range(seeds))
        for a, arm in enumerate(ARMS)
    )
    names = tuple(f"set{g % 2}/crop{g}" for g in range(crops))
    return CountTable(ARMS, ARMS[0], tuple(range(seeds)), names, ("nuc", "pm"), counts, cells)


def verdict_of(table: CountTable, asked: Settings | None = None, *, tiles: int | None = None) -> Verdict:
    return replace(judge(table, asked), tile_count=tiles)


def entry_of(verdict: Verdict, arm: str, name: str) -> ClassDifference:
    entry = verdict.arm(arm).of_class(name)
    assert entry is not None
    return entry


def rows_of(verdict: Verdict) -> dict[tuple[str, str], dict[str, str]]:
    """Return the lines of the csv by arm and class."""
    return {(row["strategy"], row["class"]): row for row in csv.DictReader(io.StringIO(as_csv(verdict)))}


def test_scores_and_spreads_are_those_of_the_runs() -> None:
    verdict = verdict_of(make_counts())
    assert [arm.name for arm in verdict.arms] == ["weight_inv_freq", "weight_sqrt_inv", "weight_uniform"]
    for arm in verdict.arms:
        a, row = ARMS.index(arm.name), rows_of(verdict)[arm.name, "(mean)"]
        means = [(n + p) / 200 for n, p in zip(NUC[a], PM[a], strict=True)]
        assert float(row["dice"]) == pytest.approx(statistics.fmean(means))
        assert float(row["dice_sd"]) == pytest.approx(statistics.stdev(means))
        ious = [
            (d / (2 - d) + e / (2 - e)) / 2 for d, e in zip(np.array(NUC[a]) / 100, np.array(PM[a]) / 100, strict=True)
        ]
        assert float(row["iou"]) == pytest.approx(statistics.fmean(ious))
        assert (row["seeds"], row["planned_seeds"]) == ("3", "3")
        assert arm_cells(arm, verdict)[2] == f"{statistics.fmean(means):.3f} ± {statistics.stdev(means):.3f}"


def test_classes_come_in_their_order_with_the_arms_in_theirs() -> None:
    verdict = verdict_of(make_counts())
    order = [arm.name for arm in verdict.arms]
    keys = [key for key in rows_of(verdict) if key[1] != "(mean)"]
    assert keys == [(arm, c) for c in ("nuc", "pm") for arm in order]
    pm = entry_of(verdict, "weight_inv_freq", "pm")
    assert pm.dice == pytest.approx(0.41)
    assert pm.sd == pytest.approx(statistics.stdev([0.40, 0.38, 0.45]))
    assert pm.iou == pytest.approx(statistics.fmean([d / (2 - d) for d in (0.40, 0.38, 0.45)]))
    assert pm.difference == pytest.approx(0.20)  # (20 + 16 + 24) / 300
    row = rows_of(verdict)["weight_inv_freq", "pm"]
    assert float(row["low"]) < 0.20 < float(row["high"])
    assert row["in_best_set"] == ""


def test_differences_intervals_and_words_are_the_verdicts() -> None:
    verdict = verdict_of(make_counts())
    for arm in verdict.arms:
        row, found = rows_of(verdict)[arm.name, "(mean)"], arm.comparison
        assert row["in_best_set"] == ("yes" if arm.is_in_best_set else "no")
        if found is None:
            assert (arm.name, row["verdict"], row["difference"]) == ("weight_uniform", Label.BASELINE.value, "")
        else:
            assert [float(row[key]) for key in ("difference", "low", "high")] == [
                found.difference,
                found.low,
                found.high,
            ]
            assert row["verdict"] == found.label.value
    assert float(rows_of(verdict)["weight_inv_freq", "(mean)"]["difference"]) == pytest.approx(0.1)


def test_two_seeds_have_differences_without_intervals_and_the_caption_says_why() -> None:
    verdict = verdict_of(make_counts(seeds=2))
    sqrt = rows_of(verdict)["weight_sqrt_inv", "(mean)"]
    assert float(sqrt["difference"]) == pytest.approx(((10 - 2) + (11 - 1)) / 2 / 200)
    for row in rows_of(verdict).values():
        assert [row[key] for key in ("low", "high", "interval", "confidence", "in_best_set")] == [""] * 5
    for caption in (arms_caption(verdict), classes_caption(verdict)):
        assert "needs 3 seeds; the baseline and another arm have 2 finished in common" in caption
    assert arm_cells(verdict.arm("weight_sqrt_inv"), verdict)[3:] == ["+0.045", "–", "–", "0.332", "–"]


def test_without_a_verdict_differences_are_over_common_seeds_only() -> None:
    # weight_uniform lost seed 0, weight_sqrt_inv seed 1: one seed in common, (73 + 21 - 64 - 21) / 200.
    lost = dict.fromkeys([(0, 0), (1, 1), (2, 0)], RunState.FAILED)
    verdict = verdict_of(make_counts(lost=lost))
    assert not verdict.has_verdict
    row = rows_of(verdict)["weight_sqrt_inv", "(mean)"]
    assert float(row["difference"]) == pytest.approx(0.045)
    assert (row["seeds"], row["planned_seeds"]) == ("2", "3")
    assert arm_cells(verdict.arm("weight_sqrt_inv"), verdict)[1] == "2/3"
    # By class: 73 - 64 voxels of nuc and 21 - 21 of pm in 100; the baseline is no difference to itself.
    for name, difference in (("nuc", 0.09), ("pm", 0.0)):
        row = rows_of(verdict)["weight_sqrt_inv", name]
        assert float(row["difference"]) == pytest.approx(difference)
        assert (row["low"], row["high"], row["interval"], row["verdict"]) == ("", "", "", "")
        assert class_cells(verdict.arm("weight_sqrt_inv"), entry_of(verdict, "weight_sqrt_inv", name))[3:] == [
            "+0.090" if difference else "0.000",
            "–",
        ]
        row = rows_of(verdict)["weight_uniform", name]
        assert (row["difference"], row["verdict"]) == ("", "baseline")


def test_one_seed_has_no_spread_and_no_run_no_score() -> None:
    one = verdict_of(make_counts(seeds=1))
    assert {row["dice_sd"] for row in rows_of(one).values()} == {""}
    assert float(rows_of(one)["weight_inv_freq", "(mean)"]["dice"]) == pytest.approx((61 + 40) / 200)
    none = verdict_of(make_counts(lost=dict.fromkeys(np.ndindex(3, 3), RunState.FAILED)))
    assert {(row["class"], row["dice"], row["seeds"]) for row in rows_of(none).values()} == {("(mean)", "", "0")}
    assert "no run has finished" in arms_caption(none)


def test_captions_say_what_the_figures_rest_on() -> None:
    caption = arms_caption(verdict_of(make_counts(), tiles=123))
    for part in (
        "3 weightings over 3 seeds",
        "a fixed list of 123 tiles in 6 validation crops (effective number 6.0)",
        "mean over nuc, pm",
        "difference to weight_uniform",
        "95 % interval that holds for all 2 comparisons together",
        "jackknife over validation crops",
        "margin is 0.01",
        "Holds for new crops of these 2 data sets, this split, this model and schedule.",
    ):
        assert part in caption
    assert "Exploratory: not corrected" in classes_caption(verdict_of(make_counts()))
    assert "tiles" not in arms_caption(verdict_of(make_counts()))


def test_captions_follow_the_settings() -> None:
    asked = Settings(alpha=0.1, margin=0.02, unit=Unit.DATA_SET, thresholds="tuned", select_crops=7)
    table = make_counts(crops=12).by_data_set()
    looked = LookHistory((LookRecord(dict.fromkeys(ARMS, (0, 1)), 3),))
    caption = arms_caption(judge(table, replace(asked, min_crops=2), looked))
    for part in ("90 % interval", "2 comparisons at 2 looks", "margin is 0.02", "2 validation data sets"):
        assert part in caption
    assert "above thresholds tuned on 7 other crops" in caption
    assert "Holds for new data sets like these 2, this split" in caption
    assert "2 comparisons together" in arms_caption(judge(table, replace(asked, min_crops=2)))


def test_unscored_classes_lost_runs_and_copies_are_named() -> None:
    table = replace(
        make_counts(rare_pm=True, lost={(2, 1): RunState.DIVERGED}),
        copies={"weight_effective_num": "weight_uniform"},
        controls={"weight_sqrt_inv": "weight_uniform"},
    )
    verdict = verdict_of(table)
    assert {name for _, name in rows_of(verdict)} == {"(mean)", "nuc"}
    assert "Not scored: pm (positives in 2 crops)." in classes_caption(verdict)
    caption = arms_caption(verdict)
    assert "weight_inv_freq: unstable, 1 of 3 trainings diverged; not eligible" in caption
    assert "weight_sqrt_inv: a control: weight_uniform again with other seeds, so its difference is noise" in caption
    control = judge(replace(make_table(), controls={"weight_inv_freq": "weight_uniform"}))
    assert "holds for all 1 comparison together" in arms_caption(control)
    assert "weight_effective_num has the weights of weight_uniform: not trained, excluded." in caption


def test_few_crops_are_said_once_and_their_intervals_are_made_like_all_others() -> None:
    few, many = verdict_of(make_counts(crops=4)), verdict_of(make_counts(crops=6))
    assert arms_caption(few).count("It rests on few crops (effective number 4.0)") == 1
    assert "few crops" not in arms_caption(many)
    for verdict in (few, many):
        kinds = [row["interval"] for (_, name), row in rows_of(verdict).items() if name == "nuc"]
        assert kinds == ["exploratory"] * 2 + [""]


def test_csv_has_every_row_of_both_tables_unrounded(verdict: Verdict) -> None:
    exact = change_arm(verdict, "sqrt", score=0.56211, iou=0.4312345)
    exact = change_arm(rename(exact, {"pm": "a,b"}), "uniform", sd_over_seeds=None)
    rows = rows_of(replace(exact, settings=Settings(alpha=0.1), looks=replace(exact.looks, error_rate=0.1)))
    assert list(rows) == [
        *((arm, "(mean)") for arm in ("sqrt", "uniform", "inverse")),
        *((arm, name) for name in ("nuc", "a,b") for arm in ("sqrt", "uniform", "inverse")),
    ]
    assert rows["sqrt", "(mean)"] == {
        "strategy": "sqrt",
        "class": "(mean)",
        "seeds": "5",
        "planned_seeds": "5",
        "dice": "0.56211",
        "dice_sd": "0.012",
        "iou": "0.4312345",
        "difference": "0.02",
        "low": "0.005",
        "high": "0.035",
        "interval": "all arms together",
        "confidence": "0.9",
        "verdict": "better",
        "in_best_set": "yes",
    }
    empty = ("dice_sd", "difference", "low", "high", "interval", "confidence")
    assert [rows["uniform", "(mean)"][key] for key in empty] == [""] * 6
    assert (rows["uniform", "(mean)"]["verdict"], rows["uniform", "(mean)"]["in_best_set"]) == ("baseline", "no")
    assert (rows["sqrt", "nuc"]["interval"], rows["sqrt", "a,b"]["interval"]) == ("exploratory", "exploratory")


def test_markdown_can_be_read_as_it_is(verdict: Verdict) -> None:
    lines = as_markdown(change_class(verdict, "inverse", "pm", sd=None)).splitlines()
    assert lines[2:7] == [
        "| arm     |   n |          Dice |      Δ |    95 % interval | verdict   |   IoU | best |",
        "| ------- | --: | ------------: | -----: | ---------------: | --------- | ----: | ---- |",
        "| sqrt    |   5 | 0.620 ± 0.012 | +0.020 | [+0.005, +0.035] | better    | 0.520 | yes  |",
        "| uniform |   5 | 0.600 ± 0.012 |      – |                – | baseline  | 0.500 | no   |",
        "| inverse | 4/5 | 0.596 ± 0.012 | -0.004 | [-0.020, +0.012] | undecided | 0.496 | no   |",
    ]
    assert lines[-3] == "| pm    | sqrt    | 0.452 ± 0.010 | +0.052 | [+0.030, +0.074] |"
    assert lines[-1] == "| pm    | inverse |         0.394 | -0.006 | [-0.050, +0.038] |"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arm=st.text(min_size=1), class_name=st.text(min_size=1))
def test_markdown_rows_have_their_cells_whatever_names_are_made_of(verdict: Verdict, arm: str, class_name: str) -> None:
    lines = as_markdown(rename(verdict, {"sqrt": arm, "pm": class_name})).split("\n")
    rows = [line for line in lines if line.startswith("|")]
    cells = [len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) - 1 for row in rows]
    assert cells == [8] * 5 + [5] * 8
    assert len(lines) == 2 * 2 + 5 + 8 + 1 + 1  # caption, empty line, table, twice; one between, one at the end


def test_markdown_escapes_what_would_be_markup(verdict: Verdict) -> None:
    assert r"a\|b\*c \_d\_ e_f" in as_markdown(rename(verdict, {"sqrt": "a|b*c _d_ e_f"}))
