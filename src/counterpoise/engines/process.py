"""The process of a trial: how every engine starts it, what its exit code means, and how it ends with its runner."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from counterpoise.engines.engine import Reason
from counterpoise.files.lock import is_alive
from counterpoise.runs.layout import TrialFolder

__all__ = [
    "EXIT_HELD", "EXIT_STOPPED", "RUNNER_VARIABLE", "end_with_runner", "read_exit", "signal_group", "start_trial",
]  # fmt: skip

RUNNER_VARIABLE = "COUNTERPOISE_RUNNER"
"""Names the process that started a trial; the trial ends when that process dies, because its slot is given away."""

EXIT_STOPPED = 130
"""Exit code of a trial that was asked to stop."""

EXIT_HELD = 75
"""Exit code of a trial in whose folder another process trains (EX_TEMPFAIL: try again later)."""

_LOOK_S = 1.0


def start_trial(
    program: Sequence[str],
    folder: TrialFolder,
    *,
    device: str,
    threads: int,
    environment: Mapping[str, str],
    heading: str = "",
) -> subprocess.Popen[bytes]:
    """Start a trial's command in a process group of its own; it ends with this process.

    Parameters
    ----------
    program : sequence of str
        Starts this package's command line where the trial runs.
    folder : TrialFolder
        The trial; the output is appended to its log.
    device, threads
        As in :class:`~counterpoise.machine.plan.Slot`.
    environment : mapping
        Variables added to this process's own.
    heading : str
        Written to the log first, if not empty.

    Raises
    ------
    OSError
        If the log cannot be written, or the program cannot be started.
    """
    with folder.log.open("ab", buffering=0) as log:
        if heading:
            log.write(f"--- {heading} ---\n".encode())
        return subprocess.Popen(
            [*program, "trial", str(folder.path), "--device", device, "--threads", str(threads)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment, "PYTHONUNBUFFERED": "1", RUNNER_VARIABLE: str(os.getpid())},
            start_new_session=True,
        )


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send a signal to a trial and all it has started; one that has ended already gets none."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def read_exit(code: int) -> tuple[Reason | None, str]:
    """Return what an exit code (below 0: minus the signal) says about an attempt, and the words for it.

    Examples
    --------
    >>> read_exit(0), read_exit(-9)
    ((None, 'ended with exit code 0'), (<Reason.KILLED: 'killed'>, 'killed by SIGKILL'))
    """
    if code < 0:
        return Reason.KILLED, f"killed by {signal.Signals(-code).name}"
    if code == EXIT_STOPPED:
        return Reason.STOPPED, "stopped"
    if code == EXIT_HELD:
        return Reason.HELD, "another process trains in its folder"
    return Reason.EXITED if code else None, f"ended with exit code {code}"


def end_with_runner() -> None:
    """End this process when the one that started it is gone (killed, so that it could not end its trials)."""
    named = os.environ.get(RUNNER_VARIABLE, "")
    if not named.isdigit():
        return
    runner = int(named)

    def watch() -> None:
        while _is_alive(runner):
            time.sleep(_LOOK_S)
        os._exit(EXIT_STOPPED)

    if not _is_alive(runner):  # killed while this process was starting
        raise SystemExit(EXIT_STOPPED)
    threading.Thread(target=watch, daemon=True, name="watch runner").start()


def _is_alive(process: int) -> bool:
    return process == os.getppid() or is_alive(process)
