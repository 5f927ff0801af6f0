"""One score called Dice: whatever the counts, every surface says the same of an arm."""

from __future__ import annotations

import csv
import io
import json
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.cli.results import print_results
from counterpoise.cli.screen import plain_console
from counterpoise.files.atomic import append_line
from counterpoise.report.blocks import verdict_lines
from counterpoise.report.compare import estimate
from counterpoise.report.formats import results_as_json, results_as_trials
from counterpoise.report.page import Judged, build_page
from counterpoise.report.paper import as_csv, as_markdown
from counterpoise.report.verdict_file import verdict_document
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.npz import ValidationCounts
from counterpoise.runs.read import read_run
from counterpoise.runs.records import EpochRecord, TrialStatus
from counterpoise.statistics.results import summarise_run
from counterpoise.statistics.run_verdict import judge_run

ARMS, CLASSES, SEEDS, CROPS, EPOCHS = ("uniform", "sqrt"), ("nuc", "rare", "pm"), (0, 1, 2), 4, 2


def write_run(path: Path, counts: np.ndarray) -> RunFolder:
    """Write a run with these counts: arm, seed, epoch, crop, class, and TP, FP, FN."""
    run = RunFolder(path)
    arms = tuple(ArmRecord(name, name, dict.fromkeys(CLASSES, 1.0), (), None, runs=True) for name in ARMS)
    path.mkdir()
    ArmsRecord(CLASSES, ARMS[0], SEEDS, arms).write(run.weights)
    for a, arm in enumerate(ARMS):
        for s, seed in enumerate(SEEDS):
            folder = run.trial(arm, seed)
            folder.path.mkdir(parents=True)
            for e, pooled in enumerate(counts[a, s].sum(1), start=1):
                dice = {c: dice_of(*pooled[i]) for i, c in enumerate(CLASSES)}
                there = [value for value in dice.values() if value is not None]
                shown = {c: pooled[i].tolist() for i, c in enumerate(CLASSES)}
                mean = sum(there) / len(there) if there else None
                append_line(folder.metrics, EpochRecord(e, 1.0, 1.0, mean, dice, shown, 1e-4, 0, 0, 1.0, 1.0).__dict__)
            ValidationCounts(tuple(f"d/{g}" for g in range(CROPS)), CLASSES, counts[a, s]).write(folder.counts)
            TrialStatus("finished", EPOCHS, EPOCHS).write(folder.status)
    return run


def dice_of(true_pos: int, false_pos: int, false_neg: int) -> float | None:
    size = 2 * int(true_pos) + int(false_pos) + int(false_neg)
    return float(Fraction(2 * int(true_pos), size)) if size else None


@st.composite
def tables(draw: st.DrawFn) -> np.ndarray:
    """Draw counts whose annotation is the same in all runs; "rare" is present in two crops only."""
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    positives = generator.integers(1, 500, (CROPS, len(CLASSES)))
    positives[2:, 1] = 0
    found = np.round(generator.random((len(ARMS), len(SEEDS), EPOCHS, CROPS, len(CLASSES))) * positives).astype(
        np.int64
    )
    found[..., 0, 0] = np.maximum(found[..., 0, 0], 1)  # no network that finds nothing at all
    return np.stack([found, generator.integers(0, 500, found.shape), positives - found], -1)


@settings(max_examples=25)
@given(counts=tables())
def test_every_surface_says_the_same(counts: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as place:
        run = read_run(write_run(Path(place) / "run", counts))
        verdict = judge_run(run)
        results, page = summarise_run(run, verdict), build_page(Judged(run, verdict))
    document, table = verdict_document(verdict), io.StringIO()
    print_results(results, to=plain_console(file=table))
    printed = {line.split()[0]: line for line in reversed(table.getvalue().splitlines()) if line.startswith(ARMS)}
    told = {line.split()[0]: line for line in reversed(verdict_lines(verdict)) if line.startswith(ARMS)}
    of_csv = {row["strategy"]: row for row in csv.DictReader(io.StringIO(as_csv(verdict))) if row["class"] == "(mean)"}
    of_json = {arm["strategy"]: arm for arm in results_as_json(results)["arms"]}
    trials = list(csv.DictReader(io.StringIO(results_as_trials(results))))
    assert results.scored == ("nuc", "pm")
    assert results.not_scored == ("rare",)
    for a, arm in enumerate(ARMS):
        last = [  # by hand, in exact fractions
            sum(Fraction(int(2 * n[0]), int(2 * n[0] + n[1] + n[2])) for n in counts[a, s, -1].sum(0)[[0, 2]]) / 2
            for s in range(len(SEEDS))
        ]
        dice, sd = float(sum(last) / len(SEEDS)), float(np.std([float(value) for value in last], ddof=1))
        (row,) = (row for row in page.rows if row.name == arm)
        (dots,) = (dots for dots in page.dots if dots.label == arm)
        (line,) = (
            line for chart in page.charts if chart.title == "Mean Dice" for line in chart.lines if line.label == arm
        )
        (written,) = (entry for entry in document["arms"] if entry["name"] == arm)
        assert row.last is not None
        exact = (
            verdict.arm(arm).score,
            written["score"],
            float(of_csv[arm]["dice"]),
            of_json[arm]["last_dice"]["mean"],
            row.last.mean,
            estimate(row.last).mean,
            dots.mean,
        )
        assert len(set(exact)) == 1, exact
        assert exact[0] == pytest.approx(dice, abs=1e-12)
        assert line.points[-1].mean == pytest.approx(dice, abs=1e-12)
        spreads = {
            verdict.arm(arm).sd_over_seeds,
            float(of_csv[arm]["dice_sd"]),
            of_json[arm]["last_dice"]["sd"],
            row.last.sd,
        }
        assert len(spreads) == 1
        assert spreads.pop() == pytest.approx(sd, abs=1e-12)
        seeds = [float(trial["last_dice"]) for trial in trials if trial["strategy"] == arm]
        assert seeds == pytest.approx([float(value) for value in last], abs=1e-12)
        assert [dot.value for dot in dots.dots] == pytest.approx(seeds, abs=0)
        shown = f"{dice:.3f} ± {sd:.3f}"
        assert shown in printed[arm]
        assert shown in told[arm]
        assert shown in as_markdown(verdict)


@settings(max_examples=10)
@given(counts=tables())
def test_the_best_epoch_is_scored_on_the_same_classes(counts: np.ndarray) -> None:
    with tempfile.TemporaryDirectory() as place:
        run = read_run(write_run(Path(place) / "run", counts))
        verdict = judge_run(run)
    for score in verdict.run_scores:
        runs = counts[ARMS.index(score.arm), SEEDS.index(score.seed)].sum(1)[:, [0, 2]]
        means = [np.mean([dice_of(*n) for n in epoch]) for epoch in runs]
        assert score.best == pytest.approx(max(means), abs=1e-12)
        assert score.best_epoch == 1 + int(np.argmax(means))


def test_what_is_not_scored_stands_apart_and_is_named(tmp_path: Path) -> None:
    counts = np.full((2, 3, EPOCHS, CROPS, 3, 3), 100)
    counts[..., 2:, 1, :] = 0
    run = read_run(write_run(tmp_path / "run", counts))
    verdict = judge_run(run)
    table = io.StringIO()
    print_results(summarise_run(run, verdict), to=plain_console(file=table))
    first, second = table.getvalue().split("Not scored, positives in fewer than 3 validation crops: rare (2)\n")
    assert "rare" not in first
    assert second.splitlines()[0].split() == ["strategy", "rare"]
    assert [panel.name for panel in build_page(Judged(run, verdict)).panels] == ["nuc", "pm", "rare (not scored)"]
    assert json.loads(json.dumps(results_as_json(summarise_run(run, verdict))))["not_scored"] == ["rare"]
