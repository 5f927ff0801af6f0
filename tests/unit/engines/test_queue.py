"""The queue of trials without any process: a list of how attempts end."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from counterpoise.engines import queue
from counterpoise.engines.engine import Ended, Reason
from counterpoise.engines.queue import TrialQueue
from counterpoise.errors import TrialError
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import FailureCause, TrialStatus

LOST = "node7 does not answer"


@pytest.fixture
def add(tmp_path: Path) -> Callable[..., TrialFolder]:
    def add(seed: int, arm: str = "a") -> TrialFolder:
        trial = TrialFolder(tmp_path / arm / f"seed-{seed}")
        trial.path.mkdir(parents=True)
        return trial

    return add


def crash(trial: TrialFolder) -> Ended:
    trial.log.write_text(f"ImportError: no torch, says {trial.arm} in {trial.path}\n", encoding="utf-8")
    return Ended(trial, Reason.EXITED, "ended with exit code 1")


def fail(trial: TrialFolder) -> Ended:
    TrialStatus("failed", reason="loss is NaN").write(trial.status)
    return Ended(trial, Reason.EXITED, "ended with exit code 2")


def finish(trial: TrialFolder) -> Ended:
    TrialStatus("finished").write(trial.status)
    return Ended(trial, None, "ended with exit code 0")


def fail_after_an_epoch(trial: TrialFolder) -> Ended:
    trial.metrics.write_text("{}\n", encoding="utf-8")
    return fail(trial)


def lose(trial: TrialFolder) -> Ended:
    return Ended(trial, Reason.LOST, LOST)


def run(trials: TrialQueue, ends: Sequence[Callable[[TrialFolder], Ended]]) -> list[TrialFolder]:
    """Start trials one after the other, which end as listed; return them in this order."""
    order = []
    for end in ends:
        trial, _ = trials.take()
        order.append(trial)
        trials.settle(end(trial))
    return order


def test_the_trial_with_the_most_steps_left_starts_first_else_in_the_order_given(
    add: Callable[..., TrialFolder], monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [add(seed) for seed in range(4)]
    monkeypatch.setattr(queue, "_steps_left", dict(zip(folders, (100, 300, 200, 300), strict=True)).__getitem__)
    order = run(TrialQueue(folders, retries=0), [finish] * 4)
    assert [trial.seed for trial in order] == [1, 3, 2, 0]


def test_the_reason_is_that_of_the_last_attempt(add: Callable[..., TrialFolder]) -> None:
    trials = TrialQueue([add(0)], retries=1)
    run(trials, [fail, crash])
    (outcome,) = trials.outcomes()
    assert trials.is_settled
    assert (outcome.reason, outcome.attempts) == (Reason.EXITED, 2)
    assert "no torch" in outcome.status.reason


def test_a_process_that_fails_after_its_trial_has_finished_is_a_failure(add: Callable[..., TrialFolder]) -> None:
    trials = TrialQueue([add(0)], retries=0)
    trial, _ = trials.take()
    finish(trial)
    trials.settle(Ended(trial, Reason.KILLED, "killed by SIGKILL"))
    assert [(o.status.state, o.reason) for o in trials.outcomes()] == [("failed", Reason.KILLED)]


def test_a_finished_trial_whose_worker_is_lost_is_finished(add: Callable[..., TrialFolder]) -> None:
    trials = TrialQueue([add(0)], retries=0)
    trial, _ = trials.take()
    finish(trial)
    trials.settle(lose(trial))
    assert [(o.status.state, o.attempts, o.reason) for o in trials.outcomes()] == [("finished", 1, None)]


def test_an_interruption_is_no_attempt_until_there_were_five_in_a_row_without_an_epoch(
    add: Callable[..., TrialFolder],
) -> None:
    trials, calls = TrialQueue([add(0)], retries=0), 0
    while not trials.is_settled:
        trial, attempt = trials.take()
        calls += 1
        assert attempt == 1
        TrialStatus("running", epoch=2 if calls > 3 else 1).write(trial.status)
        trials.settle(lose(trial))
    assert calls == 3 + 5  # three without progress, then an epoch, and five more in which there is none
    (outcome,) = trials.outcomes()
    assert (outcome.status.state, outcome.attempts, outcome.reason) == ("failed", 1, Reason.LOST)
    assert f"interrupted 5 times in a row without a finished epoch: {LOST}" in outcome.status.reason


def test_a_trial_that_waits_again_has_no_failure_of_an_earlier_attempt(add: Callable[..., TrialFolder]) -> None:
    folder = add(0)
    failed = TrialStatus("running", epoch=4).failed(FailureCause.OTHER, "out of memory", error="MemoryError")
    failed.write(folder.status)
    TrialQueue([folder], retries=0).take()
    assert TrialStatus.read(folder.status) == TrialStatus("waiting", epoch=4)


def test_a_run_that_is_asked_to_stop_fails_no_trial_by_interrupting_it(add: Callable[..., TrialFolder]) -> None:
    trials = TrialQueue([add(0)], retries=0)
    run(trials, [lose] * 4)
    trial, _ = trials.take()
    TrialStatus("waiting", reason="stopped after epoch 3").write(trial.status)
    trials.settle(Ended(trial, Reason.STOPPED, "stopped"), is_stopping=True)
    assert [(o.status.state, o.status.reason, o.attempts) for o in trials.outcomes()] == [
        ("waiting", "stopped after epoch 3", 0)
    ]


def test_an_interrupted_trial_is_next_and_a_held_one_last(add: Callable[..., TrialFolder]) -> None:
    def held(trial: TrialFolder) -> Ended:
        TrialStatus("running", epoch=7).write(trial.status)  # by the process that trains there
        return Ended(trial, Reason.HELD, "")

    folders = [add(seed) for seed in range(3)]
    order = run(TrialQueue(folders, retries=0), [lose, held, finish, finish, held])
    assert [trial.seed for trial in order] == [0, 0, 1, 2, 0]
    assert TrialStatus.read(folders[0].status) == TrialStatus("running", epoch=7)


def test_a_held_trial_s_status_is_left_to_the_process_that_trains_it(add: Callable[..., TrialFolder]) -> None:
    trials = TrialQueue([add(0)], retries=0)
    trial, _ = trials.take()
    theirs = TrialStatus("running", epoch=7)
    theirs.write(trial.status)
    trials.settle(Ended(trial, Reason.HELD, ""))
    assert trials.take() == (trial, 1)
    assert TrialStatus.read(trial.status) == theirs
    # Once it is free, an attempt is like any other: its end must not pass for that of the next.
    trials.settle(lose(trial))
    theirs.write(trial.status)
    trials.take()
    assert TrialStatus.read(trial.status).state == "waiting"


def test_trials_that_have_not_ended_wait_in_the_end(add: Callable[..., TrialFolder]) -> None:
    trials = TrialQueue([add(0), add(1)], retries=0)
    running, finished = trials.take()[0], trials.take()[0]
    TrialStatus("running", epoch=2).write(running.status)
    finish(finished)  # and the engine was stopped before it could say so
    trials.close()
    assert TrialStatus.read(running.status) == TrialStatus("waiting", epoch=2, reason="stopped")
    assert TrialStatus.read(finished.status).state == "finished"


def test_one_error_in_every_arm_gives_up_although_it_names_arm_and_folder(add: Callable[..., TrialFolder]) -> None:
    trials = TrialQueue([add(seed, arm) for seed in range(3) for arm in ("a", "b")], retries=1)
    with pytest.raises(TrialError, match="all arms fail at once"):
        run(trials, [crash, crash])


def test_with_no_trial_left_to_start_there_is_nothing_to_give_up(add: Callable[..., TrialFolder]) -> None:
    trials = TrialQueue([add(0, "a"), add(0, "b")], retries=0)
    run(trials, [crash, crash])
    assert trials.is_settled
    assert [(o.status.state, o.attempts) for o in trials.outcomes()] == [("failed", 1)] * 2


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("first\nlast\n\n", "last"),
        ("KeyError: 'a'\nMemoryError: too much\n  cleaning up\n", "MemoryError: too much"),
        ("", "nothing"),
        (None, "nothing"),
    ],
)
def test_of_a_log_the_last_error_is_told_else_the_last_line(
    log: str | None, words: str, add: Callable[..., TrialFolder]
) -> None:
    trials = TrialQueue([add(0)], retries=0)
    trial, _ = trials.take()
    if log is not None:
        trial.log.write_text(log, encoding="utf-8")
    trials.settle(Ended(trial, Reason.EXITED, "ended with exit code 1"))
    (outcome,) = trials.outcomes()
    assert outcome.status.reason == f"ended with exit code 1; {trial.log.name} says: {words}"


def raise_error(error: str) -> Callable[[TrialFolder], Ended]:
    """Return how a trial ends that records an error of this type, in words of its own."""

    def end(trial: TrialFolder) -> Ended:
        TrialStatus("running").failed(FailureCause.OTHER, f"in {trial.path}", error=error).write(trial.status)
        return Ended(trial, Reason.EXITED, "ended with exit code 1")

    return end


@pytest.mark.parametrize(("other", "is_hopeless"), [("MemoryError", True), ("KeyError", False)])
def test_errors_are_compared_by_their_type_not_by_their_words(
    other: str, is_hopeless: bool, add: Callable[..., TrialFolder]
) -> None:
    trials = TrialQueue([add(0, "a"), add(0, "b"), add(1, "a")], retries=0)
    ends = [raise_error("MemoryError"), raise_error(other)]
    if is_hopeless:
        with pytest.raises(TrialError, match="all arms fail at once"):
            run(trials, ends)
    else:
        assert len(run(trials, [*ends, finish])) == 3


@pytest.mark.parametrize("other", [finish, fail, fail_after_an_epoch])
def test_the_run_goes_on_if_an_arm_works_dies_of_something_else_or_gets_further(
    other: Callable[[TrialFolder], Ended], add: Callable[..., TrialFolder]
) -> None:
    trials = TrialQueue([add(0, "a"), add(0, "b"), add(1, "a")], retries=0)
    run(trials, [crash, other, finish])
    assert [o.attempts for o in trials.outcomes()] == [1, 1, 1]


def test_no_trials_are_no_work() -> None:
    trials = TrialQueue([], retries=1)
    assert (trials.is_settled, trials.outcomes()) == (True, ())
