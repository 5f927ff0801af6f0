"""``run --detach``: a run that needs no terminal."""

from __future__ import annotations

import time
from pathlib import Path

from counterpoise.cli.logs import read_added
from counterpoise.cli.screen import console
from counterpoise.engines import background
from counterpoise.experiment.load import Source

__all__ = ["start_detached"]

_POLL_S = 0.2


def start_detached(source: Source) -> int:
    """Start a run that outlives this terminal, and return once its trials have begun or it has ended.

    Until then what it prints is shown, so that a mistake is seen at once. Return its exit code if it has ended, else 0.
    """
    detached = background.start_detached(source)
    run, start = detached.run, detached.log_start
    try:
        while detached.is_starting():
            start = _print_more(run.log, start)
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        detached.end()
        raise
    _print_more(run.log, start)
    if detached.process.returncode is None:
        console.print(
            f"\nRunning in the background as process {detached.process.pid}.\n"
            f"  counterpoise attach {run.path}   shows it, and waits for the results\n"
            f"  counterpoise stop {run.path}     stops it after the next checkpoints\n"
            f"  {run.log} is what it prints",
            soft_wrap=True,
        )
        return 0
    detached.remove_refused()
    return detached.process.returncode


def _print_more(file: Path, start: int) -> int:
    """Print what was added to a file; return where it ends now."""
    added, end = read_added(file, start)
    console.print(added, end="", soft_wrap=True)
    return end
