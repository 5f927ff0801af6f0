from __future__ import annotations

import pytest

from counterpoise.cli.watch import watch_run
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.records import TrialStatus


def test_watch_without_a_terminal_prints_lines_and_ends_with_the_run(
    status_run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    TrialStatus("finished", 0, 0).write(status_run.trial("weight_log", 1).status)
    watch_run(status_run, every_s=0.01)
    assert "100 % done (1 finished, 3 failed)" in capsys.readouterr().out
