"""What a run is asked: the unit, the margin and the thresholds of its own configuration decide what is judged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from counterpoise.errors import RunFolderError
from counterpoise.experiment.config import VerdictConfig
from counterpoise.experiment.hypothesis import Hypothesis, parse_claim
from counterpoise.files.atomic import append_line, write_json
from counterpoise.metrics.thresholds import BINS, HALF, counts_by_threshold
from counterpoise.notes import Note, NoteKind
from counterpoise.report.verdict_file import read_verdict, take_look
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.npz import ThresholdCounts, ValidationCounts
from counterpoise.runs.read import read_run
from counterpoise.runs.records import EpochRecord, TrialStatus
from counterpoise.statistics.run_verdict import judge_run
from counterpoise.statistics.spending import LookAt, spend_alpha
from counterpoise.statistics.verdict_types import Change, Obstacle, Settings, Unit, Verdict

ARMS = ("weight_uniform", "weight_inv_freq", "weight_sqrt_inv")
CROPS = tuple(f"{name}/crop{k}" for name in ("jrc_a", "jrc_b", "jrc_c", "jrc_d") for k in (1, 2, 3))


LEAK = Note(NoteKind.LEAK, "two crops overlap")
NOTES = (Note(NoteKind.DATA, "golgi is rare"), LEAK)


def number(value: float | None) -> float:
    """Return a number that must be there."""
    assert value is not None
    return value


def judged(folder: RunFolder) -> Verdict:
    return judge_run(read_run(folder))


def write_run(folder: Path, asked: VerdictConfig, *, histograms: bool = True, seeds: int = 3) -> RunFolder:
    """Write three arms whose networks say too little of arm 1: a threshold of 1/4 would be right."""
    run = RunFolder(folder / "run")
    run.path.mkdir(parents=True)
    arms = tuple(ArmRecord(name, "", {"nuc": 1.0 + k}, (), None, runs=True) for k, name in enumerate(ARMS))
    ArmsRecord(("nuc",), ARMS[0], tuple(range(seeds)), arms, NOTES, asked).write(run.weights)
    rng = np.random.default_rng(5)
    for a, arm in enumerate(ARMS):
        for seed in range(seeds):
            trial = run.trial(arm, seed)
            trial.path.mkdir(parents=True)
            counts = np.zeros((len(CROPS), 1, 2, BINS), dtype=np.int64)
            counts[:, 0, 0, 5] = rng.integers(700, 800, len(CROPS))  # absent, and hardly believed
            low = rng.integers(30, 60, len(CROPS)) if a == 1 else rng.integers(0, 20, len(CROPS))
            counts[:, 0, 1, 20], counts[:, 0, 1, 50] = low, 100 - low  # present: found at 1/4, or at 1/2 as well
            if histograms:
                ThresholdCounts(CROPS, ("nuc",), counts).write(trial.thresholds)
            ValidationCounts(CROPS, ("nuc",), counts_by_threshold(counts)[HALF][None]).write(trial.counts)
            append_line(trial.metrics, EpochRecord(1, 0.5, 0.5, 0.5, {}, {}, 1e-4, 0, 0, 1.0, 1.0).__dict__)
            TrialStatus("finished", 1, 1).write(trial.status)
    return run


def test_the_configuration_decides_the_margin_and_what_may_be_recommended(tmp_path: Path) -> None:
    run = write_run(tmp_path, VerdictConfig(margin=0.03, allow_unstable=True))
    assert judged(run).settings == Settings(margin=0.03, allow_unstable=True)


def test_of_all_notes_a_verdict_keeps_those_about_leaks_and_scores(tmp_path: Path) -> None:
    assert judged(write_run(tmp_path, VerdictConfig())).notes == (LEAK,)


def test_what_was_asked_first_is_compared_with_what_is_asked_now(tmp_path: Path) -> None:
    run = write_run(tmp_path, VerdictConfig(margin=0.03))
    plan = ArmsRecord.read(run.weights)
    assert judged(run).changes == ()
    replace(plan, first=plan.asked).write(run.weights)
    assert judged(run).changes == ()
    first = replace(plan.asked, verdict=VerdictConfig(margin=0.01))
    replace(plan, first=first).write(run.weights)
    assert judged(run).changes == (Change("verdict.margin", "0.01", "0.03"),)
    assert judged(run).has_new_margin


# Looks ----------------------------------------------------------------------------------------------------------


def lose(run: RunFolder, *seeds: int) -> None:
    for arm in ARMS:
        for seed in seeds:
            TrialStatus("waiting").write(run.trial(arm, seed).status)


def restore(run: RunFolder, *seeds: int) -> None:
    for arm in ARMS:
        for seed in seeds:
            TrialStatus("finished", 1, 1).write(run.trial(arm, seed).status)


def test_judging_writes_nothing_and_showing_records_the_look_once(tmp_path: Path) -> None:
    run = write_run(tmp_path, VerdictConfig())
    before = judged(run)
    assert not run.looks.exists()
    assert before.looks.recorded == 1, "with the one that showing it would be"
    shown = [take_look(read_run(run)) for _ in range(3)]
    assert {look.verdict for look in shown} == {before}
    assert [look.unrecorded for look in shown] == ["", "", ""]
    (record,) = read_run(run).looks.records
    assert record.runs == dict.fromkeys(ARMS, (0, 1, 2))
    assert (record.planned, record.race) == (3, None)
    assert read_verdict(run.verdict) == before


def test_a_look_at_more_seeds_pays_for_the_one_before(tmp_path: Path) -> None:
    run = write_run(tmp_path, VerdictConfig(), seeds=5)
    lose(run, 3, 4)
    early = take_look(read_run(run)).verdict
    restore(run, 3, 4)
    late = take_look(read_run(run)).verdict
    assert (early.looks.seeds, late.looks.seeds, late.looks.recorded) == ((3,), (3, 5), 2)
    # Two arms are compared with the baseline: each has half of the 5 %.
    expected = {
        3: spend_alpha((LookAt(3, 5),), 0.025).level,
        5: spend_alpha((LookAt(3, 5), LookAt(5, 5)), 0.025).level,
    }
    for verdict in (early, late):
        found = verdict.arm("weight_inv_freq").comparison
        assert found is not None
        low, high, df, se = (number(value) for value in (found.low, found.high, found.df, found.se))
        assert (high - low) / 2 == pytest.approx(stats.t.isf(expected[found.seeds] / 2, df) * se)


def test_looks_without_a_verdict_are_not_recorded(tmp_path: Path) -> None:
    run = write_run(tmp_path, VerdictConfig())
    lose(run, 2)
    assert take_look(read_run(run)).verdict.obstacle is Obstacle.FEW_SEEDS
    assert not run.looks.exists()
    restore(run, 2)
    assert take_look(read_run(run)).verdict.looks.seeds == (3,)


def test_seeds_that_are_removed_between_looks_are_named(tmp_path: Path) -> None:
    run = write_run(tmp_path, VerdictConfig(), seeds=4)
    assert not take_look(read_run(run)).verdict.is_exploratory
    lose(run, 3)
    verdict = take_look(read_run(run)).verdict
    assert verdict.looks.lost_runs == tuple(sorted((arm, 3) for arm in ARMS))
    assert verdict.is_exploratory
    restore(run, 3)
    assert not take_look(read_run(run)).verdict.is_exploratory


def test_a_record_that_was_deleted_or_edited_makes_every_claim_exploratory(tmp_path: Path) -> None:
    run = write_run(tmp_path, VerdictConfig())
    take_look(read_run(run))
    content = run.looks.read_text(encoding="utf-8")
    run.looks.write_text(content.replace('"planned": 3', '"planned": 9'), encoding="utf-8")
    assert judged(run).looks.damage == "line 1 of looks.jsonl was changed"
    assert judged(run).is_exploratory
    run.looks.unlink()
    assert judged(run).looks.damage == "looks.jsonl has 0 of the 1 looks that verdict.json counts"
    assert take_look(read_run(run)).verdict.is_exploratory
    # Looking again does not make it whole, neither at the same seeds nor at others.
    again = take_look(read_run(run)).verdict
    assert again.looks.damage == "looks.jsonl has 1 of the 2 looks that verdict.json counts"
    assert (again.looks.recorded, len(read_run(run).looks.records)) == (2, 1)


def test_the_number_of_tiles_is_that_of_the_tiles_that_are_scored(tmp_path: Path) -> None:
    for thresholds, tiles in (("half", 40), ("tuned", None)):
        run = write_run(tmp_path / thresholds, VerdictConfig.model_validate({"thresholds": thresholds}))
        assert judged(run).tile_count is None
        write_json(run.tiles, {"hash": "3fa9", "tiles": [[0, 0, 0]] * 40})
        assert (judged(run).tiles_hash, judged(run).tile_count) == ("3fa9", tiles)


def test_data_sets_as_units(tmp_path: Path) -> None:
    verdict = judged(write_run(tmp_path, VerdictConfig(unit="data_set")))
    assert verdict.crops == verdict.data_sets == 4
    assert verdict.settings.unit is Unit.DATA_SET


def test_tuned_thresholds_are_judged_on_the_other_half_of_the_crops(tmp_path: Path) -> None:
    run = write_run(tmp_path, VerdictConfig(thresholds="tuned"))
    verdict = judged(run)
    assert (verdict.crops, verdict.settings.select_crops, verdict.settings.thresholds) == (6, 6, "tuned")
    # Above 1/4 every present voxel is found and no other: tuned, every arm is perfect.
    assert [arm.dice_tuned for arm in verdict.tuned] == [1.0, 1.0, 1.0]
    assert verdict.arm("weight_inv_freq").score == 1.0


@pytest.mark.parametrize("unit", list(Unit))
def test_hypotheses_are_decided_by_the_counts_that_the_verdict_is_made_from(tmp_path: Path, unit: Unit) -> None:
    run = write_run(tmp_path, VerdictConfig(unit=unit.value))
    claim = Hypothesis(claim=parse_claim("weight_inv_freq < weight_uniform"), because="its threshold is wrong")
    replace(ArmsRecord.read(run.weights), hypotheses=(claim,)).write(run.weights)
    verdict = judged(run)
    (found,), comparison = verdict.hypotheses, verdict.arm("weight_inv_freq").comparison
    assert comparison is not None
    assert comparison.df is not None
    # The claim is tested alone; the verdict's interval is one of two that share the 5 %.
    narrower = stats.t.isf(0.025, comparison.df) / stats.t.isf(0.0125, comparison.df)
    widths = [float(entry.high or 0) - float(entry.low or 0) for entry in (found, comparison)]
    assert widths[0] == pytest.approx(widths[1] * narrower)
    assert found.difference == pytest.approx(comparison.difference)


def test_at_one_half_tuning_is_shown_next_to_the_verdict_and_changes_none_of_it(tmp_path: Path) -> None:
    run = write_run(tmp_path, VerdictConfig())
    verdict = judged(run)
    assert verdict.crops == 12
    low = verdict.arm("weight_inv_freq").score
    assert low is not None
    assert low < 0.75
    tuned = {arm.name: arm for arm in verdict.tuned}["weight_inv_freq"]
    assert tuned.dice_at_half == pytest.approx(low, abs=0.05)
    assert tuned.dice_tuned == 1.0
    assert 5 / BINS < dict(tuned.thresholds)["nuc"] < 21 / BINS
    assert verdict.settings == Settings()


def test_a_run_of_an_older_version_is_judged_at_one_half_and_cannot_be_tuned(tmp_path: Path) -> None:
    run = write_run(tmp_path, VerdictConfig(), histograms=False)
    assert judged(run).tuned == ()
    other = tmp_path / "other"
    with pytest.raises(RunFolderError, match=r"thresholds\.npz does not say") as caught:
        judged(write_run(other, VerdictConfig(thresholds="tuned"), histograms=False))
    assert caught.value.found == "no such file"


def test_a_damaged_record_of_thresholds_matters_only_to_who_asks_for_tuning(tmp_path: Path) -> None:
    run = write_run(tmp_path, VerdictConfig())
    run.trial("weight_inv_freq", 1).thresholds.write_bytes(b"PK torn")
    assert judged(run).has_verdict
    assert judged(run).tuned == ()
    other = tmp_path / "other"
    run = write_run(other, VerdictConfig(thresholds="tuned"))
    run.trial("weight_inv_freq", 1).thresholds.write_bytes(b"PK torn")
    with pytest.raises(RunFolderError, match=r"weight_inv_freq.*thresholds.npz does not say"):
        judged(run)


def test_in_units_of_data_sets_tuning_is_shown_for_the_classes_that_these_can_score(tmp_path: Path) -> None:
    # The other half has six crops with positives, but only two data sets.
    assert len(judged(write_run(tmp_path, VerdictConfig(unit="crop"))).tuned) == 3
    other = tmp_path / "other"
    assert judged(write_run(other, VerdictConfig(unit="data_set"))).tuned == ()
