"""Killed at points that no clock could hit, and continued: the same bits as a run that nobody disturbed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from counterpoise.experiment.load import load_experiment
from counterpoise.files.atomic import is_leftover, read_lines
from counterpoise.machine.hardware import Hardware
from counterpoise.preflight.design import design_experiment
from counterpoise.preflight.inputs import read_inputs
from counterpoise.preflight.prepare import PreparedRun, prepare_run
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.training.trial import run_trial

CommandLine = Callable[..., subprocess.CompletedProcess[str]]

HOOK = '''\
"""Kill this process (and its parent) just before the n-th time that a file of a certain name is renamed or opened."""
import os, re, signal, sys

event, name, count, whom = os.environ.get("KILL_AT", "|||").split("|")
times = []

def look(happening, arguments):
    if happening == event and isinstance(arguments[0], (str, os.PathLike)):
        if re.fullmatch(name, os.path.basename(os.fspath(arguments[0]))):
            times.append(None)
            if len(times) == int(count):
                if whom == "all":
                    os.kill(os.getppid(), signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)

if event:
    sys.addaudithook(look)
'''
"""Python imports a ``sitecustomize`` when it starts; an audit hook hears of an operation before it is done."""


@pytest.fixture(scope="module")
def undisturbed(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrialFolder:
    """Prepare a run of one trial, and train it in this process."""
    experiment = write(tmp_path_factory.mktemp("undisturbed"), small_data)
    (trial,) = prepare(experiment).trials
    run_trial(trial.path, say=lambda _: None)
    return trial


def prepare(experiment: Path) -> PreparedRun:
    hardware = Hardware(gpus=(), cores=1, memory_bytes=1 << 33, notes=())
    design = design_experiment(read_inputs(load_experiment(experiment)), hardware)
    return prepare_run(design, experiment, hardware)


def write(folder: Path, data: Path) -> Path:
    file = folder / "experiment.toml"
    file.write_text(
        f"""
preset = "demo"
[data]
datasplit = "{data / "datasplit.csv"}"
classes = ["nuc", "mito_mem", "pm"]
voxel_size_nm = [16, 16, 16]
[sampling]
patch_shape = [32, 32]
[model]
width = 4
depth = 2
[training]
epochs = 3
steps_per_epoch = 3
batch_size = 2
[validation]
tiles_per_crop = 2
[arms]
strategies = ["weight_uniform"]
seeds = 1
[run]
folder = "run"
threads = 1
retries = 0
""",
        encoding="utf-8",
    )
    return file


def killed(arguments: list[str], tmp_path: Path, at: str) -> int:
    """Run a command that is killed at a point; return its exit code."""
    hook = tmp_path / "hook"
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    path = os.pathsep.join(filter(None, (str(hook), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": path, "KILL_AT": at}
    command = [sys.executable, "-m", "counterpoise", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, timeout=300, check=False).returncode


def epochs(trial: TrialFolder) -> list[dict[str, object]]:
    clocks = {"train_s", "validation_s", "data_wait_s"}
    return [{k: v for k, v in line.items() if k not in clocks} for line in read_lines(trial.metrics)]


def assert_same(one: TrialFolder, other: TrialFolder) -> None:
    for name in ("counts.npz", "thresholds.npz", "examples.npz"):
        with np.load(one.path / name) as first, np.load(other.path / name) as second:
            assert first.files == second.files
            for key in first.files:
                assert np.array_equal(first[key], second[key]), (name, key)
    for name in ("last.pt", "best.pt"):
        first, second = (torch.load(t.path / name, weights_only=True) for t in (one, other))
        assert_equal(first, second, name)
    assert epochs(one) == epochs(other)
    assert json.loads(other.status.read_text(encoding="utf-8"))["state"] == "finished"
    assert not [file.name for file in other.path.iterdir() if is_leftover(file.name)]
    assert not other.previous_checkpoint.exists()


def assert_equal(one: object, other: object, where: str) -> None:
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where  # type: ignore[arg-type]
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where  # type: ignore[attr-defined]
        for key, value in one.items():
            assert_equal(value, other[key], f"{where}/{key}")  # type: ignore[index]
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), where  # type: ignore[arg-type]
        for number, value in enumerate(one):
            assert_equal(value, other[number], f"{where}/{number}")  # type: ignore[index]
    else:
        assert one == other, where


LAST = r"\.last\.pt\.\d+\.tmp"


@pytest.mark.slow  # tests/unit/training interrupts trials at the same points, without a kill
def test_a_trial_killed_while_its_checkpoint_is_written_resumes_to_the_same_bits(
    undisturbed: TrialFolder, process: CommandLine, tmp_path: Path
) -> None:
    """Killed when the checkpoint of epoch 1 has its second name and that of epoch 2 is about to be written."""
    trial = TrialFolder(tmp_path / "trials" / "weight_uniform" / "seed-0")
    trial.path.mkdir(parents=True)
    trial.config.write_bytes(undisturbed.config.read_bytes())
    assert killed(["trial", str(trial.path)], tmp_path, f"open|{LAST}|2|trial") == -signal.SIGKILL
    checkpoint = torch.load(trial.last_checkpoint, weights_only=True)
    assert (checkpoint["epoch"], len(epochs(trial))) == (1, 2)  # one epoch is lost, and no more
    assert trial.previous_checkpoint.samefile(trial.last_checkpoint)
    done = process("trial", trial.path)
    assert done.returncode == 0, done.stderr
    assert "Resuming after epoch 1/3" in done.stdout
    assert_same(undisturbed, trial)


@pytest.mark.slow
def test_a_run_killed_together_with_its_trial_ends_in_the_same_bits(
    undisturbed: TrialFolder, small_data: Path, command_line: CommandLine, tmp_path: Path
) -> None:
    """Killed when the checkpoint of epoch 2 is on disk, and has not got its name."""
    experiment, run = write(tmp_path, small_data), RunFolder(tmp_path / "run")
    assert killed(["run", str(experiment)], tmp_path, f"os.rename|{LAST}|2|all") == -signal.SIGKILL
    (trial,) = run.trials()
    assert [is_leftover(file.name) for file in trial.path.iterdir()].count(True) == 1
    done = command_line("run", experiment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Resuming after epoch 1/3" in trial.log.read_text(encoding="utf-8")
    assert_same(undisturbed, trial)
    assert not [file for file in run.path.rglob("*") if is_leftover(file.name)]


def test_a_run_killed_after_its_first_file_knows_its_folder_again(
    small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Stands for a process that ends at once."""

    def kill(*_: object) -> None:
        raise Killed

    experiment, run = write(tmp_path, small_data), RunFolder(tmp_path / "run")
    with monkeypatch.context() as killing:
        killing.setattr("counterpoise.preflight.prepare.write_json", kill)  # of the second file
        with pytest.raises(Killed):
            prepare(experiment)
    (run.path / ".environment.json.1.tmp").write_bytes(b"half")  # what a process leaves that is killed meanwhile
    assert not run.trials()
    assert len(prepare(experiment).trials) == 1
    run.weights.unlink()  # and what it would be without its first file
    for file in (run.config, run.frequencies, run.tiles, run.environment, run.fingerprint):
        file.unlink()
    assert len(prepare(experiment).trials) == 1
