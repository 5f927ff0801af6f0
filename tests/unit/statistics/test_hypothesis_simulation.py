"""The simulation of hypotheses runs, and the interval of a score holds the truth as often as it says (slow)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def simulation(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import the script, which imports its neighbour."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    spec = importlib.util.spec_from_file_location("hypothesis_simulation", ROOT / "bench" / "hypothesis_simulation.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_the_simulation_runs_and_writes_its_tables(
    simulation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "table.md"
    monkeypatch.setattr(sys, "argv", ["hypothesis_simulation.py", "--quick", "--reps", "2", "--out", str(out)])
    simulation.main()
    text = out.read_text(encoding="utf-8")
    assert "| seeds matter | 3 | 12 |" in text
    assert "| one arm +0.03 | 3 | 12 |" in text


@pytest.mark.slow
@pytest.mark.parametrize("world", ["default", "seeds matter"])
def test_the_interval_of_a_score_holds_the_truth(simulation: Any, world: str) -> None:
    reps = 300
    truth = simulation.population(simulation.WORLDS[world], 40)
    tally = simulation.cover(simulation.WORLDS[world], truth, 5, 12, reps)
    for held in (tally.new, tally.this):
        assert np.mean(held) >= 0.95 - 2.5 * (0.05 * 0.95 / reps) ** 0.5
