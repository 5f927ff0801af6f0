"""The status of a run, from its files alone: while it runs, after a crash, on another machine that sees the folder."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from counterpoise.errors import RunFolderError
from counterpoise.files.lock import find_holder
from counterpoise.runs.arms import read_arms
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.looks import RaceLook, needed_runs, read_looks
from counterpoise.runs.records import EpochRecord, FailureCause, TrialStatus, read_epochs
from counterpoise.text import counted

__all__ = ["RunProgress", "RunnerState", "TrialProgress", "read_progress", "share_done"]

RunnerState = Literal["running", "gone", "elsewhere", "none"]
"""The process that runs the experiment: alive here, dead, on another machine (nothing is known of it), or never."""

_STALLED_S = 120.0
_STALLED_EPOCHS = 3.0
"""A trial that is silent for two minutes and for three of its epochs is stalled: validation writes no status."""


@dataclass(frozen=True)
class TrialProgress:
    """One trial: its status, and what follows from it.

    ``epoch_s`` is the usual time of an epoch with its share of the validations (other trials' if it has none yet),
    ``left_s`` the time it still needs once it runs; None if unknown, 0 if it has ended.
    """

    folder: TrialFolder
    status: TrialStatus
    epoch_s: float | None
    left_s: float | None
    warnings: tuple[str, ...]
    epochs: tuple[EpochRecord, ...] = ()

    @property
    def name(self) -> str:
        """Return arm and seed."""
        return f"{self.folder.arm} seed {self.folder.seed}"


@dataclass(frozen=True)
class RunProgress:
    """A whole run.

    ``race`` is what a race has decided so far: the trials are those it may still need, so that what is left is its
    worst case. ``done`` is the share of all epochs in [0, 1]; ``left_s`` assumes that as many trials run at the same
    time as run now (None if no epoch has been timed). ``heard_s`` is the time since a running trial last wrote its
    status (infinite if none runs).
    """

    run: RunFolder
    trials: tuple[TrialProgress, ...]
    race: tuple[RaceLook, ...]
    runner: RunnerState
    runner_name: str
    done: float
    left_s: float | None
    heard_s: float

    @property
    def is_idle(self) -> bool:
        """Whether trials are left and nothing trains them: no runner, and no trial that was heard of lately."""
        return not self.has_ended and self.runner in {"gone", "none"} and self.heard_s > _STALLED_S

    @property
    def has_ended(self) -> bool:
        """Whether no trial is waiting or running."""
        return all(trial.status.state in {"finished", "failed"} for trial in self.trials)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what should be looked at."""
        lines = [f"{trial.name}: {text}" for trial in self.trials for text in trial.warnings]
        if self.is_idle:
            lines.insert(0, "nothing runs this experiment now; `counterpoise run` continues it")
        return tuple(lines)


def read_progress(run: RunFolder, *, now: float) -> RunProgress:
    """Read every trial's status and records.

    Parameters
    ----------
    run : RunFolder
        Planned by ``counterpoise run``; nothing in it is changed or locked.
    now : float
        Seconds since 1970.

    Raises
    ------
    RunFolderError
        If this is not a run folder.
    """
    record = read_arms(run)
    arms = [arm.name for arm in record.trained]
    looks = read_looks(run.looks, run.verdict)
    needed = needed_runs(arms, len(record.seeds), looks)
    folders = [run.trial(arm, record.seeds_of(arm)[position]) for arm, position in needed]
    read = [(folder, *_read_trial(folder, _stamps(folder))) for folder in folders]
    timed = {folder: _epoch_seconds(epochs) for folder, _, epochs in read}
    known = [seconds for seconds in timed.values() if seconds is not None]
    typical = statistics.median(known) if known else None
    lengths = [status.epochs for _, status, _ in read if status.epochs]
    planned = max(lengths, default=0)
    holder = find_holder(run.path)
    runner: RunnerState = holder.state if holder is not None else "none"
    trials = tuple(
        _describe(folder, status, epochs, timed[folder] or typical, planned, runner, now)
        for folder, status, epochs in read
    )
    heard = min(
        (now - t.status.updated for t in trials if t.status.state == "running" and t.status.updated is not None),
        default=math.inf,
    )
    return RunProgress(run, trials, looks.race, runner, str(holder or ""), _done(trials), _left(trials), heard)


def share_done(status: TrialStatus) -> float:
    """Return the share of a trial's steps that are done, in [0, 1]."""
    if status.state == "finished":
        return 1.0
    if not status.epochs or not status.steps_per_epoch:
        return 0.0
    return max(status.epoch - 1 + status.step / status.steps_per_epoch, 0.0) / status.epochs


def _describe(
    folder: TrialFolder,
    status: TrialStatus,
    epochs: Sequence[EpochRecord],
    epoch_s: float | None,
    planned: int,
    runner: RunnerState,
    now: float,
) -> TrialProgress:
    length = status.epochs or planned
    left = None if epoch_s is None or not length else (1.0 - share_done(status)) * length * epoch_s
    if status.state in {"finished", "failed"}:
        left = 0.0
    warnings = []
    if status.state == "failed":
        warnings.append(f"failed: {status.reason or 'no reason recorded'}")
    elif status.cause is FailureCause.DAMAGED:
        warnings.append(f"{status.reason}; `counterpoise run` finds out how far it is")
    if lost := sum(epoch.nonfinite_steps for epoch in epochs):
        warnings.append(f"the loss was not finite in {counted(lost, 'step')}")
    silent = now - status.updated if status.updated is not None else 0.0
    if status.state == "running" and runner != "gone" and silent > max(_STALLED_S, _STALLED_EPOCHS * (epoch_s or 0.0)):
        warnings.append(f"stalled: no progress for {silent / 60:.0f} min")
    return TrialProgress(folder, status, epoch_s, left, tuple(warnings), tuple(epochs))


def _done(trials: Sequence[TrialProgress]) -> float:
    if not trials:
        return 1.0
    return statistics.fmean(1.0 if t.status.state == "failed" else share_done(t.status) for t in trials)


def _left(trials: Sequence[TrialProgress]) -> float | None:
    """Share what is left among as many trials as run now; no run ends before its longest trial."""
    left = [trial.left_s for trial in trials]
    if any(seconds is None for seconds in left):
        return None
    seconds = [s for s in left if s is not None]
    side_by_side = max(sum(trial.status.state == "running" for trial in trials), 1)
    return max(sum(seconds) / side_by_side, max(seconds, default=0.0))


def _stamps(folder: TrialFolder) -> tuple[tuple[int, int] | None, ...]:
    """Return when the files of a trial last changed, and their sizes."""
    stamps: list[tuple[int, int] | None] = []
    for file in (folder.status, folder.metrics):
        try:
            found = file.stat()
            stamps.append((found.st_mtime_ns, found.st_size))
        except OSError:
            stamps.append(None)
    return tuple(stamps)


@lru_cache(maxsize=4096)
def _read_trial(folder: TrialFolder, _: tuple[object, ...]) -> tuple[TrialStatus, tuple[EpochRecord, ...]]:
    """Read a trial; a live view asks twice a second, and most trials have not changed."""
    try:
        epochs = read_epochs(folder)
    except RunFolderError:  # the status of a finished trial tells of damage; for the others it is written again
        epochs = ()
    return TrialStatus.of(folder), epochs


def _epoch_seconds(epochs: Sequence[EpochRecord]) -> float | None:
    """Estimate the time of an epoch: training, and its share of a validation, of which there may be one in k epochs.

    A validation's time counts from the first one on; until then there is none to go by.
    """
    if not epochs:
        return None
    training = statistics.median(epoch.train_s for epoch in epochs)
    validated = [epoch for epoch in epochs if epoch.validation_s > 0]
    if not validated:
        return training
    return training + statistics.median(epoch.validation_s for epoch in validated) / validated[0].epoch
