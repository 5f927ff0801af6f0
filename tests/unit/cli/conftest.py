"""A run folder with four trials, written without training."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.records import TrialStatus


@pytest.fixture
def status_run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    arms = tuple(ArmRecord(name, "", {"nuc": 1.0}, (), None, runs=True) for name in ("weight_uniform", "weight_log"))
    ArmsRecord(("nuc",), "weight_uniform", (0, 1), arms, ()).write(run.weights)
    for arm in ("weight_uniform", "weight_log"):
        for seed in (0, 1):
            folder = run.trial(arm, seed)
            folder.path.mkdir(parents=True)
            folder.log.write_text("".join(f"{arm} {seed} line {k}\n" for k in range(30)), encoding="utf-8")
            TrialStatus("failed", 3, 9, reason="out of memory", updated=time.time()).write(folder.status)
    TrialStatus("running", 4, 9, 5, 10, dice_mean=0.61234, updated=time.time()).write(run.trial("weight_log", 1).status)
    return run
