"""A run folder is read once; what is damaged of it is a value that says so, and the rest is there."""

from __future__ import annotations

import html
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from counterpoise.cli.results import print_results
from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import append_line, write_json
from counterpoise.frequencies.exposure import ClassExposure, Exposure
from counterpoise.metrics.thresholds import BINS, HALF, counts_by_threshold
from counterpoise.notes import Note, NoteKind, of_kind
from counterpoise.report import note_statements
from counterpoise.report.formats import results_as_json, results_as_trials
from counterpoise.report.page import Judged
from counterpoise.report.render import write_comparison, write_report
from counterpoise.report.verdict_file import verdict_document
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.npz import Examples, ThresholdCounts, ValidationCounts
from counterpoise.runs.read import Unreadable, read_run
from counterpoise.runs.records import EpochRecord, FailureCause, TrialStatus
from counterpoise.statistics.counts import tabulate_counts
from counterpoise.statistics.exposure import sum_exposure
from counterpoise.statistics.results import summarise_run
from counterpoise.statistics.run_verdict import judge_run

ARMS, SEEDS, CROPS, CLASSES = ("weight_uniform", "weight_inv_freq"), (0, 1, 2), ("a/1", "a/2", "b/1", "b/2"), ("nuc",)
EXPOSURE = Exposure(8, {"nuc": ClassExposure(8, 4, 100, 10)}).to_json()


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Write two arms of three seeds, all finished, with every file that a trial leaves."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    arms = tuple(ArmRecord(name, "", {"nuc": 1.0 + k}, (), None, runs=True) for k, name in enumerate(ARMS))
    ArmsRecord(CLASSES, ARMS[0], SEEDS, arms, (Note(NoteKind.DATA, "a note"),)).write(run.weights)
    write_json(run.tiles, {"version": 2, "hash": "3fa9", "tiles": [[0, 0, 0]] * 12})
    write_json(run.environment, {"python": "3.11"})
    run.config.write_text("[data]\n", encoding="utf-8")
    rng = np.random.default_rng(3)
    for arm in ARMS:
        for seed in SEEDS:
            trial = run.trial(arm, seed)
            trial.path.mkdir(parents=True)
            counts = np.zeros((len(CROPS), 1, 2, BINS), dtype=np.int64)
            counts[:, 0, 0, 5] = 700
            found = rng.integers(40, 90, len(CROPS))
            counts[:, 0, 1, 50], counts[:, 0, 1, 4] = found, 100 - found
            ThresholdCounts(CROPS, CLASSES, counts).write(trial.thresholds)
            last = counts_by_threshold(counts)[HALF]
            ValidationCounts(CROPS, CLASSES, np.stack([0 * last, last])).write(trial.counts)
            masks = rng.integers(0, 2, (2, 1, 8, 8)).astype(np.uint8)
            Examples(("a/1", "b/1"), CLASSES, masks[:, 0], masks, masks).write(trial.examples)
            trial.config.write_text("[training]\nbatch_size = 8\n", encoding="utf-8")
            for epoch in (1, 2):
                dice = 0.3 * epoch
                record = EpochRecord(
                    epoch, 0.5, 0.5, dice, {"nuc": dice}, {"nuc": [1, 1, 1]}, 1e-4, 0, epoch - 1, 1.0, 1.0, EXPOSURE
                )
                append_line(trial.metrics, record.__dict__)
            TrialStatus("finished", 2, 2).write(trial.status)
    return run


# Every file once ------------------------------------------------------------------------------------------------

_recorders: list[list[Path]] = []


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    """Record which files are opened, by whatever function; an audit hook cannot be removed, only be given no work."""
    if _recorders and event == "open" and isinstance(arguments[0], str):
        for recorder in _recorders:
            recorder.append(Path(arguments[0]))


sys.addaudithook(_audit)


@contextmanager
def opened_in(folder: RunFolder) -> Iterator[Counter[str]]:
    """Count how often each file of a run is opened, by its path inside the run."""
    opened: list[Path] = []
    count: Counter[str] = Counter()
    _recorders.append(opened)
    try:
        yield count
    finally:
        _recorders.remove(opened)
        count.update(str(file.relative_to(folder.path)) for file in opened if file.is_relative_to(folder.path))


def metrics_of(count: Counter[str]) -> dict[str, int]:
    return {name: times for name, times in count.items() if name.endswith("metrics.jsonl")}


def test_reading_a_run_opens_each_record_of_epochs_once(folder: RunFolder) -> None:
    with opened_in(folder) as count:
        read_run(folder)
    assert metrics_of(count) == {f"trials/{arm}/seed-{seed}/metrics.jsonl": 1 for arm in ARMS for seed in SEEDS}
    assert count["weights.json"] == 1
    assert not any(name.endswith(".npz") for name in count), "large arrays wait until they are asked for"


def test_nothing_made_from_a_run_opens_a_record_again(folder: RunFolder, tmp_path: Path) -> None:
    run = read_run(folder)
    with opened_in(folder) as count:
        verdict = judge_run(run)
        results = summarise_run(run, verdict)
        verdict_document(verdict)
        results_as_trials(results)
        results_as_json(results)
        sum_exposure(run)
        write_report(Judged(run, verdict), tmp_path / "report.html")
        write_report(Judged(run, verdict), tmp_path / "again.html")
    assert verdict.has_verdict
    assert metrics_of(count) == {}
    assert not any(name.endswith("status.json") for name in count)
    arrays = {name for name in count if name.endswith(("counts.npz", "thresholds.npz"))}
    assert len(arrays) == 2 * len(ARMS) * len(SEEDS)
    with opened_in(folder) as again:
        assert judge_run(run) == verdict
        tabulate_counts(run)
        summarise_run(run, judge_run(run))
    assert dict(again) == {}


def test_a_comparison_of_two_runs_opens_no_record_again(folder: RunFolder, tmp_path: Path) -> None:
    other = RunFolder(shutil.copytree(folder.path, tmp_path / "other"))
    first, second = (Judged(run, judge_run(run)) for run in (read_run(folder), read_run(other)))
    with opened_in(folder) as one, opened_in(other) as two:
        write_comparison(first, second, tmp_path / "pair.html")
    assert metrics_of(one) == metrics_of(two) == {}


# Values ---------------------------------------------------------------------------------------------------------


def test_a_run_is_what_its_files_say(folder: RunFolder) -> None:
    run = read_run(folder)
    assert [(trial.arm, trial.seed) for trial in run.trials] == [(arm, seed) for arm in ARMS for seed in SEEDS]
    assert [trial.seed for trial in run.of("weight_inv_freq")] == [0, 1, 2]
    assert run.of("nobody") == ()
    trial = run.trial("weight_inv_freq", 2)
    assert (trial.is_finished, trial.batch_size, trial.nonfinite_steps, trial.damage) == (True, 8, 1, "")
    assert trial.last is trial.epochs[1]
    assert (run.tiles_hash, run.tile_count, run.environment) == ("3fa9", 12, {"python": "3.11"})
    assert run.experiment_text == "[data]\n"
    assert run.experiment is None  # no valid experiment, and no reason to fail
    for arm, seed in (("weight_inv_freq", 9), ("nobody", 0)):
        with pytest.raises(KeyError):
            run.trial(arm, seed)


def test_a_file_that_is_not_there_is_told_from_a_damaged_one(folder: RunFolder) -> None:
    run = read_run(folder)
    assert isinstance(run.frequencies, Unreadable)
    assert (run.frequencies.name, run.frequencies.is_missing) == (folder.frequencies.name, True)
    for file in (folder.environment, folder.tiles):
        file.write_text("{", encoding="utf-8")
    folder.config.write_bytes(b"\xff\xff")
    run = read_run(folder)
    for found, file in ((run.environment, folder.environment), (run.tiles, folder.tiles)):
        assert isinstance(found, Unreadable)
        assert (found.name, found.is_missing) == (file.name, False)
    assert isinstance(run.experiment_text, Unreadable)
    assert (run.tiles_hash, run.tile_count, run.experiment) == (None, None, None)


@pytest.mark.parametrize(("tiles", "count"), [([], 0), ({"crop": [1]}, None), ("three", None), (None, None)])
def test_only_a_list_of_tiles_has_a_number(folder: RunFolder, tiles: object, count: int | None) -> None:
    write_json(folder.tiles, {"hash": "3fa9", "tiles": tiles})
    run = read_run(folder)
    assert (run.tiles_hash, run.tile_count) == ("3fa9", count)


@pytest.mark.parametrize("name", ["counts", "thresholds", "examples"])
@pytest.mark.parametrize("damage", ["missing", "empty", "torn", "changed", "lacks"])
def test_damaged_arrays_are_values_that_say_so(folder: RunFolder, name: str, damage: str) -> None:
    file = getattr(folder.trial("weight_inv_freq", 1), name)
    content = bytearray(file.read_bytes())
    if damage == "missing":
        file.unlink()
    elif damage == "lacks":
        with file.open("wb") as stream:
            np.savez_compressed(stream, crops=np.array(CROPS))
    else:
        middle = len(content) // 2
        content[middle - 50 : middle + 50] = bytes(100)
        file.write_bytes({"empty": b"", "torn": content[:middle], "changed": content}[damage])
    run = read_run(folder)
    found = getattr(run.trial("weight_inv_freq", 1), name)
    assert isinstance(found, Unreadable)
    assert (found.name, found.is_missing) == (file.name, damage == "missing")
    assert all(not isinstance(getattr(t, name), Unreadable) for t in run.trials if (t.arm, t.seed) != (ARMS[1], 1))


def test_damaged_epochs_cost_their_trial_alone(folder: RunFolder) -> None:
    folder.trial("weight_inv_freq", 1).metrics.write_text("{\n{}\n", encoding="utf-8")
    run = read_run(folder)
    damaged = run.trial("weight_inv_freq", 1)
    assert (damaged.status.state, damaged.status.cause, damaged.epochs) == ("failed", FailureCause.DAMAGED, ())
    assert damaged.damage == damaged.status.reason
    assert (damaged.last, damaged.nonfinite_steps) == (None, 0)
    assert sum(trial.is_finished for trial in run.trials) == 5


def test_a_training_that_diverged_has_diverged_whatever_became_of_its_records(folder: RunFolder) -> None:
    trial = folder.trial("weight_inv_freq", 1)
    status = TrialStatus("running", 2, 2).failed(FailureCause.DIVERGED, "it went up")
    status.write(trial.status)
    trial.metrics.write_text("{\n{}\n", encoding="utf-8")
    found = read_run(folder).trial("weight_inv_freq", 1)
    assert found.status == status
    assert str(trial.metrics) in found.damage


@pytest.mark.parametrize("content", [None, "", "training = 3", "[training]\nbatch_size = 'many'", "[training]"])
def test_a_lost_configuration_costs_the_batch_size_alone(folder: RunFolder, content: str | None) -> None:
    file = folder.trial("weight_inv_freq", 1).config
    file.unlink()
    if content is not None:
        file.write_text(content, encoding="utf-8")
    trial = read_run(folder).trial("weight_inv_freq", 1)
    assert (trial.batch_size, trial.is_finished) == (None, True)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        read_run(RunFolder(tmp_path))


def test_scores_of_tiles_that_hung_over_their_crops_are_told_from_others_wherever_they_are_shown(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lists of tiles had no version as long as they did."""
    assert read_run(folder).notes == read_run(folder).plan.notes
    write_json(folder.tiles, {"hash": "3fa9", "tiles": [[0, 0, 0]] * 12})
    run = read_run(folder)
    (note,) = of_kind(run.notes, NoteKind.SCORES)
    assert "raw that was not there" in str(note)
    assert str(note) in results_as_json(summarise_run(run, judge_run(run)))["notes"]
    assert str(note) in html.unescape(write_report(Judged(run, judge_run(run))).read_text(encoding="utf-8"))
    assert f"{note}." in list(note_statements.notes(judge_run(run)))
    print_results(summarise_run(run, judge_run(run)))
    assert str(note) in capsys.readouterr().out
