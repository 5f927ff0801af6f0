"""The status of a run on a terminal: the table of trials, the line above it, the machine below it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from counterpoise.cli.screen import Column, table_of, width_of
from counterpoise.machine.health import Health, read_health
from counterpoise.report import history_statements, training_statements
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.progress import RunProgress, TrialProgress, read_progress
from counterpoise.statistics.following import Following, follow
from counterpoise.text import DASH, counted, duration, fixed, percent, size

__all__ = [
    "draw_trials",
    "fitting",
    "headline",
    "health_lines",
    "look",
    "race_lines",
    "score_warnings",
    "trial_columns",
]

_STYLES = {"waiting": "dim", "finished": "green", "failed": "red"}
_LINES_AROUND = 4
"""Title, heading, summary, and the line the cursor is on."""

_HEADING = ("trial", "seed", "state", "epoch", "Val Dice", "best", "train loss", "patches/s", "left")
_SPARED = ("patches/s", "train loss", "best", "left", "Val Dice", "epoch")
"""Columns that a narrow terminal goes without, in this order."""

_RUNNERS = {
    "running": "running here",
    "gone": "its runner has died",
    "elsewhere": "run on another machine",
    "none": "not running",
}


def look(run: RunFolder) -> tuple[RunProgress, Following, Health]:
    """Read how a run, its scores and this machine are doing.

    Raises
    ------
    RunFolderError
        If this is not a run folder.
    """
    progress = read_progress(run, now=time.time())
    return progress, follow(progress), read_health(run.path)


def score_warnings(following: Following) -> tuple[str, ...]:
    """Name the classes that trainings do not find yet."""
    return tuple(
        training_statements.still_trivial(entry.name, entry.epoch, entry.count, entry.trainings)
        for entry in following.not_found
    )


def draw_trials(title: str, trials: Sequence[TrialProgress], following: Following, *, width: int, height: int) -> Group:
    """Draw what fits a terminal: title, trials (those that matter most now), and a line for the others."""
    shown = _most_important(trials, max(height - _LINES_AROUND, 1))
    columns = fitting(trial_columns(shown, following), width)
    others = Counter(t.status.state for t in trials) - Counter(t.status.state for t in shown)
    summary = "and " + ", ".join(f"{count} {state}" for state, count in others.items()) if others else ""
    return Group(
        Text(title, style="bold", no_wrap=True, overflow="ellipsis"),
        table_of(columns, styles=[_STYLES.get(trial.status.state, "") for trial in shown]),
        Text(summary, style="dim", no_wrap=True, overflow="ellipsis"),
    )


def trial_columns(trials: Sequence[TrialProgress], following: Following) -> list[Column]:
    """Make the columns of the table of trials; Dice is the mean over the classes that will be scored."""
    rows: list[tuple[str, ...]] = [_HEADING]
    for trial in trials:
        status, (last, best) = trial.status, following.dice(trial)
        rows.append(
            (
                trial.folder.arm,
                str(trial.folder.seed),
                status.state,
                f"{status.epoch}/{status.epochs}" if status.epochs else DASH,
                fixed(last, 4),
                fixed(best, 4),
                fixed(status.train_loss, 4),
                fixed(status.patches_per_s if status.state == "running" else None, 0),
                duration(trial.left_s) if trial.left_s else DASH,
            )
        )
    return list(zip(*rows, strict=True))


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Choose the columns of the table of trials that fit a width; none is narrowed."""
    kept = list(columns)
    for name in _SPARED:
        if sum(map(width_of, kept)) <= width:
            break
        kept = [column for column in kept if column[0] != name]
    return kept


def headline(progress: RunProgress) -> str:
    """Say in one line how far a run is."""
    states = Counter(trial.status.state for trial in progress.trials)
    counts = ", ".join(f"{states[s]} {s}" for s in ("finished", "running", "waiting", "failed") if states[s])
    left = "" if progress.left_s is None or progress.has_ended else f", about {duration(progress.left_s)} left"
    runner = "" if progress.has_ended else f"; {_RUNNERS[progress.runner]}"
    return f"{progress.run.path}: {percent(round(progress.done, 2))} done{left} ({counts}{runner})"


def race_lines(progress: RunProgress) -> list[str]:
    """Say what a race has decided so far."""
    return [f"race: {text}" for look in progress.race for text in history_statements.race_look(look)]


def health_lines(health: Health) -> list[str]:
    """Write the load of the machine, a line per GPU and one for the rest."""
    lines = [
        f"GPU {gpu.index} {gpu.name}: {'busy ' + format(gpu.busy, '.0%') if gpu.busy is not None else 'load unknown'}, "
        f"{size(gpu.used_bytes)} of {size(gpu.memory_bytes)}"
        for gpu in health.gpus
    ]
    machine = (
        f"load {health.load:.1f} on {counted(health.cores, 'core')}; memory {size(health.memory_used_bytes)} of "
        f"{size(health.memory_bytes)}; disk {size(health.disk_free_bytes)} free"
    )
    return [*lines, machine]


def _most_important(trials: Sequence[TrialProgress], most: int) -> list[TrialProgress]:
    """Choose the trials to show: all of them, or as many running and failed ones as fit."""
    if len(trials) <= most:
        return list(trials)
    return [trial for state in ("running", "failed") for trial in trials if trial.status.state == state][:most]
