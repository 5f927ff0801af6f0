"""The local engine: its slots, GPUs that are lost, trials that do not listen. The rest is in test_contract.py."""

import itertools
import os
import signal
import sys
import time
from typing import Any

import pytest

from counterpoise.engines import local
from counterpoise.engines.driver import run_trials
from counterpoise.engines.engine import EngineRequest, Reason, StoppedError
from counterpoise.machine.plan import Slot
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import TrialStatus


@pytest.fixture(autouse=True)
def _program(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(kit.program))


def request(kit: Any, trials: list[TrialFolder], slots: list[Slot], **more: Any) -> EngineRequest:
    return EngineRequest(trials, slots, kit.config("local"), kit.folder, **more)


def test_every_trial_has_device_threads_and_environment_of_one_of_the_slots(kit: Any) -> None:
    slots = [Slot(f"cpu-{k}", f"cuda:{k}", k + 1, (("SLOT", str(k)),)) for k in range(2)]
    trials, used = [kit.add(seed, "finish") for seed in range(5)], set()
    run_trials(request(kit, trials, slots))
    for trial in trials:
        (record,) = kit.attempts(trial)
        k = int(record["slot"])
        assert record["arguments"][2:] == ["--device", f"cuda:{k}", "--threads", str(k + 1)]
        assert record["group"] == record["pid"]
        used.add(k)
    assert used == {0, 1}


def test_a_slot_runs_one_trial_at_a_time(kit: Any) -> None:
    trials = [kit.add(seed, "finish") for seed in range(3)]
    run_trials(kit.request(trials, "local"))
    times = [(kit.attempts(t)[0]["began"], float((t.path / "ended").read_text(encoding="ascii"))) for t in trials]
    assert times == sorted(times)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(times))


def test_the_log_tells_attempts_apart(kit: Any) -> None:
    trial = kit.add(0, "crash", "finish")
    run_trials(kit.request([trial], "local", retries=1))
    lines = trial.log.read_text(encoding="utf-8").splitlines()
    assert lines == ["this is seed-0", "ImportError: no torch", "--- attempt 2 ---", "this is seed-0"]


def test_a_trial_that_cannot_be_started_fails_and_the_others_go_on(kit: Any) -> None:
    trials = [kit.add(0, "finish"), kit.add(1, "finish")]
    trials[0].log.mkdir()
    outcomes = run_trials(kit.request(trials, "local"))
    assert [(o.status.state, o.reason) for o in outcomes] == [("failed", Reason.NOT_STARTED), ("finished", None)]


def test_trials_of_a_lost_gpu_go_to_the_others_and_the_attempt_does_not_count(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [kit.add(seed, *(("crash", "finish") if seed == 1 else ("finish",))) for seed in range(4)]
    monkeypatch.setattr(local, "gpu_answers", lambda address: address != "GPU-b")
    cards, said = [Slot(f"gpu-{name}", "cuda:0", 1, (), f"GPU-{name}") for name in "ab"], list[str]()
    outcomes = run_trials(request(kit, trials, cards, say=said.append))
    assert [(o.status.state, o.attempts) for o in outcomes] == [("finished", 1)] * 4
    assert said == ["GPU GPU-b no longer answers. Its trials move to the others."]


def test_without_any_gpu_left_the_run_ends_and_its_trials_wait(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "gpu_answers", lambda _: False)
    trials, said = [kit.add(seed, "crash", "finish") for seed in range(2)], list[str]()
    card = Slot("gpu-0", "cuda:0", 1, (), "GPU-a")
    outcomes = run_trials(request(kit, trials, [card], retries=3, say=said.append))
    assert [(o.status.state, o.status.reason, o.attempts, o.reason) for o in outcomes] == [
        ("waiting", "gpu-0 was lost", 0, Reason.LOST),
        ("waiting", "", 0, None),
    ]
    assert said == ["GPU GPU-a no longer answers. There is no other: the run cannot continue."]


def test_a_trial_that_does_not_listen_is_killed_after_a_grace_period(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_GRACE_S", 0.3)
    trial = kit.add(0, "stubborn")

    def stop() -> None:
        if TrialStatus.read(trial.status).state == "running":
            os.kill(os.getpid(), signal.SIGTERM)

    began = time.monotonic()
    with pytest.raises(StoppedError):
        run_trials(kit.request([trial], "local", on_change=stop))
    assert time.monotonic() - began < 10.0
    assert not kit.is_alive(kit.attempts(trial)[0]["pid"])
    assert TrialStatus.read(trial.status).state == "waiting"
