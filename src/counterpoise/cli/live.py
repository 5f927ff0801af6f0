"""What a run looks like while it runs: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from counterpoise.cli.frequencies import print_arms, print_frequencies
from counterpoise.cli.screen import console, new_table, number
from counterpoise.records.layout import TrialFolder
from counterpoise.records.schema import TrialStatus
from counterpoise.scheduling.prepare import PreparedRun
from counterpoise.store import StoreRequest
from counterpoise.store.build import voxels_to_decode

__all__ = ["RunScreen"]

_REDRAW_S = 0.5
_STYLES = {"waiting": "dim", "running": "", "finished": "green", "failed": "red"}


class RunScreen:
    """Shows a run; the observer of :func:`counterpoise.run.run_experiment`."""

    def __init__(self) -> None:
        self._began = time.monotonic()
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
        print_frequencies(run.frequencies)
        print_arms(run.arms, run.store.classes)
        for note in run.notes:
            console.print(f"note: {note}", markup=False, soft_wrap=True)
        tiles = run.tiles
        console.print(
            f"\n{len(run.trials)} trials on {len(run.machine.slots)} slots; validation on {len(tiles.patches)} fixed "
            f"tiles of {len(tiles.crops)} crops (list {tiles.hash()})",
            markup=False,
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

    def _table(self, run: PreparedRun) -> Table:
        table = new_table(
            "trial", "seed", "state", "epoch", "train loss", "Val Dice", "best", "patches/s",
            title=f"{run.run.path}  {_duration(time.monotonic() - self._began)}{self._left(run)}",
        )  # fmt: skip
        for folder in run.trials:
            status = TrialStatus.read(folder.status)
            table.add_row(
                folder.arm,
                str(folder.seed),
                status.state,
                _epoch(status),
                number(status.train_loss),
                number(status.dice_mean),
                number(status.best_dice),
                number(status.patches_per_s, ".0f"),
                style=_STYLES[status.state],
            )
        return table

    def _left(self, run: PreparedRun) -> str:
        """Estimate the time left from the share of all epochs that is done."""
        shares = [_share(TrialStatus.read(folder.status)) for folder in run.trials]
        done = sum(shares) / len(shares)
        elapsed = time.monotonic() - self._began
        enough = 0.02
        return f", about {_duration(elapsed / done - elapsed)} left" if enough < done < 1 else ""

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


def _share(status: TrialStatus) -> float:
    if status.state in {"finished", "failed"}:
        return 1.0
    if not status.epochs or not status.steps_per_epoch:
        return 0.0
    return max(status.epoch - 1 + status.step / status.steps_per_epoch, 0.0) / status.epochs


def _epoch(status: TrialStatus) -> str:
    return f"{status.epoch}/{status.epochs}" if status.epochs else "–"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
