from __future__ import annotations

from counterpoise.cli.live import _time_left


def test_the_time_left_is_that_of_this_sessions_work() -> None:
    # Half was done before; a quarter took 100 s, so that the last quarter takes as long again.
    assert _time_left(100.0, before=0.5, done=0.75) == ", about 1 min 40 s left"
    assert not _time_left(100.0, before=0.5, done=0.51)
    assert not _time_left(100.0, before=0.5, done=1.0)
