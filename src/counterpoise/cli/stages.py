"""The stages before a run on the screen: a spinner and a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from counterpoise.preflight.observer import Stage
from counterpoise.store import StoreRequest
from counterpoise.store.build import voxels_to_decode

__all__ = ["StageScreen"]


class StageScreen:
    """Shows what is done before the first trial; an observer of preflight.

    Parameters
    ----------
    to : Console
        Where to show it.
    plain : bool
        Whether to print a line per stage where ``to`` is no terminal; nothing is shown there if not.
    """

    def __init__(self, to: Console, *, plain: bool = False) -> None:
        self._to, self._plain = to, plain
        self._progress: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def began(self, stage: Stage) -> None:
        """Show a stage instead of the one before."""
        self.close()
        title = stage.value.capitalize()
        if self._to.is_terminal:
            columns = (
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, console=self._to, transient=True)
            self._progress.add_task(title, total=None)
            self._progress.start()
        elif self._plain:
            self._to.print(f"{title} ...", soft_wrap=True)

    def building_store(self, request: StoreRequest) -> Callable[[int], object]:
        """Return a function that lets the bar fill as voxels are decoded."""
        progress, total = self._progress, voxels_to_decode(request)
        if progress is None:
            return lambda _: None
        (task,) = progress.task_ids
        return lambda voxels: progress.update(task, description="Decoding crops", total=total, advance=voxels)

    def told(self, line: str) -> None:
        """Print a line."""
        self._to.print(line, style="bold")

    def close(self) -> None:
        """Stop showing a stage."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
