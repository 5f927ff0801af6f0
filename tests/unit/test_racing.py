"""A race while it is run, on folders that a stand-in for training writes: the same decisions whenever it is killed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from counterpoise.errors import RunFolderError
from counterpoise.experiment.config import VerdictConfig
from counterpoise.files.atomic import append_line
from counterpoise.racing import Race as RunningRace
from counterpoise.report.verdict_file import take_look
from counterpoise.runs.arms import ArmRecord, ArmsRecord, Race
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.looks import StopReason, read_looks
from counterpoise.runs.npz import ValidationCounts
from counterpoise.runs.read import read_run
from counterpoise.runs.records import EpochRecord, FailureCause, TrialStatus
from counterpoise.statistics.counts import tabulate_counts
from counterpoise.statistics.race import decide_look
from counterpoise.statistics.verdict_types import Obstacle, Settings

GAINS = {"weight_uniform": 0.0, "weight_inv_freq": 0.03, "weight_sqrt_inv": 0.02, "weight_log_inv": -0.06}
LOOKS = (3, 5, 8)
CROPS = tuple(f"jrc_a/crop{k}" for k in range(6))


def train(folder: TrialFolder) -> None:
    """Write what a training leaves; its Dice depends on arm and seed alone."""
    arm, seed = folder.path.parent.name, int(folder.path.name.removeprefix("seed-"))
    noise = np.random.default_rng([seed, *arm.encode()]).normal(0, 0.012)
    hits = np.rint(1e5 * (0.6 + GAINS[arm] + 0.03 * np.sin(seed) + noise) + 1000 * np.arange(len(CROPS)))
    counts = np.stack([hits, 1e5 - hits, 1e5 - hits], -1).astype(np.int64)[None, :, None, :]
    folder.path.mkdir(parents=True, exist_ok=True)
    ValidationCounts(CROPS, ("nuc",), counts).write(folder.counts)
    append_line(folder.metrics, EpochRecord(1, 0.5, 0.5, 0.5, {}, {}, 1e-4, 0, 0, 1.0, 1.0).__dict__)
    TrialStatus("finished", 1, 1).write(folder.status)


def write_plan(path: Path, *, margin: float = 0.01) -> RunFolder:
    run = RunFolder(path)
    run.path.mkdir(parents=True)
    arms = tuple(ArmRecord(name, "", {"nuc": 1.0 + k}, (), None, runs=True) for k, name in enumerate(GAINS))
    plan = ArmsRecord(("nuc",), "weight_uniform", tuple(range(8)), arms, verdict=VerdictConfig(margin=margin))
    replace(plan, race=Race(LOOKS)).write(run.weights)
    return run


def race_of(run: RunFolder, say: Callable[[str], object] = lambda _: None) -> RunningRace:
    return RunningRace(run, ArmsRecord.read(run.weights), say)


def run_out(run: RunFolder, *, slots: int = 2, most: int = 10_000) -> list[TrialFolder]:
    """Drive a race as the driver does, for at most so many trainings; return those that were begun, in order."""
    race = race_of(run)
    waiting, training, begun = list[TrialFolder](), list[TrialFolder](), list[TrialFolder]()
    waiting += race.more(())
    while len(begun) < most:
        while len(training) < slots and len(begun) < most:
            if not waiting:
                waiting += race.more(training)
            if not waiting:
                break
            training.append(waiting.pop(0))
            begun.append(training[-1])
        if race.is_over() or not training:
            break
        train(training.pop(0))
    return begun


def decisions(run: RunFolder) -> list[tuple[object, ...]]:
    return [(record.runs, record.planned, record.race) for record in read_looks(run.looks, run.verdict).records]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Run a race without an interruption."""
    run = write_plan(tmp_path_factory.mktemp("race") / "run")
    run_out(run)
    return run


def test_a_race_takes_its_looks_and_ends(whole: RunFolder) -> None:
    looks = read_looks(whole.looks, whole.verdict)
    assert looks.is_over
    assert [look.seeds for look in looks.race] == list(LOOKS)[: len(looks.race)]
    assert "weight_log_inv" in looks.dropped
    assert looks.dropped["weight_log_inv"] == 3
    assert not whole.trial("weight_log_inv", 5).status.exists(), "what was dropped is not trained on"
    for number, record in enumerate(looks.records):
        # Decided by the counts it was recorded with, and by nothing else.
        table = tabulate_counts(read_run(whole)).seen_at(record.runs, LOOKS[number])
        assert decide_look(table, Settings(), LOOKS, looks.records[:number]) == record.race
        alive = [arm for arm in GAINS if looks.dropped.get(arm, 99) > LOOKS[number] - 1]
        assert all(record.runs[arm] == tuple(range(LOOKS[number])) for arm in alive)


@pytest.mark.parametrize("slots", [1, 2, 3, 7])
def test_the_number_of_slots_changes_no_decision(tmp_path: Path, whole: RunFolder, slots: int) -> None:
    run = write_plan(tmp_path / "run")
    run_out(run, slots=slots)
    assert decisions(run) == decisions(whole)


@pytest.mark.parametrize("every", [1, 4, 5])
def test_killed_and_resumed_at_any_point_it_takes_the_same_decisions(
    tmp_path: Path, whole: RunFolder, every: int
) -> None:
    run = write_plan(tmp_path / "run")
    calls = 0
    while not read_looks(run.looks, run.verdict).is_over:
        calls += 1
        run_out(run, slots=3, most=every)  # a run that is killed loses what was being trained
    assert calls > 3
    assert decisions(run) == decisions(whole)


def test_a_look_that_was_not_yet_on_record_is_taken_again(tmp_path: Path, whole: RunFolder) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(whole.path, run.path)
    lines = run.looks.read_bytes().splitlines(keepends=True)
    run.looks.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])  # killed while it was written
    assert run_out(run) == []
    assert decisions(run) == decisions(whole)


def test_no_slot_idles_while_the_baseline_may_go_on(tmp_path: Path) -> None:
    run = write_plan(tmp_path / "run")
    race = race_of(run)
    block = list(race.more(()))
    assert block == [run.trial(arm, seed) for seed in range(3) for arm in GAINS]
    for folder in block[:-2]:
        train(folder)
    ahead = list(race.more(block[-2:]))
    assert ahead == [run.trial("weight_uniform", 3)]
    assert list(race.more([*block[-2:], *ahead])) == [run.trial("weight_uniform", 4)]
    assert not race.is_over()
    train(block[-1])
    train(block[-2])
    assert run.trial("weight_uniform", 3) not in race.more(ahead)
    (record,) = read_looks(run.looks, run.verdict).records
    assert set(record.runs["weight_uniform"]) == {0, 1, 2}, "the next seed is of the next look"


def test_a_training_that_failed_for_good_does_not_stop_the_race(tmp_path: Path) -> None:
    run = write_plan(tmp_path / "run")
    race = race_of(run)
    block = list(race.more(()))
    for folder in block[:-1]:
        train(folder)
    block[-1].path.mkdir(parents=True)
    TrialStatus("waiting").failed(FailureCause.OTHER, "out of memory").write(block[-1].status)
    race.more(())
    (record,) = read_looks(run.looks, run.verdict).records
    assert record.runs[block[-1].path.parent.name] == (0, 1)


def test_a_verdict_before_the_first_look_claims_nothing_and_is_no_look(tmp_path: Path) -> None:
    run = write_plan(tmp_path / "run")
    for arm in ("weight_uniform", "weight_inv_freq"):
        for seed in range(3):
            train(run.trial(arm, seed))
    look = take_look(read_run(run))
    assert look.verdict.obstacle is Obstacle.NO_LOOK
    assert not run.looks.exists()
    assert all(arm.comparison is None for arm in look.verdict.arms)
    run_out(run)
    assert read_looks(run.looks, run.verdict).is_over


def test_between_looks_the_verdict_is_that_of_the_last_look(tmp_path: Path, whole: RunFolder) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(whole.path, run.path)
    lines = run.looks.read_bytes().splitlines(keepends=True)
    run.looks.write_bytes(lines[0])
    run.verdict.unlink(missing_ok=True)
    verdict = take_look(read_run(run)).verdict
    assert {arm.name: arm.runs for arm in verdict.arms} == dict.fromkeys(GAINS, 3)
    assert verdict.looks.seeds == (3,)
    assert verdict.arm("weight_log_inv").dropped_after == 3
    assert len(read_looks(run.looks, run.verdict).records) == 1, "the looks of a race are its own"


def test_the_last_verdict_has_the_level_of_the_look_it_stopped_at(whole: RunFolder) -> None:
    verdict = take_look(read_run(whole)).verdict
    looks = read_looks(whole.looks, whole.verdict)
    assert verdict.looks.seeds == LOOKS[: len(looks.race)]
    assert verdict.looks.error_rate == pytest.approx(0.05)
    assert not verdict.incomplete or looks.race[-1].stop is not StopReason.SEEDS
    assert verdict.race == looks.race


# Bad input --------------------------------------------------------------------------------------------------------


def copy_of(whole: RunFolder, tmp_path: Path) -> RunFolder:
    shutil.copytree(whole.path, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def test_an_edited_record_of_looks_stops_the_race(tmp_path: Path, whole: RunFolder) -> None:
    run = copy_of(whole, tmp_path)
    run.looks.write_text(run.looks.read_text("utf-8").replace('"planned": 8', '"planned": 9', 1), encoding="utf-8")
    with pytest.raises(RunFolderError, match="cannot go on") as caught:
        race_of(run)
    assert caught.value.found == "line 1 of looks.jsonl was changed"


def test_a_seed_that_was_removed_stops_the_race(tmp_path: Path, whole: RunFolder) -> None:
    run = copy_of(whole, tmp_path)
    shutil.rmtree(run.trial("weight_inv_freq", 1).path)
    with pytest.raises(RunFolderError, match="cannot go on") as caught:
        race_of(run)
    assert caught.value.found == "no counts of weight_inv_freq, seed 1"


def test_counts_that_lead_to_other_decisions_stop_the_race(tmp_path: Path, whole: RunFolder) -> None:
    run = copy_of(whole, tmp_path)
    GAINS["weight_log_inv"], before = 0.2, GAINS["weight_log_inv"]
    try:
        for seed in range(3):
            shutil.rmtree(run.trial("weight_log_inv", seed).path)
            train(run.trial("weight_log_inv", seed))
    finally:
        GAINS["weight_log_inv"] = before
    with pytest.raises(RunFolderError, match="cannot go on") as caught:
        race_of(run)
    assert "look 1" in str(caught.value.expected)
