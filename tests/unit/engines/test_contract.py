"""What :mod:`counterpoise.engines.engine` promises, tested for every engine with stand-ins for trials.

- local: processes of this machine.
- cluster: threads of this process instead of Parsl's workers; they do on it what nodes would do.
- job scripts: a scheduler that runs the tasks of the array script one after the other, with bash.
"""

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from counterpoise.engines import cluster, driver
from counterpoise.engines.driver import run_trials
from counterpoise.engines.engine import Ended, EngineRequest, Reason, StoppedError
from counterpoise.engines.job_scripts import OUT_OF_TIME, array_script
from counterpoise.engines.node import Assignment, NodeResult, train_on_node
from counterpoise.engines.process import EXIT_STOPPED, read_exit
from counterpoise.errors import TrialError
from counterpoise.experiment.engine import ENGINES, EngineConfig
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import TrialStatus


class Threads:
    """Workers without Parsl."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    def train(self, assignment: Assignment) -> Future[NodeResult]:
        return self._pool.submit(train_on_node, assignment)

    def lost(self, _: Future[NodeResult]) -> str:
        return ""

    def fault(self, is_training: Callable[[], bool]) -> None:
        assert is_training() in {True, False}


@contextmanager
def start_threads(_: EngineConfig, __: object, *, per_node: int) -> Iterator[Threads]:
    assert per_node >= 1
    with ThreadPoolExecutor(4) as pool:
        yield Threads(pool)


class FakeScheduler:
    """Runs a script's tasks with bash, one at a time; a task is interrupted as by its ``timeout``."""

    def __init__(self, request: EngineRequest) -> None:
        self._trials, self._folder = list(request.trials), request.folder
        self._folder.mkdir(exist_ok=True)
        text = array_script(
            "slurm", request.config, self._trials, request.slots, logs=request.folder, environment={"INIT": "two words"}
        )
        (self._folder / "jobs.sh").write_text(text, encoding="utf-8")
        self._task: tuple[TrialFolder, subprocess.Popen[bytes]] | None = None

    def free(self) -> int:
        return self._task is None

    def start(self, trial: TrialFolder, attempt: int) -> None:
        assert attempt >= 1
        number = str(self._trials.index(trial))
        environment = {**os.environ, "SLURM_ARRAY_TASK_ID": number, "SLURM_ARRAY_JOB_ID": "1"}
        task = subprocess.Popen(["bash", self._folder / "jobs.sh"], env=environment, start_new_session=True)
        self._task = trial, task

    def ended(self) -> list[Ended]:
        if self._task is None or (code := self._task[1].poll()) is None:
            return []
        (trial, _), self._task = self._task, None
        if code == OUT_OF_TIME:
            return [Ended(trial, Reason.OUT_OF_TIME, "requeued")]
        is_signal = code > 128 and code != EXIT_STOPPED  # as a shell reports it
        return [Ended(trial, *read_exit(128 - code if is_signal else code))]

    def is_training(self) -> bool:
        return self._task is not None

    def ask_to_stop(self) -> None:
        if self._task is not None:
            for process in psutil.Process(self._task[1].pid).children(recursive=True):
                if process.name() == "timeout":
                    process.send_signal(signal.SIGINT)

    def end(self) -> None:
        if self._task is not None:
            os.killpg(self._task[1].pid, signal.SIGTERM)
            self._task[1].wait()


@contextmanager
def open_scheduler(request: EngineRequest) -> Iterator[FakeScheduler]:
    scheduler = FakeScheduler(request)
    try:
        yield scheduler
    finally:
        scheduler.end()


@pytest.fixture(params=["local", "parsl_local", "job scripts"])
def engine(request: pytest.FixtureRequest, kit: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the kind of an engine whose trials are stand-ins."""
    kind: str = request.param
    monkeypatch.setenv("PATH", f"{kit.program.parent}:{os.environ['PATH']}")
    if kind == "local":
        monkeypatch.setattr(sys, "executable", str(kit.program))
    elif kind == "parsl_local":
        monkeypatch.setattr(cluster, "start_workers", start_threads)
        monkeypatch.setattr(cluster, "_DISK_PATIENCE_S", 0.1)
        monkeypatch.setattr(cluster, "_LOOK_S", 0.02)
    else:
        monkeypatch.setattr(driver, "open_engine", open_scheduler)
        kind = "slurm"
    return kind


class Blocks:
    """Asks for two trials, and once both have ended for a third and one that nobody needs when the third is done."""

    def __init__(self, trials: list[TrialFolder]) -> None:
        self._trials, self.asked = trials, list[int]()

    def _ended(self, trial: TrialFolder) -> bool:
        return TrialStatus.read(trial.status).state == "finished"

    def more(self, pending: Container[TrialFolder]) -> Sequence[TrialFolder]:
        self.asked.append(sum(trial in pending for trial in self._trials))
        first, later = self._trials[:2], self._trials[2:]
        return later if all(map(self._ended, first)) else first

    def is_over(self) -> bool:
        return self._ended(self._trials[2])


class TestEngine:
    """What every engine does."""

    def test_trials_follow_from_the_results_of_others_and_what_nobody_needs_is_ended(
        self, engine: str, kit: Any
    ) -> None:
        if engine == "slurm":
            pytest.skip("a script's trials are all known beforehand")
        trials = [kit.add(0, "finish"), kit.add(1, "finish"), kit.add(2, "finish"), kit.add(3, "hang")]
        blocks = Blocks(trials)
        outcomes = run_trials(kit.request((), engine, places=2, later=blocks))
        assert [outcome.folder for outcome in outcomes] == trials
        assert [outcome.status.state for outcome in outcomes] == ["finished"] * 3 + ["waiting"]
        first = max(record["began"] for trial in trials[:2] for record in kit.attempts(trial))
        assert all(record["began"] > first for trial in trials[2:] for record in kit.attempts(trial))
        assert not any(kit.is_alive(record["pid"]) for record in kit.attempts(trials[3]))
        assert len(blocks.asked) < 40  # asked where a slot is free, not all the time

    def test_every_trial_runs_once_in_a_group_of_its_own_with_what_its_slot_says(self, engine: str, kit: Any) -> None:
        trials = [kit.add(seed, "finish") for seed in range(3)]
        outcomes = run_trials(kit.request(trials, engine, places=2))
        assert [o.folder for o in outcomes] == trials
        assert [(o.status.state, o.attempts, o.reason) for o in outcomes] == [("finished", 1, None)] * 3
        for trial in trials:
            (record,) = kit.attempts(trial)
            assert record["arguments"] == ["trial", str(trial.path), "--device", "cpu", "--threads", "2"]
            assert record["slot"] == "a b"
            assert record["group"] != os.getpgrp()
            assert trial.log.read_text(encoding="utf-8").splitlines()[-1] == f"this is {trial.path.name}"

    def test_a_failed_trial_is_tried_again_and_stops_no_other(self, engine: str, kit: Any) -> None:
        plans = (("finish",), ("crash",), ("fail", "finish"), ("killed",), ("fail",), ("silent",))
        trials = [kit.add(seed, *plan) for seed, plan in enumerate(plans)]
        outcomes = run_trials(kit.request(trials, engine, places=2, retries=1))
        assert [(o.status.state, o.attempts, o.reason) for o in outcomes] == [
            ("finished", 1, None),
            ("failed", 2, Reason.EXITED),
            ("finished", 2, None),
            ("failed", 2, Reason.KILLED),
            ("failed", 2, Reason.ERROR),
            ("failed", 2, Reason.INCOMPLETE),
        ]
        assert outcomes[1].status.reason.endswith("log.txt says: ImportError: no torch")
        assert outcomes[4].status.reason == "loss is NaN"
        assert [TrialStatus.read(o.folder.status) for o in outcomes] == [o.status for o in outcomes]
        lines = trials[2].log.read_text(encoding="utf-8").splitlines()
        assert [line for line in lines if line[0] != "-"] == ["this is seed-2", "last words", "this is seed-2"]

    def test_what_is_finished_is_not_run_again_and_starts_no_engine(
        self, engine: str, kit: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        done, failed = kit.add(0, "finish"), kit.add(1, "fail", "finish")
        assert [o.status.state for o in run_trials(kit.request([done, failed], engine))] == ["finished", "failed"]
        second = run_trials(kit.request([done, failed], engine))
        assert [(o.status.state, o.attempts) for o in second] == [("finished", 0), ("finished", 1)]
        assert len(kit.attempts(done)) == 1
        monkeypatch.setattr(driver, "open_engine", None)
        assert [o.attempts for o in run_trials(kit.request([done, failed], engine))] == [0, 0]

    def test_a_held_folder_is_no_attempt_and_is_waited_for(self, engine: str, kit: Any) -> None:
        trials, said = [kit.add(0, "held", "held", "held", "finish"), kit.add(1, "finish")], list[str]()
        outcomes = run_trials(kit.request(trials, engine, say=said.append))
        assert [(o.status.state, o.attempts, o.reason) for o in outcomes] == [("finished", 1, None)] * 2
        assert len(kit.attempts(trials[0])) == 4
        assert sum(str(trials[0].path) in line for line in said) == 1

    def test_one_ctrl_c_waits_for_checkpoints_and_starts_no_other_trial(self, engine: str, kit: Any) -> None:
        trials = [kit.add(0, "until asked", "finish"), kit.add(1, "finish")]
        asked, said = list[int](), list[str]()

        def press() -> None:
            if not asked and TrialStatus.read(trials[0].status).state == "running":
                asked.append(1)
                os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(StoppedError):
            run_trials(kit.request(trials, engine, retries=1, on_change=press, say=said.append))
        assert [TrialStatus.read(t.status).state for t in trials] == ["waiting", "waiting"]
        assert TrialStatus.read(trials[0].status).reason == "stopped after epoch 3"
        assert [len(kit.attempts(t)) for t in trials] == [1, 0]
        assert sum("next checkpoint" in line for line in said) == 1
        outcomes = run_trials(kit.request(trials, engine))
        assert [(o.status.state, o.attempts) for o in outcomes] == [("finished", 1)] * 2

    @pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGHUP], [signal.SIGINT, signal.SIGINT]])
    def test_other_signals_end_all_trials_at_once_and_a_later_run_continues(
        self, numbers: list[signal.Signals], engine: str, kit: Any
    ) -> None:
        trials = [kit.add(0, "hang", "finish"), kit.add(1, "finish")]
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}

        def stop() -> None:
            if TrialStatus.read(trials[0].status).state == "running":
                for number in numbers:
                    os.kill(os.getpid(), number)

        with pytest.raises(StoppedError):
            run_trials(kit.request(trials, engine, retries=1, on_change=stop))
        assert {number: signal.getsignal(number) for number in before} == before
        assert [TrialStatus.read(t.status).state for t in trials] == ["waiting"] * 2
        assert kit.ended(kit.attempts(trials[0])[0]["pid"])
        assert kit.ended(int((trials[0].path / "child").read_text(encoding="ascii")))
        assert kit.attempts(trials[1]) == []
        assert [o.status.state for o in run_trials(kit.request(trials, engine))] == ["finished"] * 2

    def test_an_error_of_which_every_arm_dies_at_once_stops_the_run(self, engine: str, kit: Any) -> None:
        trials = [kit.add(seed, "crash", arm=arm) for seed in range(3) for arm in ("a", "b")]
        with pytest.raises(TrialError, match="all arms fail at once") as caught:
            run_trials(kit.request(trials, engine, retries=1))
        assert "ImportError: no torch" in caught.value.found
        assert [len(kit.attempts(t)) for t in trials] == [1, 1, 0, 0, 0, 0]

    def test_an_error_in_the_observer_leaves_no_trial_behind(self, engine: str, kit: Any) -> None:
        trial = kit.add(0, "hang")

        def fail() -> None:
            if TrialStatus.read(trial.status).state == "running":
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            run_trials(kit.request([trial], engine, on_change=fail))
        assert kit.ended(kit.attempts(trial)[0]["pid"])
        assert TrialStatus.read(trial.status).state == "waiting"


@pytest.mark.parametrize("kind", ENGINES)
def test_the_module_of_every_registered_kind_opens_an_engine(kind: str) -> None:
    assert callable(importlib.import_module(ENGINES[kind].module).open_engine)
