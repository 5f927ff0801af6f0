"""What a run looks like while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from counterpoise.cli.frequencies import print_arms, print_frequencies
from counterpoise.cli.screen import console, counted, fold, number, print_notes, table_of
from counterpoise.records.layout import TrialFolder
from counterpoise.records.schema import TrialStatus
from counterpoise.scheduling.prepare import PreparedRun
from counterpoise.store import StoreRequest
from counterpoise.store.build import voxels_to_decode

__all__ = ["RunScreen"]

_REDRAW_S = 0.5
_STYLES = {"waiting": "dim", "finished": "green", "failed": "red"}
_LINES_AROUND = 4
"""Title, heading, summary, and the line the cursor is on."""
_TOLD_FROM = 0.02
"""Share of the work from which on the time left is estimated."""


class RunScreen:
    """Shows a run; the observer of :func:`counterpoise.run.run_experiment`."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._done_before = 0.0
        self._bar: Progress | None = None
        self._live: Live | None = None
        self._told: dict[TrialFolder, tuple[str, int]] = {}
        self._drawn = 0.0

    def building_store(self, request: StoreRequest) -> Callable[[int], object]:
        """Show a bar that fills as voxels are decoded; it stays invisible if the store is there already."""
        if not console.is_terminal:
            return lambda _: None
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, transient=True)
        task = self._bar.add_task("Decoding crops", total=voxels_to_decode(request))
        self._bar.start()
        return lambda voxels: self._bar.advance(task, voxels) if self._bar else None

    def prepared(self, run: PreparedRun) -> None:
        """Show data, weights and plan."""
        self.close()
        if self._began is None:
            self._began = time.monotonic()
            states = [TrialStatus.read(folder.status) for folder in run.trials]
            self._done_before = sum(1.0 if s.state == "finished" else _share(s) for s in states) / max(len(states), 1)
        print_frequencies(run.frequencies)
        print_arms(run.arms, run.store.classes)
        print_notes(run.notes, to=console)
        tiles = run.tiles
        console.print(
            f"\n{counted(len(run.trials), 'trial')} on {counted(len(run.machine.slots), 'slot')}; validation on "
            f"{counted(len(tiles.patches), 'fixed tile')} of {counted(len(tiles.crops), 'crop')} (list {tiles.hash()})",
            markup=False,
            soft_wrap=True,
        )
        for reason in run.machine.reasons:
            console.print(f"  {reason}", style="dim", markup=False)
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

    def trials_ended(self, run: PreparedRun) -> None:
        """Draw the last state and let go of the terminal."""
        if self._live is None:
            self._print_news(run)
        else:
            self._live.update(self._table(run), refresh=True)
        self.close()

    def close(self) -> None:
        """Let go of the terminal, whatever was shown last."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _table(self, run: PreparedRun) -> Group:
        """Draw what fits the terminal: title, trials (those that matter most now), and a line for the others."""
        states = [(folder, TrialStatus.read(folder.status)) for folder in run.trials]
        elapsed = time.monotonic() - (self._began or time.monotonic())
        done = sum(1.0 if s.state in {"finished", "failed"} else _share(s) for _, s in states) / max(len(states), 1)
        title = f"{_duration(elapsed)}{_time_left(elapsed, self._done_before, done)}  {run.run.path}"
        shown = _most_important(states, max(console.height - _LINES_AROUND, 1))
        rows = [("trial", "seed", "state", "epoch", "Val Dice", "best", "train loss", "patches/s")]
        rows += [
            (
                folder.arm,
                str(folder.seed),
                status.state,
                _epoch(status),
                number(status.dice_mean),
                number(status.best_dice),
                number(status.train_loss),
                number(status.patches_per_s, ".0f"),
            )
            for folder, status in shown
        ]
        columns = fold(list(zip(*rows, strict=True)), console.width)[0]  # the last ones go first on a narrow terminal
        others = Counter(s.state for _, s in states) - Counter(s.state for _, s in shown)
        summary = "and " + ", ".join(f"{count} {state}" for state, count in others.items()) if others else ""
        return Group(
            Text(title, style="bold", no_wrap=True, overflow="ellipsis"),
            table_of(columns, styles=[_STYLES.get(status.state, "") for _, status in shown]),
            Text(summary, style="dim", no_wrap=True, overflow="ellipsis"),
        )

    def _print_news(self, run: PreparedRun) -> None:
        for folder in run.trials:
            status = TrialStatus.read(folder.status)
            finished_epochs = status.epoch if status.step == status.steps_per_epoch else status.epoch - 1
            news = (status.state, max(finished_epochs, 0))
            if self._told.get(folder, ("waiting", 0)) == news:
                continue
            self._told[folder] = news
            dice = "" if status.dice_mean is None else f"  Val Dice: {status.dice_mean:.4f}"
            epochs = f"  epoch {news[1]}/{status.epochs}" if status.epochs else ""
            reason = f"  {status.reason}" if status.reason else ""
            console.print(
                f"{folder.arm} seed {folder.seed}: {status.state}{epochs}{dice}{reason}",
                markup=False,
                soft_wrap=True,
            )


def _most_important(states: list[tuple[TrialFolder, TrialStatus]], most: int) -> list[tuple[TrialFolder, TrialStatus]]:
    """Choose the trials to show: all of them, or as many running and failed ones as there is room for."""
    if len(states) <= most:
        return states
    return [item for state in ("running", "failed") for item in states if item[1].state == state][:most]


def _time_left(elapsed: float, before: float, done: float) -> str:
    """Estimate the time left from what this session did: ``before`` was done when it began."""
    here = done - before
    return f", about {_duration(elapsed / here * (1 - done))} left" if here > _TOLD_FROM and done < 1 else ""


def _share(status: TrialStatus) -> float:
    """Return the share of a trial's steps that are done."""
    if not status.epochs or not status.steps_per_epoch:
        return 0.0
    return max(status.epoch - 1 + status.step / status.steps_per_epoch, 0.0) / status.epochs


def _epoch(status: TrialStatus) -> str:
    return f"{status.epoch}/{status.epochs}" if status.epochs else "–"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
