"""The next result is made in a thread: taken by its key, remade if it was not the one, errors where it is taken."""

import threading
from types import SimpleNamespace

import pytest

from counterpoise.sampling.prefetch import Prefetch


def threads_of_prefetch() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_what_was_prepared_is_taken_and_not_made_again() -> None:
    prefetch: Prefetch[int] = Prefetch(enabled=True)
    made: list[tuple[str, bool]] = []

    def make(name: str, value: int) -> int:
        made.append((name, threading.current_thread() is threading.main_thread()))
        return value

    prefetch.prepare("next", lambda: make("ahead", 7))
    assert prefetch.take("next", lambda: make("now", 8)) == 7
    assert prefetch.take("next", lambda: make("now", 8)) == 8  # taken once
    assert made == [("ahead", False), ("now", True)]
    prefetch.close()


def test_a_wrong_guess_ends_before_the_right_result_is_made() -> None:
    prefetch: Prefetch[str] = Prefetch(enabled=True)
    order: list[str] = []
    begin = threading.Event()

    def guess() -> str:
        begin.wait(10.0)
        order.append("guess")
        return "guess"

    def right() -> str:
        order.append("right")
        return "right"

    prefetch.prepare(1, guess)
    threading.Timer(0.05, begin.set).start()
    assert prefetch.take(2, right) == "right"
    assert order == ["guess", "right"]
    prefetch.close()


def test_an_error_is_raised_where_the_result_is_taken_and_only_there() -> None:
    prefetch: Prefetch[int] = Prefetch(enabled=True)

    def fail() -> int:
        raise OSError("the disk went away")

    prefetch.prepare("a", fail)
    with pytest.raises(OSError, match="the disk went away"):
        prefetch.take("a", lambda: 1)
    prefetch.prepare("a", fail)
    assert prefetch.take("b", lambda: 2) == 2  # a guess nobody wanted fails unheard
    prefetch.close()


def test_waiting_is_added_up_and_a_result_that_is_ready_costs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    now, is_asked = [100.0], threading.Event()

    def clock() -> float:
        is_asked.set()
        return now[0]

    monkeypatch.setattr("counterpoise.sampling.prefetch.time", SimpleNamespace(perf_counter=clock))
    prefetch: Prefetch[int] = Prefetch(enabled=True)

    def slow() -> int:
        assert is_asked.wait(10.0)  # until somebody waits for it
        now[0] += 5.0
        return 1

    prefetch.prepare("slow", slow)
    assert prefetch.take("slow", lambda: 0) == 1
    assert prefetch.waited_s == 5.0
    prefetch.prepare("ready", lambda: 2)
    prefetch._next[1].result()  # type: ignore[index]
    now[0] += 1000.0
    assert prefetch.take("ready", lambda: 0) == 2
    assert prefetch.waited_s == 5.0
    prefetch.close()


def test_making_a_result_that_nobody_prepared_is_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("counterpoise.sampling.prefetch.time", SimpleNamespace(perf_counter=lambda: now[0]))

    def make() -> int:
        now[0] += 3.0
        return 1

    off: Prefetch[int] = Prefetch(enabled=False)  # as a sampler with one thread has it
    for step in (0, 1):
        off.prepare(step, make)
        assert off.waited_s == 3.0 * step
        off.take(step, make)
    assert off.waited_s == 6.0


def test_what_is_under_way_can_be_waited_for_and_still_be_taken() -> None:
    prefetch: Prefetch[int] = Prefetch(enabled=True)
    prefetch.settle()  # nothing there: nothing to wait for
    begin, done = threading.Event(), []

    def make() -> int:
        begin.wait(10.0)
        done.append(True)
        return 7

    prefetch.prepare("a", make)
    threading.Timer(0.05, begin.set).start()
    prefetch.settle()
    assert done == [True]
    assert prefetch.take("a", lambda: 8) == 7
    prefetch.close()


def test_nothing_runs_ahead_when_it_is_off_and_no_thread_is_left_when_it_is_closed() -> None:
    off: Prefetch[int] = Prefetch(enabled=False)
    off.prepare("a", lambda: pytest.fail("prepared"))
    assert off.take("a", lambda: 3) == 3
    assert threads_of_prefetch() == []
    on: Prefetch[int] = Prefetch(enabled=True)
    on.prepare("a", lambda: 1)
    assert len(threads_of_prefetch()) == 1
    on.close()
    assert threads_of_prefetch() == []
    assert on.take("a", lambda: 4) == 4
