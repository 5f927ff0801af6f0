"""``stop``: end a run in an orderly way."""

from __future__ import annotations

from typing import Annotated

import typer

from counterpoise.cli.options import RunPlace
from counterpoise.cli.places import find_run
from counterpoise.cli.screen import side
from counterpoise.engines.background import ask_to_stop, wait_for_end

__all__ = ["stop"]


def stop(
    run: RunPlace = None,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for the next checkpoints.")] = False,
) -> None:
    """Stop a run after the next checkpoint of each trial; `run` continues it.

    Example: counterpoise stop runs/classic
    """
    found = find_run(run)
    holder = ask_to_stop(found, now=now)
    how = "at once" if now else "after the next checkpoint of each of its trials; the same command again stops it now"
    side.print(f"{holder} stops {how}", soft_wrap=True)
    try:
        wait_for_end(found, holder)
    except KeyboardInterrupt:
        side.print("No longer waiting; the run still stops.")
        return
    side.print("Stopped. `counterpoise run` with the same experiment continues.", style="bold")
