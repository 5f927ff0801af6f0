"""The interchange: Parsl's process that passes tasks from the engine to the workers of its jobs.

Parsl's own would go on after the engine was killed, and with it the cluster's jobs, idle until their time is over.
This one ends with the engine; the workers miss its heartbeat, end their trials and then themselves.
"""

from __future__ import annotations

import os
import runpy
import threading
import time

__all__ = ["main"]

_LOOK_S = 1.0


def main() -> None:
    """Run the interchange; its configuration comes by standard input, from Parsl."""
    os.setsid()  # signals to the terminal or the process group are for the engine, which still needs this process
    engine = os.getppid()

    def watch() -> None:
        while os.getppid() == engine:
            time.sleep(_LOOK_S)
        os._exit(0)

    threading.Thread(target=watch, daemon=True, name="watch engine").start()
    from parsl.executors.high_throughput import interchange

    runpy.run_path(str(interchange.__file__), run_name="__main__")


if __name__ == "__main__":
    main()
