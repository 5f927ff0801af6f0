"""What the records of trainings tell while they run: Dice over the classes that will be scored, and what is not found.

From the records of epochs and the list of validation tiles alone, which is cheap enough for a live view.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from counterpoise.errors import RunFolderError
from counterpoise.runs.arms import read_arms
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.progress import RunProgress, TrialProgress
from counterpoise.runs.tile_voxels import TileVoxels
from counterpoise.statistics.support import plan_support
from counterpoise.statistics.training import trivial_scores

__all__ = ["Following", "NotFound", "Targets", "follow", "read_targets"]

_EARLY = 0.2
"""Share of the epochs during which it is no surprise that a class is not found yet."""


@dataclass(frozen=True)
class Targets:
    """Classes that will be scored, each with the Dice of calling every known voxel present."""

    trivial: tuple[tuple[str, float], ...]

    @property
    def scored(self) -> tuple[str, ...]:
        """Return the classes."""
        return tuple(name for name, _ in self.trivial)


@dataclass(frozen=True)
class NotFound:
    """A class that ``count`` of so many trainings do not find better than by predicting it everywhere.

    ``epoch`` is the least that one of them has scored; ``trainings`` are those that are past their first epochs.
    """

    name: str
    epoch: int
    count: int
    trainings: int


@dataclass(frozen=True)
class Following:
    """A run while it runs.

    Parameters
    ----------
    targets : Targets or None
        None where the run does not say which classes are scored, as older ones.
    not_found : tuple of NotFound
        In the order of the classes.
    """

    targets: Targets | None
    not_found: tuple[NotFound, ...]

    def dice(self, trial: TrialProgress) -> tuple[float | None, float | None]:
        """Return last and best mean Dice of a training, over the scored classes; over all where nobody knows them."""
        if self.targets is None:
            return trial.status.dice_mean, trial.status.best_dice
        means = [mean for e in trial.epochs if (mean := e.mean_over(self.targets.scored)) is not None]
        return (means[-1], max(means)) if means else (None, None)


def follow(progress: RunProgress) -> Following:
    """Say which classes the trainings of a run do not find yet."""
    targets = read_targets(progress.run)
    if targets is None:
        return Following(None, ())
    scored = [(trial, [e for e in trial.epochs if e.counts]) for trial in progress.trials]
    late = [
        epochs[-1]
        for trial, epochs in scored
        if epochs and epochs[-1].epoch >= max(math.ceil(_EARLY * trial.status.epochs), 1)
    ]
    found = []
    for name, trivial in targets.trivial:
        behind = [epoch.epoch for epoch in late if (epoch.dice.get(name) or 0.0) <= trivial]
        if behind:
            found.append(NotFound(name, min(behind), len(behind), len(late)))
    return Following(targets, tuple(found))


def read_targets(run: RunFolder) -> Targets | None:
    """Read which classes of a run will be scored; None where it does not say."""
    try:
        stamps = tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in (run.tiles, run.weights))
        return _read_targets(run, stamps)
    except (OSError, ValueError, TypeError, RunFolderError):
        return None


@lru_cache(maxsize=64)
def _read_targets(run: RunFolder, _: Sequence[object]) -> Targets | None:
    voxels = TileVoxels.read(run.tiles)
    if voxels is None:
        return None
    support = plan_support(voxels.crops, voxels.classes, voxels.present, read_arms(run).verdict)
    trivial = trivial_scores(voxels.present.sum(0, dtype=np.int64), voxels.known.sum(0, dtype=np.int64))
    by_class = dict(zip(voxels.classes, trivial.tolist(), strict=True))
    return Targets(tuple((name, by_class[name]) for name in support.scored))
