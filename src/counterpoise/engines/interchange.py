"""Parsl's interchange, between the engine and its workers, as a process that outlives nobody.

Parsl's own would go on after the engine was killed, and with it the cluster's jobs, idle until their time is over.
This one ends with the engine; the workers miss its heartbeat, end their trials and then themselves.
"""

from __future__ import annotations

import os
import runpy
import signal
import threading
import time

__all__ = ["main"]

_LOOK_S = 1.0


def main() -> None:
    """Run the interchange; its configuration comes by standard input, from Parsl."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is for the engine, which still needs us
    engine = os.getppid()

    def watch() -> None:
        while os.getppid() == engine:
            time.sleep(_LOOK_S)
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="watch engine").start()
    runpy.run_module("parsl.executors.high_throughput.interchange", run_name="__main__")


if __name__ == "__main__":
    main()
