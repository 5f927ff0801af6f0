"""``status`` of a run folder written here."""

import io
import json
import time
from pathlib import Path

import pytest

from counterpoise.cli.progress import _most_important, draw_trials, fitting, health_lines, score_warnings, trial_columns
from counterpoise.cli.screen import plain_console
from counterpoise.cli.status import status as status_command
from counterpoise.files.atomic import append_line, write_json
from counterpoise.machine.gpus import GpuLoad
from counterpoise.machine.health import Health
from counterpoise.machine.limits import GIB
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.progress import TrialProgress, read_progress
from counterpoise.runs.records import EpochRecord, TrialState, TrialStatus
from counterpoise.statistics.following import follow


def test_status_prints_the_trials_the_machine_and_what_to_look_at(
    status_run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    status_command(status_run.path, as_json=False)
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if line.startswith("weight_log") and " 1 " in line)
    assert row.split()[:5] == ["weight_log", "1", "running", "4/9", "0.6123"]
    assert "1 running, 3 failed" in shown
    assert "warning: weight_uniform seed 0: failed: out of memory" in shown
    assert " free" in shown


def test_status_as_json_has_every_trial(status_run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    status_command(status_run.path, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert [(t["arm"], t["seed"], t["state"]) for t in document["trials"]] == [
        ("weight_uniform", 0, "failed"),
        ("weight_log", 0, "failed"),
        ("weight_uniform", 1, "failed"),
        ("weight_log", 1, "running"),
    ]
    assert document["done"] == pytest.approx((3 + (3 + 0.5) / 9) / 4)
    assert document["machine"]["memory_bytes"] > 0


def test_status_as_json_warns_of_trials_and_of_the_machine(
    status_run: RunFolder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    append_times(status_run)
    health = Health((), 3.5, 16, 20 * GIB, 64 * GIB, 1 * GIB, 100 * GIB)
    monkeypatch.setattr("counterpoise.cli.progress.read_health", lambda _: health)
    status_command(status_run.path, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["warnings"] == [
        "weight_uniform seed 0: failed: out of memory",
        "weight_log seed 0: failed: out of memory",
        "weight_uniform seed 1: failed: out of memory",
        "the disk of the run folder has 1.1 GB left",
    ]
    assert document["machine"]["disk_free_bytes"] == GIB
    # Three epochs of 20 s, and half of the fourth of nine.
    assert [(t["epoch_s"], t["left_s"]) for t in document["trials"]] == [(20.0, 0.0)] * 3 + [(20.0, 110.0)]
    assert document["left_s"] == 110.0


def append_times(run: RunFolder) -> None:
    for number in (1, 2, 3):
        record = EpochRecord(number, 0.5, 0.5, 0.5, {}, {}, 1e-4, 0, 0, 19.0, 1.0)
        append_line(run.trial("weight_log", 1).metrics, record.__dict__)


def test_running_and_failed_trials_are_shown_where_not_all_fit() -> None:
    states: tuple[TrialState, ...] = ("finished", "failed", "waiting", "running", "finished", "running")
    trials = [
        TrialProgress(TrialFolder(Path(f"a/seed-{n}")), TrialStatus(state), None, None, ())
        for n, state in enumerate(states)
    ]
    assert _most_important(trials, 6) == trials
    assert [trial.folder.seed for trial in _most_important(trials, 5)] == [3, 5, 1]
    assert [trial.folder.seed for trial in _most_important(trials, 2)] == [3, 5]


def test_the_machine_in_words() -> None:
    gpus = (GpuLoad(0, "A100", 0.97, 30 * GIB, 40 * GIB), GpuLoad(1, "A100 MIG", None, 1 * GIB, 10 * GIB))
    health = Health(gpus, 3.5, 16, 20 * GIB, 64 * GIB, 1 * GIB, 100 * GIB)
    assert health_lines(health) == [
        "GPU 0 A100: busy 97%, 32.2 GB of 42.9 GB",
        "GPU 1 A100 MIG: load unknown, 1.1 GB of 10.7 GB",
        "load 3.5 on 16 cores; memory 21.5 GB of 68.7 GB; disk 1.1 GB free",
    ]
    assert health.warnings == ("the disk of the run folder has 1.1 GB left",)


@pytest.mark.parametrize("width", [160, 80, 60, 40])
def test_one_table_at_any_width_and_no_cell_is_cut(status_run: RunFolder, width: int) -> None:
    progress = read_progress(status_run, now=time.time())
    columns = fitting(trial_columns(progress.trials, follow(progress)), width)
    assert [column[0] for column in columns][:3] == ["trial", "seed", "state"]
    screen = plain_console(file=io.StringIO())
    screen.width = width
    screen.print(draw_trials("a run", progress.trials, follow(progress), width=width, height=20))
    assert isinstance(screen.file, io.StringIO)
    lines = screen.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert lines[1].split() == " ".join(column[0] for column in columns).split()
    assert sum("weight_uniform" in line for line in lines) == 2
    assert "…" not in screen.file.getvalue()


def test_a_narrow_terminal_goes_without_the_speed_before_the_dice(status_run: RunFolder) -> None:
    progress = read_progress(status_run, now=time.time())
    columns = trial_columns(progress.trials, follow(progress))
    whole = [column[0] for column in columns]
    assert [column[0] for column in fitting(columns, 160)] == whole
    assert [column[0] for column in fitting(columns, 70)] == [
        name for name in whole if name not in {"patches/s", "train loss"}
    ]


def test_classes_that_are_not_found_yet_are_named_and_dice_is_that_of_the_scored_ones(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    arms = tuple(ArmRecord(name, "", {}, (), None, runs=True) for name in ("a", "b"))
    ArmsRecord(("mito", "pm", "rare"), "a", (0,), arms).write(run.weights)
    # mito fills a tenth: .1818 without a network; rare is in two crops and not scored.
    present = [[10, 50, 5], [10, 50, 5], [10, 50, 0]]
    voxels = {"classes": ["mito", "pm", "rare"], "known": [[100] * 3] * 3, "present": present}
    write_json(run.tiles, {"version": 2, "crops": ["d/1", "d/2", "d/3"], "voxels": voxels})
    for arm, mito, epochs in (("a", 0.18, 2), ("b", 0.19, 3)):
        folder = run.trial(arm, 0)
        folder.path.mkdir(parents=True)
        for number in range(1, epochs + 1):
            dice = {"mito": mito, "pm": 0.7 - number / 10, "rare": 0.9}
            counts = dict.fromkeys(dice, (1, 1, 1))
            append_line(folder.metrics, EpochRecord(number, 1, 1, 0.5, dice, counts, 1, 0, 0, 1, 1).__dict__)
        TrialStatus("running", epochs, 10, dice_mean=0.5, best_dice=0.5).write(folder.status)
    progress = read_progress(run, now=time.time())
    following = follow(progress)
    a, _ = progress.trials
    # (.18 + .5) / 2 last, (.18 + .6) / 2 best, and pm (2 x .5 / 1.5 = .667) is not found by either.
    assert following.dice(a) == pytest.approx((0.34, 0.39))
    assert score_warnings(following) == (
        "after epoch 2 mito is still no better than predicting it everywhere in 1 of 2 trainings",
        "after epoch 2 pm is still no better than predicting it everywhere",
    )
    run.tiles.unlink()
    assert follow(progress).dice(a) == (0.5, 0.5), "older runs have the mean over all annotated classes"
