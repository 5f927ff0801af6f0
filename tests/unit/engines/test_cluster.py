"""The cluster engine: what a node does, Parsl's workers on this machine, and what schedulers are asked for.

Trials are stand-ins, and so are the schedulers' commands. What all engines promise is in test_contract.py.
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
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from parsl.executors.high_throughput import executor

from counterpoise.engines import cluster, node, workers
from counterpoise.engines.driver import run_trials
from counterpoise.engines.engine import Reason, StoppedError
from counterpoise.engines.node import Assignment, NodeResult, Order, give_order, train_on_node
from counterpoise.errors import ConfigError
from counterpoise.experiment.engine import EngineConfig
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import TrialStatus

HOST = socket.gethostname()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make everything impatient; afterwards no process of a run may be left."""
    monkeypatch.setattr(cluster, "_LOOK_S", 0.05)
    monkeypatch.setattr(cluster, "_DISK_PATIENCE_S", 0.5)
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
def on_path(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process find the stand-in, as a node would."""
    monkeypatch.setenv("PATH", f"{kit.program.parent}:{os.environ['PATH']}")


# The engine, on a thread ------------------------------------------------------------------------------------------


class Thread:
    """One worker without Parsl: a thread of this process, which does on it what a node would do."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def train(self, assignment: Assignment) -> Future[NodeResult]:
        return self._pool.submit(train_on_node, assignment)

    def lost(self, future: Future[NodeResult]) -> str:
        return "worker 7 was lost" if isinstance(future.exception(), TimeoutError) else ""

    def fault(self, _: Callable[[], bool]) -> ConfigError | None:
        return None


@pytest.fixture
def thread(on_path: None, monkeypatch: pytest.MonkeyPatch) -> type[Thread]:
    @contextmanager
    def start(engine: EngineConfig, folder: Path, *, per_node: int) -> Iterator[Thread]:
        with ThreadPoolExecutor(1) as pool:
            yield Thread(pool)

    monkeypatch.setattr(cluster, "start_workers", start)
    return Thread


def test_before_the_time_of_a_job_is_over_its_trial_stops_at_its_checkpoint_and_goes_on_in_the_next(
    kit: Any, thread: type[Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = kit.add(0, "until asked", "until asked", "finish")
    engine = kit.config("parsl_local", walltime="0:02:00")
    assert engine.train_s == 108

    def let_time_pass() -> None:
        passed = 109 if TrialStatus.read(trial.status).state == "running" else 0
        monkeypatch.setenv(node.JOB_BEGAN, str(int(time.time()) - passed))

    let_time_pass()
    (outcome,) = run_trials(kit.request([trial], engine, on_change=let_time_pass))
    assert (outcome.status.state, outcome.attempts, outcome.reason) == ("finished", 1, None)
    assert len(kit.attempts(trial)) == 3


def test_a_lost_worker_is_no_attempt(kit: Any, thread: type[Thread], monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = list[str]()

    def train(self: Thread, assignment: Assignment) -> Future[NodeResult]:
        tokens.append(assignment.token)
        if len(tokens) > 2:
            return self._pool.submit(train_on_node, assignment)
        future = Future[NodeResult]()
        future.set_exception(TimeoutError())
        return future

    monkeypatch.setattr(thread, "train", train)
    (outcome,) = run_trials(kit.request([kit.add(0, "finish")], "parsl_local"))
    assert (outcome.status.state, outcome.attempts) == ("finished", 1)
    assert len(set(tokens)) == 3


def test_a_node_without_the_program_is_a_failure_with_a_reason(
    kit: Any, thread: type[Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (outcome,) = run_trials(kit.request([kit.add(0)], "parsl_local"))
    assert (outcome.status.state, outcome.reason) == ("failed", Reason.NOT_STARTED)
    assert "FileNotFoundError" in outcome.status.reason


def test_the_signal_of_the_helpers_is_a_stop_and_no_fault(
    kit: Any, thread: type[Thread], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(self: Thread, is_training: Callable[[], bool]) -> ConfigError | None:
        if not is_training():
            return None
        os.kill(os.getpid(), signal.SIGTERM)  # and by the time of the next look the interchange has ended of it
        monkeypatch.setattr(thread, "fault", lambda *_: ConfigError("gone", expected="", found="", remedy=""))
        return None

    monkeypatch.setattr(thread, "fault", fault)
    with pytest.raises(StoppedError):
        run_trials(kit.request([kit.add(0, "hang")], "parsl_local"))


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
    kit: Any,
    on_path: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trial = kit.add(0, "finish")
    give_order(trial, "mine", Order.NONE)
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setenv("PARSL_WORKER_RANK", rank)
    assert train_on_node(assign(trial, gpus=gpus, per_gpu=per_gpu)) == NodeResult(Order.NONE, 0, HOST)
    assert kit.attempts(trial)[0]["gpu"] == own


def test_a_job_with_fewer_gpus_than_asked_for_is_an_error(
    kit: Any, on_path: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(RuntimeError, match=r"engine\.gpus is 2, the job on .* has CUDA_VISIBLE_DEVICES=0"):
        train_on_node(assign(kit.add(0, "finish"), gpus=2))


def test_a_trial_that_was_given_to_another_is_neither_started_nor_kept_running(kit: Any, on_path: None) -> None:
    trial = kit.add(0, "hang")
    give_order(trial, "another", Order.NONE)
    assert train_on_node(assign(trial)).order is Order.REPLACED
    assert kit.attempts(trial) == []
    give_order(trial, "mine", Order.NONE)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(train_on_node, assign(trial))
        while TrialStatus.read(trial.status).state != "running":
            time.sleep(0.02)
        give_order(trial, "another", Order.NONE)
        assert future.result(10) == NodeResult(Order.REPLACED, -signal.SIGTERM, HOST)


def test_a_job_without_time_left_starts_nothing(kit: Any, on_path: None, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = kit.add(0, "finish")
    give_order(trial, "mine", Order.NONE)
    monkeypatch.setenv(node.JOB_BEGAN, str(int(time.time()) - 100))
    assert train_on_node(assign(trial, train_s=99)).order is Order.OUT_OF_TIME
    assert kit.attempts(trial) == []
    assert train_on_node(assign(trial, train_s=200)) == NodeResult(Order.NONE, 0, HOST)


def test_orders_that_cannot_be_read_stop_nothing(kit: Any, on_path: None) -> None:
    trial = kit.add(0, "finish")
    trial.orders.write_text('{"tok', encoding="utf-8")
    assert train_on_node(assign(trial)) == NodeResult(Order.NONE, 0, HOST)


# With Parsl ------------------------------------------------------------------------------------------------------


def test_trials_finish_although_a_worker_and_then_a_whole_job_are_killed(kit: Any) -> None:
    trials = [kit.add(0, "hang", "finish"), kit.add(1, "hang", "finish"), kit.add(2, "fail", "finish")]
    killed: list[int] = []

    def kill() -> None:
        first, second = trials[:2]
        if not killed and all(TrialStatus.read(t.status).state == "running" for t in (first, second)):
            killed.append(kit.attempts(first)[0]["worker"])
            os.kill(killed[0], signal.SIGKILL)
        elif len(killed) == 1 and len(kit.attempts(first)) == 2:
            # As a scheduler does when the time is over: every process of the job at once.
            pool = psutil.Process(kit.attempts(second)[0]["worker"]).parent()
            assert pool is not None
            killed.append(pool.pid)
            for process in [*pool.children(recursive=True), pool]:
                process.kill()

    outcomes = run_trials(kit.request(trials, "parsl_local", places=2, retries=1, on_change=kill))
    assert len(killed) == 2
    # What was lost with its worker or its job does not count as an attempt; a failure does.
    assert [(o.status.state, o.attempts) for o in outcomes] == [("finished", 1), ("finished", 1), ("finished", 2)]
    assert [a["block"] for a in kit.attempts(trials[1])] == ["0", "1"]
    assert not any(kit.is_alive(a["pid"]) for t in trials for a in kit.attempts(t))
    assert kit.attempts(trials[0])[0]["init"] == "two words"


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


def test_jobs_of_slurm_run_trials_and_are_cancelled_at_sigterm(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add_commands(kit.folder, SLURM, monkeypatch)

    def ask_the_internet() -> set[str]:
        raise AssertionError("Parsl's search for addresses asks a server on the internet")

    monkeypatch.setattr(executor, "get_all_addresses", ask_the_internet)
    trials = [kit.add(0, "finish"), kit.add(1, "hang")]

    def stop() -> None:
        if TrialStatus.read(trials[1].status).state == "running":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StoppedError):
        run_trials(kit.request(trials, kit.config("slurm", walltime="0:10:00"), places=2, on_change=stop))
    assert TrialStatus.read(trials[1].status).state == "waiting"
    assert not kit.is_alive(kit.attempts(trials[1])[0]["pid"])
    jobs = (kit.folder / "scheduler" / "jobs").read_text(encoding="ascii").split()
    assert len(jobs) == 1
    assert (kit.folder / "scheduler" / "cancelled").read_text(encoding="ascii").split() == jobs
    script = (kit.folder / "scheduler" / "script").read_text(encoding="ascii")
    assert "--drain_period=540" in script
    found = re.search(r" -a (\S+) ", script)
    assert found is not None
    assert set(found[1].split(",")) == workers._own_addresses()


def test_a_scheduler_that_refuses_every_job_ends_the_run_with_its_words(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_commands(kit.folder, {"sbatch": "echo 'sbatch: error: invalid partition: gpuu' >&2; exit 1"}, monkeypatch)
    with pytest.raises(ConfigError, match="jobs were refused") as raised:
        run_trials(kit.request([kit.add(0)], "slurm"))
    assert "invalid partition: gpuu" in raised.value.found


DRIVER = """
import sys
from pathlib import Path
from counterpoise.experiment.engine import EngineConfig
from counterpoise.runs.layout import TrialFolder
from counterpoise.engines import workers
from counterpoise.engines.driver import run_trials
from counterpoise.engines.engine import EngineRequest
from counterpoise.machine.plan import Slot
workers._STRATEGY_S, workers._HEARTBEAT_S, workers._LOST_AFTER_S = 0.2, 1, 3
engine = EngineConfig.model_validate_json(sys.argv[1])
run_trials(EngineRequest([TrialFolder(Path(sys.argv[2]))], [Slot("a", "cpu", 1, ())], engine, Path(sys.argv[3])))
"""


def test_when_the_engine_is_killed_its_workers_end_their_trials_and_themselves(kit: Any) -> None:
    trial, engine = kit.add(0, "hang"), kit.config("parsl_local").model_dump_json()
    command = [sys.executable, "-c", DRIVER, engine, str(trial.path), str(kit.folder / "engine")]
    with subprocess.Popen(command) as driver:
        while TrialStatus.read(trial.status).state != "running":
            assert driver.poll() is None
            time.sleep(0.05)
        (record,) = kit.attempts(trial)
        worker = psutil.Process(record["worker"])
        others = [*worker.parents()[:1], worker, *interchanges_of(driver.pid)]
        assert len(others) == 3
        assert os.getsid(others[-1].pid) == others[-1].pid  # out of reach of signals to the engine's group
        driver.kill()
    deadline = time.monotonic() + 30.0
    while (left := [p for p in others if kit.is_alive(p.pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []
    assert not kit.is_alive(record["pid"])


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


def test_slurm_is_asked_for_what_the_table_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    lines = submit(engine, tmp_path, monkeypatch, "sbatch", "Submitted batch job 42").splitlines()
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


def test_lsf_is_asked_for_what_the_table_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EngineConfig(
        kind="lsf", gpus=2, cores=12, walltime="4:00:00", queue="gpu_a100", account="lab", options="#BSUB -M 64GB"
    )
    lines = submit(engine, tmp_path, monkeypatch, "bsub", "Job <42> is submitted to queue <gpu_a100>.").splitlines()
    directives = {line.removeprefix("#BSUB ") for line in lines if line.startswith("#BSUB")}
    assert directives >= {
        *("-W 240", "-n 12", '-R "span[ptile=12]"', '-gpu "num=2"', "-q gpu_a100", "-P lab", "-M 64GB")
    }
    assert "process_worker_pool.py --block_id=0" in lines
    # The script comes by standard input: bsub reads no directives in a file that it is told to run.
    assert (tmp_path / "scheduler" / "arguments").read_text(encoding="utf-8") == "\n"


def test_pbs_is_asked_for_what_the_table_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = EngineConfig(
        kind="pbs", gpus=1, cores=6, memory_gb=48, walltime="4:00:00", queue="gpuq", account="lab", options="#PBS -m e"
    )
    lines = submit(engine, tmp_path, monkeypatch, "qsub", "42").splitlines()
    directives = {line.removeprefix("#PBS ") for line in lines if line.startswith("#PBS")}
    assert directives >= {"-l walltime=4:00:00", "-l select=1:ncpus=6:ngpus=1:mem=48gb", "-m e"}
    arguments = (tmp_path / "scheduler" / "arguments").read_text(encoding="utf-8")
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
    tmp_path: Path, api_server: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = api_server
    cluster_entry = {"name": "here", "cluster": {"server": address}}
    context = {"name": "here", "context": {"cluster": "here", "user": "me"}}
    content = {"clusters": [cluster_entry], "contexts": [context], "users": [{"name": "me", "user": {}}]}
    kubeconfig = tmp_path / "kubeconfig"
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
    kind: str, missing: str, extra: str, kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigError) as raised:
        run_trials(kit.request([kit.add(0)], kit.config(kind, image="registry/image:1")))
    assert raised.value.expected == missing
    assert f'pip install "counterpoise[{extra}]"' in raised.value.remedy


def test_parsl_cannot_work_in_a_folder_with_a_space(kit: Any) -> None:
    with pytest.raises(ConfigError, match="Parsl cannot work in") as raised:
        run_trials(replace(kit.request([kit.add(0)], "parsl_local"), folder=kit.folder / "my runs"))
    assert "--print-jobs" in raised.value.remedy
