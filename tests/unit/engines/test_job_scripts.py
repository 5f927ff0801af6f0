"""Job scripts: their text, and their tasks run by bash, with stand-ins for the trial's command and for ``scontrol``."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from counterpoise.cli import app
from counterpoise.engines.job_scripts import array_script, submit_command
from counterpoise.engines.node import JOB_BEGAN
from counterpoise.errors import ConfigError
from counterpoise.experiment.engine import EngineConfig
from counterpoise.machine.plan import Slot
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import TrialStatus


@pytest.fixture
def trials(kit: Any) -> list[TrialFolder]:
    """Return trials that finish, go on until they are interrupted, and fail."""
    return [kit.add(seed, act) for seed, act in enumerate(("finish", "until asked", "crash"))]


def engine(kind: str, **changes: object) -> EngineConfig:
    table = {"kind": kind, "jobs": 2, "gpus": 2, "cores": 16, "memory_gb": 100, "walltime": "4:00:00", "queue": "gpu"}
    return EngineConfig.model_validate(table | {"account": "lab"} | changes)


def script(kind: str, trials: list[TrialFolder], logs: Path, **changes: object) -> str:
    slots = [Slot(f"{kind}-{k}", "cuda:0", 8, (("SLOT", "a b"),)) for k in range(2)]
    return array_script(kind, engine(kind, **changes), trials, slots, logs=logs, environment={"PYTHONPATH": "/my own"})


def directives(text: str, mark: str) -> set[str]:
    """Return the lines for the scheduler, which must all come before the first line for the shell."""
    head, _, body = text.partition("\n\n")
    assert mark not in body
    return {line.removeprefix(mark + " ") for line in head.splitlines()[1:]}


def test_slurm_is_asked_for_one_gpu_and_its_share_of_a_node_per_trial(trials: list[TrialFolder]) -> None:
    text = script("slurm", trials, Path("/data/run/engine"), options="#SBATCH --qos=short")
    assert text.startswith("#!/bin/bash\n")
    assert directives(text, "#SBATCH") == {
        *("--job-name=counterpoise", "--array=0-2%2", "--time=4:00:00", "--nodes=1", "--ntasks=1"),
        *("--cpus-per-task=8", "--mem=50G", "--gpus-per-node=1", "--partition=gpu", "--account=lab"),
        *("--output=/data/run/engine/slurm-%A_%a.out", "--open-mode=append", "--requeue", "--qos=short"),
    }
    assert "left=$(( COUNTERPOISE_JOB_BEGAN + 13800 - $(date +%s) ))" in text  # four hours less ten minutes


def test_lsf_is_asked_for_one_gpu_and_its_share_of_the_cores_per_trial(trials: list[TrialFolder]) -> None:
    text = script("lsf", trials, Path("/data/run/engine"), options='#BSUB -R "rusage[mem=16GB]"')
    assert directives(text, "#BSUB") == {
        *('-J "counterpoise[1-3]%2"', "-W 4:00", "-n 8", '-R "span[hosts=1]"', '-gpu "num=1"', "-q gpu", "-P lab"),
        *("-o /data/run/engine/lsf-%J_%I.out", '-Q "124"', "-r", '-R "rusage[mem=16GB]"'),
    }


def test_without_gpus_and_in_a_folder_that_needs_quotes_less_is_asked_for(trials: list[TrialFolder]) -> None:
    text = script("slurm", trials, Path("/my data/engine"), gpus=0, queue="", account="")
    asked = directives(text, "#SBATCH")
    assert "--output=slurm-%A_%a.out" in asked
    assert not any(line.startswith(("--gpus", "--partition", "--account")) for line in asked)


@pytest.mark.parametrize("kind", ["slurm", "lsf"])
@pytest.mark.parametrize("task", [0, 1, 2])
def test_a_task_trains_its_trial_and_one_without_time_queues_again(
    kind: str, task: int, kit: Any, trials: list[TrialFolder], tmp_path: Path
) -> None:
    scontrol = kit.program.parent / "scontrol"
    scontrol.write_text(f'#!/bin/bash\necho "$@" >> {tmp_path}/scontrol.txt\n', encoding="utf-8")
    scontrol.chmod(0o755)
    # What comes before the trial has taken longer than the job has: there is a second left.
    init = f"export PATH={kit.program.parent}:\"$PATH\"\nexport INIT='two words' {JOB_BEGAN}=$(( {JOB_BEGAN} - 500 ))"
    file = tmp_path / "my jobs.sh"
    file.write_text(script(kind, trials, tmp_path, walltime="0:02:00", worker_init=init), encoding="utf-8")
    subprocess.run(["bash", "-n", str(file)], check=True)
    numbers = {
        "slurm": {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_JOB_ID": "77"},
        "lsf": {"LSB_JOBINDEX": str(task + 1)},
    }
    ended = subprocess.run(
        ["bash", str(file)],
        env={**os.environ, **numbers[kind]},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == ((0, 124, 3)[task], "")
    (called,) = kit.attempts(trials[task])
    assert called["arguments"] == ["trial", str(trials[task].path), "--device", "cuda:0", "--threads", "8"]
    assert (called["slot"], called["init"]) == ("a b", "two words")
    assert sum(len(kit.attempts(trial)) for trial in trials) == 1
    requeued = tmp_path / "scontrol.txt"
    assert requeued.exists() is (kind == "slurm" and task == 1)
    if requeued.exists():
        assert requeued.read_text(encoding="utf-8") == "requeue 77_1\n"
        assert TrialStatus.read(trials[1].status).reason == "stopped after epoch 3"


def test_outside_of_an_array_job_a_script_says_how_to_submit_it(trials: list[TrialFolder], tmp_path: Path) -> None:
    file = tmp_path / "jobs.sh"
    file.write_text(script("slurm", trials, tmp_path), encoding="utf-8")
    without = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    ended = subprocess.run(["bash", str(file)], env=without, check=False, capture_output=True, text=True)
    assert ended.returncode != 0
    assert "is set by sbatch" in ended.stderr


def test_a_table_for_another_scheduler_is_refused(trials: list[TrialFolder], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not say what a job of lsf asks for") as raised:
        array_script("lsf", engine("slurm"), trials, [], logs=tmp_path, environment={})
    assert raised.value.found == 'kind = "slurm"'


def test_the_line_that_submits_a_script_is_quoted() -> None:
    assert submit_command("slurm", Path("/a b/trials.slurm.sh")) == "sbatch '/a b/trials.slurm.sh'"
    assert submit_command("lsf", Path("/a/trials.lsf.sh")) == "bsub < /a/trials.lsf.sh"


def test_the_printed_script_trains_a_real_trial_and_nothing_is_tried_here(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    file = tmp_path / "my experiment.toml"
    file.write_text(EXPERIMENT.format(datasplit=phantom), encoding="utf-8")
    with pytest.raises(SystemExit) as raised:
        app.app(["run", str(file), "--print-jobs", "slurm"], standalone_mode=True)
    assert raised.value.code == 0
    printed = capsys.readouterr()
    kept = tmp_path / "my run" / "engine" / "trials.slurm.sh"
    assert printed.out == kept.read_text(encoding="utf-8")
    assert f"sbatch '{kept}'" in printed.err
    for command, told in (
        ("plan", "not measured: trials run on slurm, not here"),
        ("check", "not tried: trials run on"),
    ):
        with pytest.raises(SystemExit) as raised:
            app.app([command, str(file)], standalone_mode=True)
        assert raised.value.code == 0
        assert told in capsys.readouterr().out
    task = {**os.environ, "SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_JOB_ID": "1"}
    trial = TrialFolder(tmp_path / "my run" / "trials" / "weight_uniform" / "seed-0")
    subprocess.run(["bash", str(kept)], env=task, check=True, timeout=300)
    assert json.loads(trial.status.read_text(encoding="utf-8"))["state"] == "finished"
    assert "Done: best Val Dice" in trial.log.read_text(encoding="utf-8").splitlines()[-1]


EXPERIMENT = """
preset = "demo"
[data]
datasplit = "{datasplit}"
classes = ["pm", "nuc"]
[model]
width = 2
depth = 1
[training]
epochs = 1
steps_per_epoch = 2
batch_size = 2
[validation]
tiles_per_crop = 1
[arms]
strategies = ["weight_uniform", "weight_inv_freq"]
seeds = 1
design = "fixed"
[run]
folder = "my run"
[engine]
kind = "slurm"
walltime = "0:30:00"
gpus = 0
cores = 1
"""
