"""The local engine with stand-ins for trials: small programs that do what their folder says."""

import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from counterpoise.engines import local, queue
from counterpoise.engines.local import run_trials
from counterpoise.engines.queue import StoppedError
from counterpoise.errors import TrialError
from counterpoise.machine.plan import Slot
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import TrialStatus

# Called as the engine calls a trial: stand-in -m counterpoise trial FOLDER --device D --threads N
STAND_IN = """#!{python} -S
import json, os, pathlib, signal, subprocess, sys, time
folder = pathlib.Path(sys.argv[4])
attempt = len(list(folder.glob("attempt-*"))) + 1
plan = json.loads((folder / "plan.json").read_text())
act = plan[min(attempt, len(plan)) - 1]
record = {{"arguments": sys.argv[1:], "slot": os.environ.get("SLOT"), "pid": os.getpid(), "group": os.getpgrp(),
          "began": time.time()}}
(folder / f"attempt-{{attempt}}").write_text(json.dumps(record))

def say(state, reason=""):
    (folder / "new.json").write_text(json.dumps({{"version": 1, "state": state, "reason": reason}}))
    os.replace(folder / "new.json", folder / "status.json")

print("this is", folder.name, flush=True)
if act == "finish":
    say("running"); time.sleep(0.05); say("finished")
elif act == "fail":
    say("running"); say("failed", "loss is NaN"); print("last words", flush=True); sys.exit(2)
elif act == "crash":
    print("ImportError: no torch", flush=True); sys.exit(3)
elif act == "killed":
    say("running"); os.kill(os.getpid(), signal.SIGKILL)
elif act == "silent":
    say("running"); sys.exit(0)
elif act == "epoch":
    (folder / "metrics.jsonl").write_text("{{}}\\n")
    say("running"); say("failed", "loss is NaN"); sys.exit(2)
elif act == "polite":
    asked = []
    signal.signal(signal.SIGINT, lambda *_: asked.append(1))
    say("running")
    while not asked:
        time.sleep(0.01)
    time.sleep(0.3)
    say("waiting", "stopped after epoch 3"); sys.exit(130)
elif act in ("hang", "stubborn"):
    if act == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    (folder / "child").write_text(str(child.pid))
    say("running"); time.sleep(60)
(folder / "ended").write_text(str(time.time()))
"""

AddTrial = Callable[..., TrialFolder]


@pytest.fixture(autouse=True)
def _stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "stand-in"
    program.write_text(STAND_IN.format(python=sys.executable), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(local, "_POLL_S", 0.02)


@pytest.fixture
def add_trial(tmp_path: Path) -> AddTrial:
    """Return a function that makes a trial folder; one word per attempt says what the stand-in does."""

    def add(seed: int, *plan: str, arm: str = "arm") -> TrialFolder:
        folder = TrialFolder(tmp_path / "a 'quoted' run" / "trials" / arm / f"seed-{seed}")
        folder.path.mkdir(parents=True)
        (folder.path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        return folder

    return add


def slots(count: int) -> list[Slot]:
    return [Slot(f"cpu-{k}", f"cuda:{k}", k + 1, (("SLOT", f"number {k}"),)) for k in range(count)]


def attempts(folder: TrialFolder) -> list[dict[str, object]]:
    return [json.loads(f.read_text(encoding="utf-8")) for f in sorted(folder.path.glob("attempt-*"))]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed grandchild may wait as a zombie for the init of a container.
    return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="ascii")


def test_every_trial_runs_once_with_device_threads_and_environment_of_its_slot(add_trial: AddTrial) -> None:
    trials = [add_trial(seed, "finish") for seed in range(5)]
    outcomes = run_trials(trials, slots(2), retries=1)
    assert [o.folder for o in outcomes] == trials
    assert [(o.status.state, o.attempts) for o in outcomes] == [("finished", 1)] * 5
    used = set()
    for trial in trials:
        (record,) = attempts(trial)
        number = str(record["slot"]).removeprefix("number ")
        assert record["arguments"] == [
            *("-m", "counterpoise", "trial", str(trial.path)),
            *("--device", f"cuda:{number}", "--threads", str(int(number) + 1)),
        ]
        assert record["group"] == record["pid"]  # a process group of its own
        used.add(number)
    assert used == {"0", "1"}


def test_a_slot_runs_one_trial_at_a_time(add_trial: AddTrial) -> None:
    trials = [add_trial(seed, "finish") for seed in range(3)]
    run_trials(trials, slots(1), retries=0)
    times = [
        (float(str(attempts(t)[0]["began"])), float((t.path / "ended").read_text(encoding="ascii"))) for t in trials
    ]
    assert times == sorted(times)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(times))


def test_a_failed_trial_is_tried_again_and_its_log_keeps_both_attempts(add_trial: AddTrial) -> None:
    trial = add_trial(0, "fail", "finish")
    (outcome,) = run_trials([trial], slots(1), retries=1)
    assert (outcome.status.state, outcome.attempts) == ("finished", 2)
    assert trial.log.read_text(encoding="utf-8").splitlines() == [
        "this is seed-0",
        "last words",
        "--- attempt 2 ---",
        "this is seed-0",
    ]


@pytest.mark.parametrize("retries", [0, 2])
def test_a_trial_that_keeps_failing_keeps_its_reason_and_stops_nobody(retries: int, add_trial: AddTrial) -> None:
    trials = [add_trial(0, "fail"), add_trial(1, "finish"), add_trial(2, "finish")]
    outcomes = run_trials(trials, slots(1), retries=retries)
    assert [o.status.state for o in outcomes] == ["failed", "finished", "finished"]
    assert [o.attempts for o in outcomes] == [1 + retries, 1, 1]
    assert outcomes[0].status.reason == "loss is NaN"
    assert TrialStatus.read(trials[0].status) == outcomes[0].status


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        ("killed", "killed by SIGKILL; log.txt says: this is seed-0"),
        ("crash", "ended with exit code 3; log.txt says: ImportError: no torch"),
        ("silent", "ended with exit code 0; log.txt says: this is seed-0"),
    ],
)
def test_a_trial_that_ends_without_a_word_gets_a_reason(act: str, reason: str, add_trial: AddTrial) -> None:
    (outcome,) = run_trials([add_trial(0, act)], slots(1), retries=0)
    assert (outcome.status.state, outcome.status.reason) == ("failed", reason)


def test_the_reason_is_that_of_the_last_attempt(add_trial: AddTrial) -> None:
    (outcome,) = run_trials([add_trial(0, "fail", "crash")], slots(1), retries=1)
    assert outcome.status.reason == "ended with exit code 3; log.txt says: ImportError: no torch"


def test_finished_trials_are_not_started_again_and_failed_ones_are(add_trial: AddTrial) -> None:
    done, failed = add_trial(0, "finish"), add_trial(1, "fail", "fail", "finish")
    first = run_trials([done, failed], slots(2), retries=1)
    assert [o.status.state for o in first] == ["finished", "failed"]
    second = run_trials([done, failed], slots(2), retries=1)
    assert [(o.status.state, o.attempts) for o in second] == [("finished", 0), ("finished", 1)]
    assert len(attempts(done)) == 1


def test_no_trials_are_no_work() -> None:
    assert run_trials([], slots(1), retries=1) == ()


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGHUP], [signal.SIGINT, signal.SIGINT]])
def test_a_signal_ends_all_trials_with_their_children_and_a_later_run_continues(
    numbers: list[signal.Signals], add_trial: AddTrial
) -> None:
    trials = [add_trial(0, "hang", "finish"), add_trial(1, "hang", "finish"), add_trial(2, "finish")]
    before = {s: signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}

    def stop_when_both_run() -> None:
        if all(TrialStatus.read(t.status).state == "running" for t in trials[:2]):
            for number in numbers:
                os.kill(os.getpid(), number)

    with pytest.raises(StoppedError):
        run_trials(trials, slots(2), retries=1, on_change=stop_when_both_run)
    assert {s: signal.getsignal(s) for s in before} == before
    assert [TrialStatus.read(t.status).state for t in trials] == ["waiting"] * 3
    pids = [int(str(attempts(t)[0]["pid"])) for t in trials[:2]]
    pids += [int((t.path / "child").read_text(encoding="ascii")) for t in trials[:2]]
    deadline = time.monotonic() + 5.0
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(is_alive(pid) for pid in pids)
    assert attempts(trials[2]) == []
    outcomes = run_trials(trials, slots(2), retries=0)
    assert [o.status.state for o in outcomes] == ["finished"] * 3


def test_one_ctrl_c_waits_for_the_checkpoint_of_every_running_trial_and_starts_no_other(add_trial: AddTrial) -> None:
    trials = [add_trial(0, "polite", "finish"), add_trial(1, "polite", "finish"), add_trial(2, "finish")]
    asked, told = list[float](), list[str]()

    def stop_when_both_run() -> None:
        if not asked and all(TrialStatus.read(t.status).state == "running" for t in trials[:2]):
            asked.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(StoppedError):
        run_trials(trials, slots(2), retries=1, on_change=stop_when_both_run, say=told.append)
    assert time.monotonic() - asked[0] >= 0.3  # they were not hurried
    assert [TrialStatus.read(t.status).state for t in trials] == ["waiting"] * 3
    assert TrialStatus.read(trials[0].status).reason == "stopped after epoch 3"
    assert len(told) == 1
    assert [len(attempts(t)) for t in trials] == [1, 1, 0]
    outcomes = run_trials(trials, slots(2), retries=0)
    assert [(o.status.state, o.attempts) for o in outcomes] == [("finished", 1)] * 3


def test_a_trial_that_dies_at_once_in_all_arms_stops_the_run_with_that_error(add_trial: AddTrial) -> None:
    trials = [add_trial(seed, "crash", arm=arm) for seed in range(3) for arm in ("a", "b")]
    with pytest.raises(TrialError, match="every arm dies at once") as caught:
        run_trials(trials, slots(1), retries=1)
    assert "ImportError: no torch" in caught.value.found
    assert [len(attempts(t)) for t in trials] == [1, 1, 0, 0, 0, 0]


@pytest.mark.parametrize("other", [("finish",), ("fail",), ("epoch",)])
def test_the_run_goes_on_if_an_arm_works_dies_of_something_else_or_gets_further(
    other: tuple[str, ...], add_trial: AddTrial
) -> None:
    trials = [add_trial(0, "crash", arm="a"), add_trial(0, *other, arm="b"), add_trial(1, "finish", arm="a")]
    outcomes = run_trials(trials, slots(1), retries=0)
    assert [o.attempts for o in outcomes] == [1, 1, 1]


def test_the_trial_with_the_most_steps_left_starts_first(add_trial: AddTrial, monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [add_trial(seed, "finish") for seed in range(4)]
    left = dict(zip(trials, (100, 300, 200, 300), strict=True))
    monkeypatch.setattr(queue, "_steps_left", left.__getitem__)
    run_trials(trials, slots(1), retries=0)
    began = {seed: float(str(attempts(trial)[0]["began"])) for seed, trial in enumerate(trials)}
    assert sorted(began, key=began.__getitem__) == [1, 3, 2, 0]


def test_trials_of_a_lost_gpu_go_to_the_others_and_the_attempt_does_not_count(
    add_trial: AddTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trials = [add_trial(seed, "crash", "finish") if seed == 1 else add_trial(seed, "finish") for seed in range(4)]
    monkeypatch.setattr(local, "gpu_answers", lambda address: address != "GPU-b")
    cards = [Slot(f"gpu-{name}", "cuda:0", 1, (), f"GPU-{name}") for name in "ab"]
    told = list[str]()
    outcomes = run_trials(trials, cards, retries=0, say=told.append)
    assert [(o.status.state, o.attempts) for o in outcomes] == [("finished", 1)] * 4
    assert told == ["GPU GPU-b does not answer any more. Its trials go to the others."]


def test_without_any_gpu_left_the_run_ends_and_its_trials_wait(
    add_trial: AddTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "gpu_answers", lambda _: False)
    trials = [add_trial(seed, "crash", "finish") for seed in range(2)]
    told = list[str]()
    outcomes = run_trials(trials, [Slot("gpu-0", "cuda:0", 1, (), "GPU-a")], retries=3, say=told.append)
    assert [(o.status.state, o.status.reason, o.attempts) for o in outcomes] == [
        ("waiting", "gpu-0 was lost", 0),
        ("waiting", "", 0),
    ]
    assert told == ["GPU GPU-a does not answer any more. There is no other: the run cannot go on."]


def test_a_trial_that_does_not_listen_is_killed_after_a_grace_period(
    add_trial: AddTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_GRACE_S", 0.3)
    trial = add_trial(0, "stubborn")

    def stop() -> None:
        if TrialStatus.read(trial.status).state == "running":
            os.kill(os.getpid(), signal.SIGTERM)

    began = time.monotonic()
    with pytest.raises(StoppedError):
        run_trials([trial], slots(1), retries=1, on_change=stop)
    assert time.monotonic() - began < 10.0
    assert not is_alive(int(str(attempts(trial)[0]["pid"])))
    assert TrialStatus.read(trial.status).state == "waiting"


def test_an_error_in_the_caller_leaves_no_trial_behind(add_trial: AddTrial) -> None:
    trial = add_trial(0, "hang")

    def fail() -> None:
        if TrialStatus.read(trial.status).state == "running":
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_trials([trial], slots(1), retries=1, on_change=fail)
    assert not is_alive(int(str(attempts(trial)[0]["pid"])))
