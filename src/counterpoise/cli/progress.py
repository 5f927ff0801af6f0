"""How the state of a run is drawn: the table of trials, the line above it, the machine below it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.console import Group
from rich.text import Text

from counterpoise.cli.screen import Column, fold, number, table_of
from counterpoise.machine.hardware import GIB
from counterpoise.machine.health import Health
from counterpoise.runs.progress import RunProgress, TrialProgress

__all__ = ["draw_trials", "duration", "headline", "health_lines", "trial_columns"]

_STYLES = {"waiting": "dim", "finished": "green", "failed": "red"}
_LINES_AROUND = 4
"""Title, heading, summary, and the line the cursor is on."""

_RUNNERS = {
    "running": "running here",
    "gone": "its runner has died",
    "elsewhere": "run on another machine",
    "none": "not running",
}


def draw_trials(title: str, trials: Sequence[TrialProgress], *, width: int, height: int) -> Group:
    """Draw what fits a terminal: title, trials (those that matter most now), and a line for the others."""
    shown = _most_important(trials, max(height - _LINES_AROUND, 1))
    columns = fold(trial_columns(shown), width)[0]  # the last ones go first on a narrow terminal
    others = Counter(t.status.state for t in trials) - Counter(t.status.state for t in shown)
    summary = "and " + ", ".join(f"{count} {state}" for state, count in others.items()) if others else ""
    return Group(
        Text(title, style="bold", no_wrap=True, overflow="ellipsis"),
        table_of(columns, styles=[_STYLES.get(trial.status.state, "") for trial in shown]),
        Text(summary, style="dim", no_wrap=True, overflow="ellipsis"),
    )


def trial_columns(trials: Sequence[TrialProgress]) -> list[Column]:
    """Make the columns of the table of trials."""
    rows = [("trial", "seed", "state", "epoch", "Val Dice", "best", "train loss", "patches/s", "left")]
    for trial in trials:
        status = trial.status
        rows.append(
            (
                trial.folder.arm,
                str(trial.folder.seed),
                status.state,
                f"{status.epoch}/{status.epochs}" if status.epochs else "–",
                number(status.dice_mean),
                number(status.best_dice),
                number(status.train_loss),
                number(status.patches_per_s if status.state == "running" else None, ".0f"),
                duration(trial.left_s) if trial.left_s else "–",
            )
        )
    return list(zip(*rows, strict=True))


def headline(progress: RunProgress) -> str:
    """Say in one line how far a run is."""
    states = Counter(trial.status.state for trial in progress.trials)
    counts = ", ".join(f"{states[s]} {s}" for s in ("finished", "running", "waiting", "failed") if states[s])
    left = "" if progress.left_s is None or progress.has_ended else f", about {duration(progress.left_s)} left"
    runner = "" if progress.has_ended else f"; {_RUNNERS[progress.runner]}"
    return f"{progress.run.path}: {progress.done:.0%} done{left} ({counts}{runner})"


def health_lines(health: Health) -> list[str]:
    """Say how the machine is doing, a line per GPU and one for the rest."""
    lines = [
        f"GPU {gpu.index} {gpu.name}: {'busy ' + format(gpu.busy, '.0%') if gpu.busy is not None else 'load unknown'}, "
        f"{gpu.used_bytes / GIB:.1f} of {gpu.memory_bytes / GIB:.1f} GiB"
        for gpu in health.gpus
    ]
    machine = (
        f"load {health.load:.1f} on {health.cores} cores; memory {health.memory_used_bytes / GIB:.1f} of "
        f"{health.memory_bytes / GIB:.1f} GiB; disk {health.disk_free_bytes / GIB:.0f} GiB free"
    )
    return [*lines, machine]


def duration(seconds: float) -> str:
    """Write a time in the two largest units that say something."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def _most_important(trials: Sequence[TrialProgress], most: int) -> list[TrialProgress]:
    """Choose the trials to show: all of them, or as many running and failed ones as there is room for."""
    if len(trials) <= most:
        return list(trials)
    return [trial for state in ("running", "failed") for trial in trials if trial.status.state == state][:most]
