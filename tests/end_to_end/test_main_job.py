"""The main job through the command line: crops in, table and report out."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest

from counterpoise.runs.layout import RunFolder

CommandLine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def finished(
    small_data: Path, process: CommandLine, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """One finished run and what it printed."""
    folder = tmp_path_factory.mktemp("run it")
    experiment = folder / "experiment.toml"
    experiment.write_text(
        f"""
preset = "demo"
[data]
datasplit = "{small_data / "datasplit.csv"}"
classes = ["nuc", "mito_mem", "pm"]
[sampling]
patch_shape = [32, 32]
[model]
width = 4
depth = 2
[training]
epochs = 2
steps_per_epoch = 4
batch_size = 2
learning_rate = 0.02
ema_decay = 0
[validation]
tiles_per_crop = 2
[arms]
strategies = ["weight_uniform", "weight_inv_freq", "weight_effective_num"]
seeds = 2
[run]
folder = "my run"
""",
        encoding="utf-8",
    )
    done = process("run", experiment)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "my run", done


def test_run_leaves_every_promised_file(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    run = RunFolder(finished[0])
    for file in (run.config, run.fingerprint, run.environment, run.frequencies, run.weights, run.tiles):
        assert file.stat().st_size > 0
    assert run.results.stat().st_size > 0
    assert "No verdict: the networks are not trained" in json.loads(run.verdict.read_text(encoding="utf-8"))["sentence"]
    assert run.report.stat().st_size > 10_000
    trials = run.trials()
    assert [(t.arm, t.seed) for t in trials] == [
        ("weight_inv_freq", 0), ("weight_inv_freq", 1), ("weight_uniform", 0), ("weight_uniform", 1),
    ]  # fmt: skip
    for trial in trials:
        for file in (trial.config, trial.status, trial.metrics, trial.counts, trial.examples, trial.log):
            assert file.stat().st_size > 0
        assert trial.last_checkpoint.exists()
        assert trial.best_checkpoint.exists()
        assert len(list(trial.path.glob("events.out.tfevents.*"))) == 1


def test_run_shows_duplicates_and_says_that_a_few_steps_are_no_verdict(
    finished: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    shown = finished[1].stdout
    assert "weight_effective_num has the weights of weight_uniform times 2: not trained a second time" in shown
    first = next(line for line in shown.splitlines() if line.startswith("No verdict: "))
    assert "the networks are not trained: the highest mean Dice, 0." in first
    assert shown.index(first) < shown.index("\narm "), "the reason comes first"
    assert "4 trials on " in shown
    assert str(finished[0] / "report.html") in shown


def test_logs_have_the_references_lines(finished: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    log = RunFolder(finished[0]).trial("weight_uniform", 0).log.read_text(encoding="utf-8")
    lines = [line for line in log.splitlines() if "Val Dice: " in line]
    assert len(lines) == 2
    assert all(0.0 <= float(line.split("Val Dice: ")[1]) <= 1.0 for line in lines)


def test_a_second_run_trains_nothing(
    finished: tuple[Path, subprocess.CompletedProcess[str]], command_line: CommandLine
) -> None:
    checkpoint = RunFolder(finished[0]).trial("weight_uniform", 0).last_checkpoint
    before = checkpoint.stat().st_mtime_ns
    assert command_line("run", finished[0].parent / "experiment.toml").returncode == 0
    assert checkpoint.stat().st_mtime_ns == before


def test_another_configuration_in_the_same_folder_is_refused(
    finished: tuple[Path, subprocess.CompletedProcess[str]], command_line: CommandLine
) -> None:
    source = finished[0].parent / "experiment.toml"
    other = source.with_name("other.toml")
    other.write_text(source.read_text(encoding="utf-8").replace("epochs = 2", "epochs = 3"), encoding="utf-8")
    refused = command_line("run", other)
    assert refused.returncode == 2
    assert "training.epochs (2 -> 3)" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_results_formats_agree_with_the_counts(
    finished: tuple[Path, subprocess.CompletedProcess[str]], command_line: CommandLine, tmp_path: Path
) -> None:
    run = RunFolder(finished[0])
    assert command_line("results", run.path, "--format", "csv").stdout == run.results.read_text(encoding="utf-8")
    table = list(csv.DictReader(io.StringIO(command_line("results", run.path, "--format", "trials").stdout)))
    document = json.loads(command_line("results", run.path, "--format", "json").stdout)
    done = command_line("results", run.path, "--format", "reference", "--out", tmp_path / "reference")
    assert done.returncode == 0
    for arm in ("weight_uniform", "weight_inv_freq"):
        for seed in (0, 1):
            with np.load(run.trial(arm, seed).counts) as content:
                tp, fp, fn = content["counts"][-1].sum(axis=0).T
            present = 2 * tp + fp + fn > 0
            by_hand = float(np.mean(2 * tp[present] / (2 * tp + fp + fn)[present]))
            row = next(r for r in table if r["strategy"] == arm and r["seed"] == str(seed))
            assert float(row["last_dice"]) == pytest.approx(by_hand, abs=1e-12)
            entry = next(a for a in document["arms"] if a["strategy"] == arm)
            assert entry["trials"][seed]["last_dice"] == pytest.approx(by_hand, abs=1e-12)
            file = tmp_path / "reference" / f"seed-{seed}" / f"cw_{arm}_results.json"
            reference = json.loads(file.read_text(encoding="utf-8"))
            assert reference["loss_name"] == arm
            assert reference["history"][-1]["dice_mean"] == pytest.approx(by_hand, abs=1e-12)
            last = reference["history"][-1]["per_class"]
            assert [last[c]["tp"] for c in ("nuc", "mito_mem", "pm")] == tp.tolist()
            assert [h["epoch"] for h in reference["history"]] == [1, 2]


def test_a_failing_trial_is_tried_again_and_does_not_stop_the_others(
    small_data: Path, command_line: CommandLine, write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    experiment = write_experiment(tmp_path, small_data / "datasplit.csv")
    trial = RunFolder(tmp_path / "my run").trial("weight_inv_freq", 0)
    # A folder where the best checkpoint should go: this one trial cannot write it, all others can.
    trial.best_checkpoint.mkdir(parents=True)
    done = command_line("run", experiment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "failed: weight_inv_freq seed 0 after 2 attempts" in done.stderr
    assert "--- attempt 2 ---" in trial.log.read_text(encoding="utf-8")
    other = RunFolder(tmp_path / "my run").trial("weight_uniform", 0)
    assert json.loads(other.status.read_text(encoding="utf-8"))["state"] == "finished"


def _start(experiment: Path, status: Path) -> subprocess.Popen[str]:
    """Start a run and wait until the trial with this status file is training."""
    process = subprocess.Popen(
        [sys.executable, "-m", "counterpoise", "run", str(experiment)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if status.exists() and json.loads(status.read_text(encoding="utf-8"))["state"] == "running":
            return process
        time.sleep(0.1)
    process.kill()
    raise AssertionError(process.communicate())


def _trial_processes(folder: Path) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(p.info["cmdline"] or [])]


def test_an_interrupted_run_ends_its_trials_and_says_how_to_continue(
    small_data: Path, write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    experiment = write_experiment(tmp_path, small_data / "datasplit.csv", steps_per_epoch="steps_per_epoch = 400")
    status = RunFolder(tmp_path / "my run").trial("weight_uniform", 0).status
    process = _start(experiment, status)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "continues" in errors
    assert json.loads(status.read_text(encoding="utf-8"))["state"] == "waiting"
    assert not _trial_processes(tmp_path)


def test_a_killed_run_leaves_no_trial_behind_and_a_second_one_meanwhile_is_refused(
    small_data: Path, command_line: CommandLine, write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    experiment = write_experiment(tmp_path, small_data / "datasplit.csv", steps_per_epoch="steps_per_epoch = 400")
    process = _start(experiment, RunFolder(tmp_path / "my run").trial("weight_uniform", 0).status)
    second = command_line("run", experiment)
    assert second.returncode == 2, second.stdout + second.stderr
    assert f"process {process.pid} on" in second.stderr
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 30
    while _trial_processes(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not _trial_processes(tmp_path)


def test_a_run_interrupted_before_its_first_trial_says_stopped(
    small_data: Path, write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    experiment = write_experiment(tmp_path, small_data / "datasplit.csv")
    # The interruption comes from within, at a moment that no timing can miss: when the list of crops is read.
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job ignores it
        "import counterpoise.preflight.inputs as inputs\n"
        "inputs.load_crops = lambda *_, **__: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.argv = ['counterpoise', 'run', sys.argv[1]]\n"
        "from counterpoise.cli.app import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(experiment)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (130, "stopped\n")


def test_a_strategy_beside_the_experiment_is_found_and_an_ascii_terminal_does_not_crash(
    small_data: Path, write_experiment: Callable[..., Path], tmp_path: Path
) -> None:
    strategies = 'strategies = ["weight_uniform", "mine:fourth_root"]'
    experiment = write_experiment(tmp_path / "here", small_data / "datasplit.csv", strategies=strategies)
    rule = "def fourth_root(statistics):\n    return statistics.frequencies ** -0.25\n"
    (experiment.parent / "mine.py").write_text(rule, encoding="utf-8")
    model = (
        "from torch import nn\n\ndef net(*, slices, classes, width, depth):\n    return nn.Conv2d(slices, classes, 1)\n"
    )
    (experiment.parent / "nets.py").write_text(model, encoding="utf-8")
    text = experiment.read_text(encoding="utf-8").replace("[model]", '[model]\nname = "nets:net"')
    experiment.write_text(text, encoding="utf-8")
    script = Path(sys.executable).with_name(
        "counterpoise"
    )  # unlike `python -m`, it does not look in the working folder
    done = subprocess.run(
        [script, "run", experiment],
        capture_output=True,
        timeout=300,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"fourth_root" in done.stdout
    assert b"classes, ? standard deviation" in done.stdout
