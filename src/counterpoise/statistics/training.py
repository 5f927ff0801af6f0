"""Whether the networks of a run are trained at all, and whether they had stopped getting better (docs/verdict.md).

A verdict on networks that find nothing compares noise. So every run is compared with what needs no network: to call
every known voxel present, or none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from counterpoise.statistics.counts import CountTable
from counterpoise.statistics.scores import class_scores

__all__ = [
    "ArmTraining",
    "ClassTraining",
    "Convergence",
    "TrainingState",
    "find_convergence",
    "judge_training",
    "trivial_scores",
]

_FEWEST_POINTS = 3
"""A slope through fewer scored epochs is that of their noise."""

_SHARE = 0.1
"""Of the epochs: a Dice that still rises by more than the margin over the last of them has not converged."""


@dataclass(frozen=True)
class ClassTraining:
    """A scored class that an arm does not find, or not in every run.

    Parameters
    ----------
    no_better, missed : int
        Runs whose Dice is not above the trivial one; of them, those whose Dice is 0.
    runs : int
        All that were trained to the end.
    """

    name: str
    no_better: int
    missed: int
    runs: int

    @property
    def is_untrained(self) -> bool:
        """Whether half of the runs, or more, are no better than the trivial prediction."""
        return self.no_better * 2 >= self.runs


@dataclass(frozen=True)
class ArmTraining:
    """An arm, and the scored classes in which some run of it is no better than the trivial prediction."""

    name: str
    classes: tuple[ClassTraining, ...]

    @property
    def untrained(self) -> tuple[str, ...]:
        """Return the classes that half of the runs do not find."""
        return tuple(entry.name for entry in self.classes if entry.is_untrained)


@dataclass(frozen=True)
class Convergence:
    """How fast the mean Dice of arms and seeds still rose at the end.

    Parameters
    ----------
    first, last : int
        Epochs that the line was fitted to.
    tenth : float
        A tenth of the epochs, and one at least.
    per_epoch : float
        Its slope, by least squares.
    """

    first: int
    last: int
    tenth: float
    per_epoch: float

    @property
    def rise(self) -> float:
        """Return by how much the Dice rose over the last tenth of the epochs."""
        return self.per_epoch * self.tenth


@dataclass(frozen=True)
class TrainingState:
    """How far the networks of a run are trained.

    Parameters
    ----------
    is_untrained : bool
        Whether there is nothing to compare: the baseline does not find half of the scored classes, or no arm reaches
        the trivial mean, or no network finds a voxel.
    collapsed, trained : int
        Runs whose network finds not one voxel of any class, of so many that were trained to the end.
    trivial : tuple of (str, float)
        Scored classes, and the Dice of calling every known voxel present; empty where it is not recorded how many are
        known: then only a Dice of 0 counts as no better.
    arms : tuple of ArmTraining
        Those with a class that some run does not find.
    convergence : Convergence or None
        None with fewer than two scored epochs.
    """

    is_untrained: bool = False
    collapsed: int = 0
    trained: int = 0
    trivial: tuple[tuple[str, float], ...] = ()
    arms: tuple[ArmTraining, ...] = ()
    convergence: Convergence | None = None

    @property
    def trivial_mean(self) -> float | None:
        """Return the mean Dice of calling every known voxel present."""
        return sum(dice for _, dice in self.trivial) / len(self.trivial) if self.trivial else None

    def arm(self, name: str) -> ArmTraining:
        """Return an arm, without a class to name if all its runs find all of them."""
        return next((arm for arm in self.arms if arm.name == name), ArmTraining(name, ()))


def trivial_scores(positives: Float[np.ndarray, "*axes"], known: Float[np.ndarray, "*axes"]) -> np.ndarray:
    r"""Score the better of two predictions that need no network: every known voxel present, or none.

    .. math:: \max(2 f / (1 + f), 0), \qquad f = P / K

    Parameters
    ----------
    positives, known : array of equal shape
        Voxels where a class is present, and where it is known whether it is.

    Returns
    -------
    float array of the same shape
        Dice; 0 where nothing is known.
    """
    everything = np.asarray(positives + known, dtype=float)  # 2 TP + FP + FN, and TP = P
    scores: np.ndarray = np.divide(2.0 * positives, everything, out=np.zeros_like(everything), where=everything > 0)
    return scores


def judge_training(table: CountTable, scored: Bool[np.ndarray, " class_"]) -> TrainingState:
    """Compare every run with the trivial prediction, class by class.

    A run whose network finds no voxel of any class has no counts in the table; it counts here, with a Dice of 0.

    Parameters
    ----------
    table : CountTable
        The counts that the verdict is made from.
    scored : bool array, shape (classes,)
        Classes that the mean is taken over.
    """
    collapsed = np.array([[cell.has_collapsed for cell in row] for row in table.cells], bool)
    collapsed = collapsed.reshape(len(table.arms), len(table.seeds))
    state = TrainingState(collapsed=int(collapsed.sum()), trained=int((table.finished | collapsed).sum()))
    if not table.finished.any():
        return replace(state, is_untrained=bool(collapsed.any()))
    if not scored.any():
        return state
    dice = class_scores(table.counts)[..., scored]
    dice[collapsed] = 0.0
    names = tuple(name for name, is_in in zip(table.classes, scored, strict=True) if is_in)
    trivial = np.zeros(len(names))
    if table.known is not None:
        first = table.counts[tuple(np.argwhere(table.finished)[0])].sum(0)
        trivial = trivial_scores(first[:, 0] + first[:, 2], table.known.sum(0))[scored]
    arms = {name: _judge_arm(name, dice[a], names, trivial) for a, name in enumerate(table.arms)}
    missing = len(arms[table.baseline].untrained) if table.baseline in arms else 0
    by_arm = [float(row[np.isfinite(row)].mean()) for row in dice.mean(-1) if np.isfinite(row).any()]
    return replace(
        state,
        is_untrained=missing * 2 >= len(names) or max(by_arm) < float(trivial.mean()),
        trivial=() if table.known is None else tuple(zip(names, trivial.tolist(), strict=True)),
        arms=tuple(arm for arm in arms.values() if arm.classes),
    )


def _judge_arm(
    name: str, dice: Float[np.ndarray, "seed class_"], classes: Sequence[str], trivial: Float[np.ndarray, " class_"]
) -> ArmTraining:
    """Find the classes of an arm that some run does not find; seeds without a result are NaN."""
    there = dice[np.isfinite(dice).all(1)]
    no_better, missed = (there <= trivial).sum(0), (there == 0.0).sum(0)
    return ArmTraining(
        name,
        tuple(
            ClassTraining(class_name, int(no_better[c]), int(missed[c]), len(there))
            for c, class_name in enumerate(classes)
            if no_better[c]
        ),
    )


def find_convergence(epochs: Sequence[int], dice: Sequence[float]) -> Convergence | None:
    """Fit a line to the mean Dice over the last tenth of the epochs, or over three scored epochs if these are more.

    Parameters
    ----------
    epochs : sequence of int
        The scored ones, rising; the last is the last of the training.
    dice : sequence of float
        Mean over arms and seeds after each.

    Returns
    -------
    Convergence or None
        None with fewer than two epochs.

    Examples
    --------
    >>> find_convergence([1, 2, 3, 4, 5, 6], [0.1, 0.3, 0.40, 0.45, 0.47, 0.49]).per_epoch
    0.02
    """
    there = [(epoch, value) for epoch, value in zip(epochs, dice, strict=True) if math.isfinite(value)]
    if len(there) < 2:  # noqa: PLR2004 - a line takes two points
        return None
    last = there[-1][0]
    tenth = max(_SHARE * last, 1.0)
    within = sum(epoch >= last - tenth for epoch, _ in there)
    at, value = np.array(there[-max(within, _FEWEST_POINTS) :]).T
    off = at - at.mean()
    return Convergence(int(at[0]), int(last), tenth, float(off @ (value - value.mean()) / (off @ off)))
