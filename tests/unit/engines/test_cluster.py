"""The cluster engine: for real with Parsl's workers on this machine, and with stand-ins for the schedulers' commands.

Trials are stand-ins, too: a program called ``counterpoise`` that does what its trial's folder says.
"""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from parsl.executors.high_throughput import executor

from counterpoise.engines import cluster, node, workers
from counterpoise.engines.cluster import run_trials_on_cluster
from counterpoise.engines.node import Assignment, Ended, give_order, train_on_node
from counterpoise.engines.queue import Outcome, StoppedError
from counterpoise.errors import ConfigError
from counterpoise.experiment.engine import EngineConfig
from counterpoise.machine.plan import Slot
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import TrialStatus

# Called as: counterpoise trial FOLDER --device D --threads N
STAND_IN = """#!{python} -S
import json, os, pathlib, signal, sys, threading, time
folder = pathlib.Path(sys.argv[2])
attempt = len(list(folder.glob("attempt-*"))) + 1
plan = json.loads((folder / "plan.json").read_text())
act = plan[min(attempt, len(plan)) - 1]
record = {{"arguments": sys.argv[1:], "slot": os.environ.get("SLOT"), "pid": os.getpid(), "worker": os.getppid(),
          "block": os.environ.get("PARSL_WORKER_BLOCK_ID"), "init": os.environ.get("FROM_WORKER_INIT"),
          "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}}
asked = []
signal.signal(signal.SIGINT, lambda *_: asked.append(1))
(folder / f"attempt-{{attempt}}").write_text(json.dumps(record))

def end_with_worker():  # as real trials do
    while os.getppid() == int(os.environ["COUNTERPOISE_RUNNER"]):
        time.sleep(0.05)
    os._exit(130)

threading.Thread(target=end_with_worker, daemon=True).start()

def say(state, reason="", epoch=0):
    (folder / "new.json").write_text(json.dumps({{"version": 1, "state": state, "reason": reason, "epoch": epoch}}))
    os.replace(folder / "new.json", folder / "status.json")

print("this is", folder.name, flush=True)
if act == "finish":
    say("running"); time.sleep(0.05); say("finished")
elif act == "fail":
    say("running"); say("failed", "loss is NaN"); sys.exit(2)
elif act == "killed":
    say("running"); os.kill(os.getpid(), signal.SIGKILL)
elif act == "silent":
    sys.exit(0)
elif act == "hang":
    say("running"); time.sleep(60)
elif act == "until asked":  # to its next checkpoint, as a trial does
    say("running", epoch=attempt)
    while not asked:
        time.sleep(0.05)
    say("waiting", "stopped after epoch 1"); sys.exit(130)
"""

AddTrial = Callable[..., TrialFolder]
HOST = socket.gethostname()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make everything impatient; afterwards no process of a run may be left."""
    monkeypatch.setattr(cluster, "_POLL_S", 0.05)
    monkeypatch.setattr(cluster, "_DISK_PATIENCE_S", 0.5)
    monkeypatch.setattr(node, "_LOOK_S", 0.1)
    monkeypatch.setattr(workers, "_STRATEGY_S", 0.2)
    monkeypatch.setattr(workers, "_HEARTBEAT_S", 1)
    monkeypatch.setattr(workers, "_LOST_AFTER_S", 5)
    before = {child.pid for child in psutil.Process().children()}
    yield
    deadline = time.monotonic() + 10.0
    while (left := {child.pid for child in psutil.Process().children()} - before) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder for scripts and logs, with a stand-in for the program in ``bin``."""
    program = tmp_path / "bin" / "counterpoise"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    return tmp_path


@pytest.fixture
def add_trial(tmp_path: Path) -> AddTrial:
    """Return a function that makes a trial folder; one word per attempt says what the stand-in does."""

    def add(seed: int, *plan: str) -> TrialFolder:
        trial = TrialFolder(tmp_path / "a 'quoted' run" / "trials" / "arm" / f"seed-{seed}")
        trial.path.mkdir(parents=True)
        (trial.path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        return trial

    return add


def here(folder: Path, *, jobs: int = 1, **settings: object) -> EngineConfig:
    """Return an engine on this machine whose workers find the stand-in."""
    init = f'export PATH={shlex.quote(str(folder / "bin"))}:"$PATH"\nexport FROM_WORKER_INIT="two words"'
    return EngineConfig.model_validate(
        {"kind": "parsl_local", "jobs": jobs, "gpus": 0, "cores": 2, "worker_init": init} | settings
    )


def run(
    trials: list[TrialFolder],
    engine: EngineConfig,
    folder: Path,
    *,
    places: int,
    retries: int = 0,
    on_change: Callable[[], object] = lambda: None,
    said: list[str] | None = None,
) -> tuple[Outcome, ...]:
    slots = [Slot(f"{engine.kind}-{k}", "cpu", 2, (("SLOT", "yes"),)) for k in range(places)]
    say = (lambda _: None) if said is None else said.append
    return run_trials_on_cluster(
        trials, slots, engine, folder / "engine", per_gpu=1, retries=retries, on_change=on_change, say=say
    )


class LostError(Exception):
    """Parsl would say that a worker was lost."""


class Threads:
    """Workers without Parsl: threads of this process, which do on it what nodes would do."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def train(self, assignment: Assignment) -> Future[Ended]:
        return self._pool.submit(self.on_node, assignment)

    def on_node(self, assignment: Assignment) -> Ended:
        return train_on_node(assignment)

    def lost(self, future: Future[Ended]) -> str:
        error = future.exception()
        return str(error) if isinstance(error, LostError) else ""

    def fault(self, is_training: Callable[[], bool]) -> None:
        """Find no fault: threads always come."""
        assert is_training() in {True, False}


@pytest.fixture
def threads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> type[Threads]:
    """Have the engine use threads, and return their class."""

    @contextmanager
    def start(engine: EngineConfig, folder: Path, *, per_node: int) -> Iterator[Threads]:
        with ThreadPoolExecutor(4) as pool:
            yield Threads(pool)

    monkeypatch.setattr(cluster, "start_workers", start)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
    return Threads


def attempts(trial: TrialFolder) -> list[dict[str, object]]:
    return [json.loads(f.read_text(encoding="utf-8")) for f in sorted(trial.path.glob("attempt-*"))]


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


# The engine, on threads ------------------------------------------------------------------------------------------


def test_every_trial_runs_once_and_the_last_reason_of_those_that_fail_is_kept(
    folder: Path, add_trial: AddTrial, threads: type[Threads]
) -> None:
    trials = [add_trial(0, "finish"), add_trial(1, "fail", "finish"), add_trial(2, "killed"), add_trial(3, "silent")]
    outcomes = run(trials, here(folder), folder, places=2, retries=1)
    assert [o.folder for o in outcomes] == trials
    assert [(o.status.state, o.attempts) for o in outcomes] == [
        ("finished", 1),
        ("finished", 2),
        ("failed", 2),
        ("failed", 2),
    ]
    assert outcomes[2].status.reason == f"killed by SIGKILL on {HOST}; log.txt says: this is seed-2"
    assert outcomes[3].status.reason == f"ended with exit code 0 on {HOST}; log.txt says: this is seed-3"
    (record,) = attempts(trials[0])
    assert record["arguments"] == ["trial", str(trials[0].path), "--device", "cpu", "--threads", "2"]
    assert record["slot"] == "yes"
    log = trials[1].log.read_text(encoding="utf-8").splitlines()
    assert log == [f"--- on {HOST}, attempt 1 ---", "this is seed-1", f"--- on {HOST}, attempt 2 ---", "this is seed-1"]


def test_finished_trials_need_no_jobs(folder: Path, add_trial: AddTrial) -> None:
    trial = add_trial(0, "finish")
    TrialStatus("finished").write(trial.status)
    (outcome,) = run([trial], here(folder), folder, places=1)  # Parsl would be started here
    assert (outcome.status.state, outcome.attempts) == ("finished", 0)
    assert not (folder / "engine").exists()


def test_before_the_time_of_a_job_is_over_its_trial_stops_at_its_checkpoint_and_goes_on_in_the_next(
    folder: Path, add_trial: AddTrial, threads: type[Threads], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = add_trial(0, "until asked", "until asked", "finish")
    engine = here(folder, walltime="0:02:00")
    assert engine.train_s == 108

    def let_time_pass() -> None:
        passed = 109 if TrialStatus.read(trial.status).state == "running" else 0
        monkeypatch.setenv(node.JOB_BEGAN, str(int(time.time()) - passed))

    let_time_pass()
    (outcome,) = run([trial], engine, folder, places=1, on_change=let_time_pass)
    assert (outcome.status.state, outcome.attempts) == ("finished", 1)
    assert len(attempts(trial)) == 3


def test_losses_do_not_count_until_there_were_five_in_a_row_without_an_epoch(
    folder: Path, add_trial: AddTrial, threads: type[Threads], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def lose(self: Threads, assignment: Assignment) -> Ended:
        calls.append(assignment)
        trial = TrialFolder(Path(assignment.folder))
        TrialStatus("running", epoch=2 if len(calls) > 3 else 1).write(trial.status)
        raise LostError("node7 does not answer")

    monkeypatch.setattr(threads, "on_node", lose)
    (outcome,) = run([add_trial(0)], here(folder), folder, places=1)
    # Three without progress, then an epoch, and five more in which there is none.
    assert len(calls) == 3 + 5
    assert len({call.token for call in calls}) == len(calls)
    assert (outcome.status.state, outcome.attempts) == ("failed", 1)
    assert "interrupted 5 times in a row without a finished epoch: node7 does not answer" in outcome.status.reason


def test_a_node_without_the_program_is_a_failure_with_a_reason(
    folder: Path, add_trial: AddTrial, threads: type[Threads], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (outcome,) = run([add_trial(0)], here(folder), folder, places=1)
    assert outcome.status.state == "failed"
    assert outcome.status.reason.startswith("FileNotFoundError: [Errno 2] No such file or directory: 'counterpoise'")


def test_ctrl_c_waits_for_checkpoints_and_starts_nothing_more(
    folder: Path, add_trial: AddTrial, threads: type[Threads]
) -> None:
    trials = [add_trial(0, "until asked", "finish"), add_trial(1, "finish")]
    said: list[str] = []
    pressed: list[int] = []

    def press() -> None:
        if not pressed and TrialStatus.read(trials[0].status).state == "running":
            pressed.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    with pytest.raises(StoppedError):
        run(trials, here(folder), folder, places=1, on_change=press, said=said)
    assert {number: signal.getsignal(number) for number in before} == before
    assert [TrialStatus.read(t.status).state for t in trials] == ["waiting", "waiting"]
    assert [len(attempts(t)) for t in trials] == [1, 0]
    assert any("next checkpoint" in line for line in said)
    outcomes = run(trials, here(folder), folder, places=1)
    assert [o.status.state for o in outcomes] == ["finished", "finished"]


# A node ----------------------------------------------------------------------------------------------------------


def assign(trial: TrialFolder, **changes: object) -> Assignment:
    given = {"folder": str(trial.path), "token": "mine", "attempt": 1, "device": "cuda:0", "threads": 3}
    rest = {"environment": (), "gpus": 0, "per_gpu": 1, "train_s": None}
    return Assignment(**{**given, **rest, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("visible", "rank", "gpus", "per_gpu", "own"),
    [
        (None, "1", 2, 1, "1"),
        ("2,3", "0", 2, 1, "2"),
        ("2,3", "1", 2, 1, "3"),
        ("2,3", "1", 2, 2, "2"),
        ("2,3", "3", 2, 2, "3"),
        ("MIG-a,MIG-b", "1", 2, 1, "MIG-b"),
        (None, "5", 0, 1, None),
    ],
)
def test_a_worker_has_its_own_gpu_of_those_the_scheduler_gave(
    visible: str | None,
    rank: str,
    gpus: int,
    per_gpu: int,
    own: str | None,
    folder: Path,
    add_trial: AddTrial,
    threads: type[Threads],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = add_trial(0, "finish")
    give_order(trial, "mine", "")
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("PARSL_WORKER_RANK", rank)
    assert train_on_node(assign(trial, gpus=gpus, per_gpu=per_gpu)) == Ended("", 0, HOST)
    assert attempts(trial)[0]["gpu"] == own


def test_a_job_with_fewer_gpus_than_asked_for_is_an_error(
    add_trial: AddTrial, threads: type[Threads], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(RuntimeError, match=r"engine\.gpus is 2, the job on .* has CUDA_VISIBLE_DEVICES=0"):
        train_on_node(assign(add_trial(0, "finish"), gpus=2))


def test_a_trial_that_was_given_to_another_is_neither_started_nor_kept_running(
    add_trial: AddTrial, threads: type[Threads]
) -> None:
    trial = add_trial(0, "hang")
    give_order(trial, "another", "")
    assert train_on_node(assign(trial)).order == "replaced"
    assert attempts(trial) == []
    give_order(trial, "mine", "")
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(train_on_node, assign(trial))
        while TrialStatus.read(trial.status).state != "running":
            time.sleep(0.02)
        give_order(trial, "another", "")
        assert future.result(10) == Ended("replaced", -signal.SIGTERM, HOST)


def test_a_job_without_time_left_starts_nothing(
    add_trial: AddTrial, threads: type[Threads], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = add_trial(0, "finish")
    give_order(trial, "mine", "")
    monkeypatch.setenv(node.JOB_BEGAN, str(int(time.time()) - 100))
    assert train_on_node(assign(trial, train_s=99)).order == "time"
    assert attempts(trial) == []
    assert train_on_node(assign(trial, train_s=200)) == Ended("", 0, HOST)


def test_orders_that_cannot_be_read_stop_nothing(add_trial: AddTrial, threads: type[Threads]) -> None:
    trial = add_trial(0, "finish")
    trial.orders.write_text('{"tok', encoding="utf-8")
    assert train_on_node(assign(trial)) == Ended("", 0, HOST)


# With Parsl ------------------------------------------------------------------------------------------------------


def test_trials_finish_although_a_worker_and_then_a_whole_job_are_killed(folder: Path, add_trial: AddTrial) -> None:
    trials = [add_trial(0, "hang", "finish"), add_trial(1, "hang", "finish"), add_trial(2, "fail", "finish")]
    killed: list[int] = []

    def kill() -> None:
        first, second = trials[:2]
        if not killed and all(TrialStatus.read(t.status).state == "running" for t in (first, second)):
            killed.append(int(str(attempts(first)[0]["worker"])))
            os.kill(killed[0], signal.SIGKILL)
        elif len(killed) == 1 and len(attempts(first)) == 2:
            # As a scheduler does when the time is over: every process of the job at once.
            pool = psutil.Process(int(str(attempts(second)[0]["worker"]))).parent()
            assert pool is not None
            killed.append(pool.pid)
            for process in [*pool.children(recursive=True), pool]:
                process.kill()

    outcomes = run(trials, here(folder), folder, places=2, retries=1, on_change=kill)
    assert len(killed) == 2
    # What was lost with its worker or its job does not count as an attempt; a failure does.
    assert [(o.status.state, o.attempts) for o in outcomes] == [("finished", 1), ("finished", 1), ("finished", 2)]
    assert [a["block"] for a in attempts(trials[1])] == ["0", "1"]
    assert not any(is_alive(int(str(a["pid"]))) for t in trials for a in attempts(t))
    assert attempts(trials[0])[0]["init"] == "two words"


SLURM = {
    "sbatch": """
        setsid bash "$1" > "$1.stdout" 2> "$1.stderr" < /dev/null &
        echo $! >> "$SCHEDULER/jobs"
        cp "$1" "$SCHEDULER/script"
        echo "Submitted batch job $!"
    """,
    "sacct": """
        for job in $(cat "$SCHEDULER/jobs" 2> /dev/null); do
            if kill -0 "$job" 2> /dev/null; then echo "$job RUNNING"; else echo "$job COMPLETED"; fi
        done
    """,
    "scancel": """
        echo "$@" >> "$SCHEDULER/cancelled"
        for job in "$@"; do kill -TERM -- "-$job"; done
    """,
}


def add_commands(folder: Path, commands: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Put stand-ins for a scheduler's commands on the path; they write to the folder."""
    for name, text in commands.items():
        program = folder / "scheduler" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/bash\n{text}", encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setenv("SCHEDULER", str(folder / "scheduler"))
    monkeypatch.setenv("PATH", f"{folder / 'scheduler'}:{os.environ['PATH']}")


def test_jobs_of_slurm_run_trials_and_are_cancelled_at_sigterm(
    folder: Path, add_trial: AddTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_commands(folder, SLURM, monkeypatch)

    def ask_the_internet() -> set[str]:
        raise AssertionError("Parsl's search for addresses asks a server on the internet")

    monkeypatch.setattr(executor, "get_all_addresses", ask_the_internet)
    trials = [add_trial(0, "finish"), add_trial(1, "hang")]

    def stop() -> None:
        if TrialStatus.read(trials[1].status).state == "running":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedError):
        run(trials, here(folder, kind="slurm", walltime="0:10:00"), folder, places=2, on_change=stop)
    assert TrialStatus.read(trials[1].status).state == "waiting"
    assert not is_alive(int(str(attempts(trials[1])[0]["pid"])))
    jobs = (folder / "scheduler" / "jobs").read_text(encoding="ascii").split()
    assert len(jobs) == 1
    assert (folder / "scheduler" / "cancelled").read_text(encoding="ascii").split() == jobs
    script = (folder / "scheduler" / "script").read_text(encoding="ascii")
    assert "--drain_period=540" in script
    found = re.search(r" -a (\S+) ", script)
    assert found is not None
    assert set(found[1].split(",")) == workers._own_addresses()


def test_a_scheduler_that_refuses_every_job_ends_the_run_with_its_words(
    folder: Path, add_trial: AddTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_commands(folder, {"sbatch": "echo 'sbatch: error: invalid partition: gpuu' >&2; exit 1"}, monkeypatch)
    with pytest.raises(ConfigError, match="jobs were refused") as raised:
        run([add_trial(0)], here(folder, kind="slurm", walltime="0:10:00"), folder, places=1)
    assert "invalid partition: gpuu" in raised.value.found


DRIVER = """
import sys
from pathlib import Path
from counterpoise.experiment.engine import EngineConfig
from counterpoise.runs.layout import TrialFolder
from counterpoise.engines import workers
from counterpoise.engines.cluster import run_trials_on_cluster
from counterpoise.machine.plan import Slot
workers._STRATEGY_S, workers._HEARTBEAT_S, workers._LOST_AFTER_S = 0.2, 1, 3
engine = EngineConfig.model_validate_json(sys.argv[1])
run_trials_on_cluster(
    [TrialFolder(Path(sys.argv[2]))], [Slot("a", "cpu", 1, ())], engine, Path(sys.argv[3]), per_gpu=1, retries=0
)
"""


def test_when_the_engine_is_killed_its_workers_end_their_trials_and_themselves(
    folder: Path, add_trial: AddTrial
) -> None:
    trial, engine = add_trial(0, "hang"), here(folder).model_dump_json()
    command = [sys.executable, "-c", DRIVER, engine, str(trial.path), str(folder / "engine")]
    with subprocess.Popen(command) as driver:
        while TrialStatus.read(trial.status).state != "running":
            assert driver.poll() is None
            time.sleep(0.05)
        (record,) = attempts(trial)
        worker = psutil.Process(int(str(record["worker"])))
        others = [*worker.parents()[:1], worker, *interchanges_of(driver.pid)]
        assert len(others) == 3
        driver.kill()
    deadline = time.monotonic() + 30.0
    while (left := [p for p in others if is_alive(p.pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
    assert not is_alive(int(str(record["pid"])))


def interchanges_of(pid: int) -> list[psutil.Process]:
    return [p for p in psutil.Process(pid).children() if "interchange" in " ".join(p.cmdline())]


# What schedulers are asked for -----------------------------------------------------------------------------------


def submit(engine: EngineConfig, folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, says: str) -> str:
    """Submit one job to a stand-in for a scheduler's command, and return the script it was given."""
    keep = """
        if [ $# -gt 0 ]; then cat "${@: -1}"; else cat; fi > "$SCHEDULER/script"
        echo "$@" > "$SCHEDULER/arguments"
    """
    add_commands(folder, {command: f"{keep}\necho '{says}'"}, monkeypatch)
    provider = workers._provider(engine)
    provider.script_dir = str(folder)
    assert provider.submit("process_worker_pool.py --block_id=0", 1, "block-0") == "42"
    return (folder / "scheduler" / "script").read_text(encoding="utf-8")


def test_slurm_is_asked_for_what_the_table_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EngineConfig(
        kind="slurm",
        nodes=2,
        gpus=4,
        cores=32,
        memory_gb=200,
        walltime="12:30:00",
        queue="gpu",
        account="lab-7",
        options="#SBATCH --qos=short\n",
        worker_init="module load cuda\nsource '/data/my env/bin/activate'",
    )
    lines = submit(engine, folder, monkeypatch, "sbatch", "Submitted batch job 42").splitlines()
    directives = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")}
    assert directives >= {
        *("--time=750", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=32", "--mem=200g"),
        *("--gpus-per-node=4", "--partition=gpu", "--account=lab-7", "--qos=short"),
    }
    assert "--exclusive" not in directives
    start = lines.index(f"export {node.JOB_BEGAN}=$(date +%s)")
    assert lines[start + 1 : start + 4] == [
        f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"',
        "module load cuda",
        "source '/data/my env/bin/activate'",
    ]
    assert any(line.startswith("srun --ntasks 2 ") for line in lines)


def test_lsf_is_asked_for_what_the_table_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EngineConfig(
        kind="lsf", gpus=2, cores=12, walltime="4:00:00", queue="gpu_a100", account="lab", options="#BSUB -M 64GB"
    )
    lines = submit(engine, folder, monkeypatch, "bsub", "Job <42> is submitted to queue <gpu_a100>.").splitlines()
    directives = {line.removeprefix("#BSUB ") for line in lines if line.startswith("#BSUB")}
    assert directives >= {
        *("-W 240", "-n 12", '-R "span[ptile=12]"', '-gpu "num=2"', "-q gpu_a100", "-P lab", "-M 64GB")
    }
    assert "process_worker_pool.py --block_id=0" in lines
    # The script comes by standard input: bsub reads no directives in a file that it is told to run.
    assert (folder / "scheduler" / "arguments").read_text(encoding="utf-8") == "\n"


def test_pbs_is_asked_for_what_the_table_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EngineConfig(
        kind="pbs", gpus=1, cores=6, memory_gb=48, walltime="4:00:00", queue="gpuq", account="lab", options="#PBS -m e"
    )
    lines = submit(engine, folder, monkeypatch, "qsub", "42").splitlines()
    directives = {line.removeprefix("#PBS ") for line in lines if line.startswith("#PBS")}
    assert directives >= {"-l walltime=4:00:00", "-l select=1:ncpus=6:ngpus=1:mem=48gb", "-m e"}
    arguments = (folder / "scheduler" / "arguments").read_text(encoding="utf-8")
    assert arguments.startswith("-q gpuq -A lab ")


@pytest.fixture
def api_server() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Return the address of a stand-in for Kubernetes' server, and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({"method": self.command, "path": self.path, "body": body})
            answer = json.dumps(body if self.command == "POST" else {"kind": "Status"}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_DELETE(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Be silent."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_kubernetes_is_asked_for_what_the_table_says(
    folder: Path, api_server: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = api_server
    cluster_entry = {"name": "here", "cluster": {"server": address}}
    context = {"name": "here", "context": {"cluster": "here", "user": "me"}}
    content = {"clusters": [cluster_entry], "contexts": [context], "users": [{"name": "me", "user": {}}]}
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(content | {"current-context": "here"}), encoding="utf-8")
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    engine = EngineConfig(
        kind="kubernetes",
        gpus=2,
        cores=6,
        memory_gb=48,
        image="registry/image:1",
        namespace="lab",
        volumes={"experiments": "/experiments"},
        worker_init="source /opt/env/bin/activate",
    )
    provider = workers._provider(engine)
    job = provider.submit("process_worker_pool.py --block_id=0", 1, "block-0")
    provider.cancel([job])
    (made, deleted) = asked
    assert (made["method"], made["path"]) == ("POST", "/api/v1/namespaces/lab/pods")
    (container,) = made["body"]["spec"]["containers"]
    wanted = {"cpu": "6", "memory": "48G", "nvidia.com/gpu": "2"}
    assert container["image"] == "registry/image:1"
    assert container["resources"] == {"limits": wanted, "requests": wanted}
    assert container["volumeMounts"] == [{"mountPath": "/experiments", "name": "experiments"}]
    (volume,) = made["body"]["spec"]["volumes"]
    assert volume["persistentVolumeClaim"] == {"claimName": "experiments"}
    lines = container["args"][1].split("\n")
    assert [line for line in lines if line] == [
        f"export {node.JOB_BEGAN}=$(date +%s)",
        "source /opt/env/bin/activate",
        "process_worker_pool.py --block_id=0",
    ]
    name = made["body"]["metadata"]["name"]
    assert (deleted["method"], deleted["path"]) == ("DELETE", f"/api/v1/namespaces/lab/pods/{name}")


# What cannot work ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "missing", "extra"), [("slurm", "parsl", "cluster"), ("kubernetes", "kubernetes", "kubernetes")]
)
def test_a_missing_package_is_named_with_its_extra(
    kind: str, missing: str, extra: str, folder: Path, add_trial: AddTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError) as raised:
        run([add_trial(0)], here(folder, kind=kind, walltime="1:00:00", image="registry/image:1"), folder, places=1)
    assert raised.value.expected == missing
    assert f'pip install "counterpoise[{extra}]"' in raised.value.remedy


def test_parsl_cannot_work_in_a_folder_with_a_space(folder: Path, add_trial: AddTrial) -> None:
    with pytest.raises(ConfigError, match="Parsl cannot work in") as raised:
        run([add_trial(0)], here(folder), folder / "my runs", places=1)
    assert "--print-jobs" in raised.value.remedy
