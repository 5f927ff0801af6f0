"""What a run's networks were shown, next to what the data hold: where a weighting repeats what the sampler does.

Weights are made from exact frequencies. A sampler that prefers crops with rare classes shows those more often than
they are; weights from the exact frequencies then correct a second time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise.arrays import Frequencies
from counterpoise.errors import ClassNameError, RunFolderError, suggest
from counterpoise.frequencies.exposure import Exposure
from counterpoise.frequencies.table import FrequencyTable, from_json
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.read import Run, Trial, Unreadable
from counterpoise.text import counted
from counterpoise.weights import ClassStatistics, derive_weights, known_strategies

__all__ = [
    "SHIFT_LIMIT",
    "WEIGHED_BY_FREQUENCY",
    "ClassShift",
    "ExposureComparison",
    "RunExposure",
    "compare_with_shown",
    "counted_frequencies",
    "sum_exposure",
]

SHIFT_LIMIT = 1.5
"""A sampler that moves a class further than this towards balance has done a good part of a weighting's work."""

WEIGHED_BY_FREQUENCY = ("weight_inv_freq", "weight_sqrt_inv")
"""The strategies whose weights are compared: the full correction for frequency, and half of it."""


@dataclass(frozen=True)
class RunExposure:
    """What the networks of a run were shown, one trial per seed.

    Parameters
    ----------
    exposure : Exposure
        Summed over the epochs of ``trials``. The arms of one seed are trained on the same patches, so one of them
        stands for all.
    trials : tuple of TrialFolder
        The trials that were summed.
    epochs : int
        Their epochs together.
    arms : tuple of str
        All arms of the run.
    notes : tuple of str
        What could not be read, and seeds whose arms were not shown the same.
    """

    exposure: Exposure
    trials: tuple[TrialFolder, ...]
    epochs: int
    arms: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ClassShift:
    """One class in the data and in what was shown.

    Parameters
    ----------
    name : str
    exact, shown : float
        Frequency over the train crops; over the patches. NaN where the class is known nowhere.
    towards_balance : float
        Factor by which the sampler moved the class's frequency towards the median of the classes, all frequencies
        taken relative to their own median; below 1 where it moved away. NaN where the class has no such frequency.
    weights : mapping
        Strategy to the weight of the class from the exact frequencies, and from those shown.
    """

    name: str
    exact: float
    shown: float
    towards_balance: float
    weights: Mapping[str, tuple[float, float]]

    @property
    def ratio(self) -> float:
        """Return shown over exact frequency; NaN where the class has no exact frequency or no positive voxel."""
        return self.shown / self.exact if self.exact else float("nan")

    @property
    def is_corrected_twice(self) -> bool:
        """Whether the sampler has moved the class so far that a weight from the exact frequency does it again."""
        return self.towards_balance > SHIFT_LIMIT


@dataclass(frozen=True)
class ExposureComparison:
    """Classes in the data and in what was shown, and the arms whose weights follow the exact frequencies."""

    classes: tuple[ClassShift, ...]
    arms: tuple[str, ...]

    @property
    def corrected_twice(self) -> tuple[ClassShift, ...]:
        """Return the classes that a weight from the exact frequency corrects a second time."""
        return tuple(shift for shift in self.classes if shift.is_corrected_twice)


def sum_exposure(run: Run) -> RunExposure:
    """Sum what the trials of a run recorded about the patches they were trained on.

    For each seed the trial with the most finished epochs is taken, the baseline's before others; trials need not be
    finished.

    Raises
    ------
    RunFolderError
        If no trial recorded what it was shown.
    """
    plan = run.plan
    arms = [plan.baseline, *(arm.name for arm in plan.trained if arm.name != plan.baseline)]
    notes: list[str] = []
    chosen: list[tuple[TrialFolder, dict[int, Exposure]]] = []
    for seed in plan.seeds:
        trials = {trial.arm: trial for trial in run.trials if trial.seed == seed}
        shown = {arm: _shown(trials[arm], notes) if arm in trials else {} for arm in arms}
        longest = max(arms, key=lambda arm: len(shown[arm]))  # the first of equals: the baseline
        common = {arm: shown[arm].keys() & shown[longest].keys() for arm in arms}
        others = [arm for arm in arms if any(shown[arm][k] != shown[longest][k] for k in common[arm])]
        if others:
            notes.append(
                f"seed {seed}: {', '.join(others)} was not shown the same patches as {longest}, "
                "so their difference is not a paired one"
            )
        if shown[longest]:
            chosen.append((trials[longest].folder, shown[longest]))
    epochs = [epoch for _, trial in chosen for epoch in trial.values()]
    if not epochs:
        raise RunFolderError(
            f"{run.folder.path} does not say what its networks were shown",
            expected="a trial with a finished epoch, and in its record what the epoch showed",
            found=f"none for seeds {', '.join(map(str, plan.seeds))}",
            remedy="wait for the first epoch; run one of an older version again in a new folder",
        )
    total = epochs[0]
    for epoch in epochs[1:]:
        total += epoch
    names = tuple(arm.name for arm in plan.arms)
    return RunExposure(total, tuple(folder for folder, _ in chosen), len(epochs), names, tuple(notes))


def _shown(trial: Trial, notes: list[str]) -> dict[int, Exposure]:
    """Return what each epoch of a trial showed; epochs that did not record it are skipped, and noted."""
    if trial.damage:
        notes.append(f"{trial.damage}: skipped")
        return {}
    shown = {epoch.epoch: Exposure.from_json(epoch.exposure) for epoch in trial.epochs if epoch.exposure is not None}
    if len(shown) < len(trial.epochs):
        missing = len(trial.epochs) - len(shown)
        notes.append(f"{trial.arm} seed {trial.seed}: {counted(missing, 'epoch')} did not record what was shown")
    return shown


def counted_frequencies(run: Run) -> FrequencyTable:
    """Return the exact counts that the weights of a run were made from.

    Raises
    ------
    RunFolderError
        If the run folder has none, or they are damaged.
    """
    if isinstance(run.frequencies, Unreadable):
        raise _no_counts(run, run.frequencies.reason)
    try:
        return from_json(run.frequencies)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _no_counts(run, f"{type(error).__name__}: {error}") from error


def _no_counts(run: Run, found: str) -> RunFolderError:
    return RunFolderError(
        f"{run.folder.frequencies} cannot be read",
        expected="the exact counts, as `counterpoise run` writes them",
        found=found,
        remedy="name the crops with --datasplit: they are counted again",
    )


def compare_with_shown(table: FrequencyTable, shown: Exposure, arms: Sequence[str]) -> ExposureComparison:
    """Compare exact frequencies with what was shown.

    Parameters
    ----------
    table : FrequencyTable
        Exact counts; its classes are compared, in their order.
    shown : Exposure
        Of at least these classes.
    arms : sequence of str
        Strategies of the run.

    Raises
    ------
    ClassNameError
        If the networks were trained on other classes.
    """
    missing = [name for name in table.classes if name not in shown.classes]
    if missing:
        raise ClassNameError(
            f"the run's networks were not shown {', '.join(missing)}",
            expected="classes of the run: " + ", ".join(shown.classes),
            found=", ".join(missing),
            remedy=suggest(missing[0], tuple(shown.classes)),
        )
    own = Exposure(shown.patches, {name: shown.classes[name] for name in table.classes})
    exact, seen = table.frequencies("train"), own.frequencies()
    names = dict.fromkeys((*WEIGHED_BY_FREQUENCY, *(arm for arm in arms if arm in known_strategies())))
    before = _weights(names, ClassStatistics.of(table))
    after = _weights(names, ClassStatistics(table.classes, np.nan_to_num(seen, nan=0.0), own.positives()))
    shifts = _towards_balance(exact, seen)
    return ExposureComparison(
        tuple(
            ClassShift(
                name,
                float(exact[c]),
                float(seen[c]),
                float(shifts[c]),
                {key: (before[key][name], after[key][name]) for key in WEIGHED_BY_FREQUENCY},
            )
            for c, name in enumerate(table.classes)
        ),
        tuple(arm for arm in arms if arm in before and before[arm] != after[arm]),
    )


def _towards_balance(exact: Frequencies, shown: Frequencies) -> Frequencies:
    before, after = _relative(exact), _relative(shown)
    usable = (before > 0) & (after > 0)
    shifts = np.full(len(exact), math.nan)
    moved = np.log(after[usable] / before[usable])
    shifts[usable] = np.exp(-np.sign(np.log(before[usable])) * moved)
    return shifts


def _relative(frequencies: Frequencies) -> Frequencies:
    """Divide by the median, as the strategies do; 0 where there is none."""
    numbers = np.nan_to_num(frequencies, nan=0.0)
    median = float(np.median(numbers))
    relative: np.ndarray = numbers / median if median > 0 else np.zeros(len(numbers))
    return relative


def _weights(names: Iterable[str], statistics: ClassStatistics) -> dict[str, dict[str, float]]:
    derived, _ = derive_weights(names, statistics)
    return {item.strategy: dict(item.weights) for item in derived}
