"""The check of what `plan` promises runs."""

from __future__ import annotations

from collections.abc import Callable


def test_the_script_runs_and_writes_its_table(run_bench: Callable[..., str]) -> None:
    assert "| 6 | 3 | 40 | 0.0127 | 0.0 | 0.0 | 0.0 | 0.0" in run_bench("plan_precision", 4)
