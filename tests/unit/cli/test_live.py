from __future__ import annotations

from pathlib import Path
from typing import Any

from counterpoise.cli.live import _most_important, _share, _time_left
from counterpoise.records.layout import TrialFolder
from counterpoise.records.schema import TrialStatus


def test_the_time_left_is_that_of_this_sessions_work() -> None:
    # Half was done before; a quarter took 100 s, so that the last quarter takes as long again.
    assert _time_left(100.0, before=0.5, done=0.75) == ", about 1 min 40 s left"
    assert not _time_left(100.0, before=0.5, done=0.51)
    assert not _time_left(100.0, before=0.5, done=1.0)


def test_a_trials_share_counts_its_steps() -> None:
    assert _share(TrialStatus("waiting")) == 0.0
    assert _share(TrialStatus("running", epoch=2, epochs=4, step=50, steps_per_epoch=100)) == 0.375


def test_running_and_failed_trials_are_shown_where_not_all_fit() -> None:
    states: list[Any] = ["finished", "failed", "waiting", "running", "new kind", "running"]
    trials = [(TrialFolder(Path(f"a/seed-{n}")), TrialStatus(state)) for n, state in enumerate(states)]
    assert _most_important(trials, 6) == trials
    assert [folder.seed for folder, _ in _most_important(trials, 5)] == [3, 5, 1]
    assert [folder.seed for folder, _ in _most_important(trials, 2)] == [3, 5]
