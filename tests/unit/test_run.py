"""The start of the main job: its stages, and one process at a time in a run folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from counterpoise import run as module
from counterpoise.engines.engine import StoppedError
from counterpoise.errors import RunFolderError
from counterpoise.files.lock import LOCK_NAME, Purpose, only_one_process
from counterpoise.preflight.observer import Stage
from counterpoise.preflight.prepare import PreparedRun
from counterpoise.run import run_experiment
from counterpoise.store import StoreRequest


class Observed:
    """Keeps the stages it receives."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []

    def began(self, stage: Stage) -> None:
        self.stages.append(stage)

    def building_store(self, _request: StoreRequest) -> Callable[[int], object]:
        return lambda _: None

    def told(self, line: str) -> None: ...

    def prepared(self, run: PreparedRun) -> None: ...

    def changed(self, run: PreparedRun) -> None: ...

    def trials_ended(self, run: PreparedRun) -> None: ...


@pytest.fixture
def experiment(phantom: Path, tmp_path: Path) -> Path:
    shutil.copytree(phantom.parent, tmp_path / "data")
    file = tmp_path / "experiment.toml"
    file.write_text(
        'preset = "demo"\nhypothesis = []\n[data]\ndatasplit = "data/datasplit.csv"\nclasses = ["nuc", "pm"]\n'
        "[sampling]\npatch_shape = [32, 32]\n[run]\nfolder = 'run'\n",
        encoding="utf-8",
    )
    return file


def test_every_stage_before_the_first_trial_is_an_event(experiment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise StoppedError

    monkeypatch.setattr(module, "require_first_steps", lambda *_: None)
    monkeypatch.setattr(module, "run_trials", stopped)
    observed = Observed()
    with pytest.raises(StoppedError):
        run_experiment(experiment, observed)
    assert observed.stages == [Stage.INPUTS, Stage.STORE, Stage.DESIGN]


def test_a_run_that_another_process_began_meanwhile_writes_nothing(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    with ExitStack() as other:

        def begin(*_: object) -> None:
            run.mkdir()
            other.enter_context(only_one_process(run, Purpose.RUN_EXPERIMENT))

        monkeypatch.setattr(module, "require_first_steps", begin)
        with pytest.raises(RunFolderError, match="another process runs the experiment"):
            run_experiment(experiment, Observed())
        assert [path.name for path in run.iterdir()] == [LOCK_NAME]
