"""The screen of a run: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Group
from rich.live import Live
from rich.text import Text

from counterpoise.cli.class_tables import print_arms, print_frequencies
from counterpoise.cli.progress import draw_trials, score_warnings
from counterpoise.cli.screen import console, print_notes, side
from counterpoise.cli.stages import StageScreen
from counterpoise.preflight.observer import Stage
from counterpoise.preflight.prepare import PreparedRun
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.progress import read_progress
from counterpoise.statistics.following import follow
from counterpoise.store import StoreRequest
from counterpoise.text import counted, duration

__all__ = ["RunScreen"]

_REDRAW_S = 0.5
_ESTIMATED_FROM = 0.02
"""Share of the work from which on the time left is estimated."""


class RunScreen:
    """Shows a run; the observer of :func:`counterpoise.run.run_experiment`. From the start it shows what is done."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._done_before = 0.0
        self._stages = StageScreen(console, plain=True)
        self._live: Live | None = None
        self._printed: dict[TrialFolder, tuple[str, int]] = {}
        self._drawn = 0.0

    def began(self, stage: Stage) -> None:
        """Show a stage before the first trial."""
        self._stages.began(stage)

    def building_store(self, request: StoreRequest) -> Callable[[int], object]:
        """Show how many voxels are decoded."""
        return self._stages.building_store(request)

    def prepared(self, run: PreparedRun) -> None:
        """Show data, weights and plan."""
        self.close()
        if self._began is None:
            self._began = time.monotonic()
            self._done_before = read_progress(run.run, now=time.time()).done
        print_frequencies(run.design.frequencies)
        print_arms(run.design.arms, run.design.store.classes)
        print_notes(run.notes, to=console)
        tiles = run.design.tiles
        console.print(
            f"\n{counted(len(run.trials), 'trial')} on {counted(len(run.design.machine.slots), 'slot')}; validation on "
            f"{counted(len(tiles.patches), 'fixed tile')} of {counted(len(tiles.crops), 'crop')} (list {tiles.hash()})",
            soft_wrap=True,
        )
        for reason in run.design.machine.reasons:
            console.print(f"  {reason}", style="dim")
        console.print()
        if console.is_terminal:
            self._live = Live(self._table(run), console=console, auto_refresh=False)
            self._live.start()

    def changed(self, run: PreparedRun) -> None:
        """Redraw the table, at most twice a second; without a terminal, print a line per finished epoch."""
        if self._live is None:
            self._print_news(run)
        elif time.monotonic() - self._drawn > _REDRAW_S:
            self._drawn = time.monotonic()
            self._live.update(self._table(run), refresh=True)

    def told(self, line: str) -> None:
        """Print a line, above the table if there is one."""
        self._stages.close()
        (self._live.console if self._live is not None else side).print(line, style="bold")

    def trials_ended(self, run: PreparedRun) -> None:
        """Draw the last state and let go of the terminal."""
        if self._live is None:
            self._print_news(run)
        else:
            self._live.update(self._table(run), refresh=True)
        self.close()

    def close(self) -> None:
        """Let go of the terminal, whatever was shown last."""
        self._stages.close()
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _table(self, run: PreparedRun) -> Group:
        progress = read_progress(run.run, now=time.time())
        elapsed = time.monotonic() - (self._began or time.monotonic())
        left = _time_left(elapsed, self._done_before, progress.done)
        title = f"{duration(elapsed)}{left}  {run.run.path}"
        following = follow(progress)
        warnings = score_warnings(following)[: max(console.height // 4, 1)]
        height = console.height - len(warnings)
        table = draw_trials(title, progress.trials, following, width=console.width, height=height)
        return Group(table, *(Text(line, style="yellow", no_wrap=True, overflow="ellipsis") for line in warnings))

    def _print_news(self, run: PreparedRun) -> None:
        progress = read_progress(run.run, now=time.time())
        following = follow(progress)
        for trial in progress.trials:
            folder, status = trial.folder, trial.status
            finished_epochs = status.epoch if status.step == status.steps_per_epoch else status.epoch - 1
            news = (status.state, max(finished_epochs, 0))
            if self._printed.get(folder, ("waiting", 0)) == news:
                continue
            self._printed[folder] = news
            last, _ = following.dice(trial)
            dice = "" if last is None else f"  Val Dice: {last:.4f}"
            epochs = f"  epoch {news[1]}/{status.epochs}" if status.epochs else ""
            reason = f"  {status.reason}" if status.reason else ""
            console.print(
                f"{folder.arm} seed {folder.seed}: {status.state}{epochs}{dice}{reason}",
                soft_wrap=True,
            )


def _time_left(elapsed: float, before: float, done: float) -> str:
    """Estimate the time left from what this process has seen done; ``before`` was done when it began."""
    here = done - before
    return f", about {duration(elapsed / here * (1 - done))} left" if here > _ESTIMATED_FROM and done < 1 else ""
