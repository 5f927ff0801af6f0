"""Files are read in several threads only where reading mostly waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from counterpoise.files.concurrent import map_concurrently


class Clocks:
    """Clocks and a counter in the place of the system's, and calls that take a stated time on each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wall = self.computed = 0.0
        self.switches = 0
        self.threads: set[int] = set()
        monkeypatch.setattr("counterpoise.files.concurrent._voluntary_switches", lambda: self.switches)
        monkeypatch.setattr(time, "perf_counter", lambda: self.wall)
        monkeypatch.setattr(time, "thread_time", lambda: self.computed)

    def call(self, wall: float, *, switches: int) -> Callable[[int], int]:
        def square(number: int) -> int:
            self.wall += wall
            self.computed += 1.0
            self.switches += switches
            self.threads.add(threading.get_ident())
            return number * number

        return square


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


SQUARES = [number * number for number in range(100)]


@pytest.mark.parametrize(
    ("wall", "switches"),
    [
        pytest.param(1.0, 0, id="a quiet machine"),
        pytest.param(4.9, 1, id="a disk of this machine"),
        pytest.param(30.0, 0, id="a busy machine"),
    ],
)
def test_calls_that_compute_stay_in_one_thread(clocks: Clocks, wall: float, switches: int) -> None:
    assert map_concurrently(clocks.call(wall, switches=switches), range(100)) == SQUARES
    assert clocks.threads == {threading.get_ident()}


@pytest.mark.parametrize("wall", [5.1, 1000.0])
def test_calls_that_wait_for_files_use_several_threads(clocks: Clocks, wall: float) -> None:
    assert map_concurrently(clocks.call(wall, switches=2), range(100)) == SQUARES
    assert threading.get_ident() in clocks.threads  # the first calls
    assert len(clocks.threads) > 1


def test_threads_wait_at_the_same_time() -> None:
    together, running, lock = 0, 0, threading.Lock()

    def wait(_: int) -> None:
        nonlocal together, running
        with lock:
            running += 1
            together = max(together, running)
        time.sleep(0.01)
        with lock:
            running -= 1

    map_concurrently(wait, range(80))
    assert together > 1


@pytest.mark.parametrize("count", [0, 1, 16, 17])
def test_few_items_have_their_results_too(clocks: Clocks, count: int) -> None:
    assert map_concurrently(clocks.call(10.0, switches=1), range(count)) == SQUARES[:count]


def test_an_error_comes_through(clocks: Clocks) -> None:
    def fail(number: int) -> int:
        if number == 40:
            raise OSError("gone")
        return clocks.call(10.0, switches=1)(number)

    with pytest.raises(OSError, match="gone"):
        map_concurrently(fail, range(100))
