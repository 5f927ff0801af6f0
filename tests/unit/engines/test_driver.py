"""What the driver asks of an engine, with one that does nothing but what it is told."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from counterpoise.engines import driver
from counterpoise.engines.driver import run_trials
from counterpoise.engines.engine import Ended, EngineRequest, Reason, StoppedError
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.records import TrialStatus


class TwoPlaces:
    """Trains two trials at a time; asked to stop, the first reaches its checkpoint at once and the second later."""

    def __init__(self) -> None:
        self.started: list[TrialFolder] = []
        self._training: list[TrialFolder] = []
        self._looks_to_go: int | None = None

    def free(self) -> int:
        return 2 - len(self._training)

    def start(self, trial: TrialFolder, attempt: int) -> None:
        assert attempt == 1
        self.started.append(trial)
        self._training.append(trial)
        TrialStatus("running").write(trial.status)

    def ended(self) -> list[Ended]:
        if self._looks_to_go is None or not self._training:
            return []
        self._looks_to_go -= 1
        if self._looks_to_go in {4, 0}:
            return [Ended(self._training.pop(0), Reason.STOPPED, "stopped")]
        return []

    def is_training(self) -> bool:
        return bool(self._training)

    def ask_to_stop(self) -> None:
        self._looks_to_go = 5


def test_asked_to_stop_it_leaves_a_free_slot_empty_while_another_trial_goes_on(
    kit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, pressed = TwoPlaces(), list[int]()

    @contextmanager
    def open_engine(_: EngineRequest) -> Iterator[TwoPlaces]:
        yield engine

    def press() -> None:
        if not pressed:
            pressed.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(driver, "open_engine", open_engine)
    trials = [kit.add(seed) for seed in range(3)]
    with pytest.raises(StoppedError):
        run_trials(kit.request(trials, "local", places=2, on_change=press))
    assert engine.started == trials[:2]
    assert not engine.is_training()
    assert [TrialStatus.read(trial.status).state for trial in trials] == ["waiting"] * 3
