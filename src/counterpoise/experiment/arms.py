"""Arms of an experiment: a strategy's weights each, and which of them are the same experiment twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from counterpoise.errors import ConfigError
from counterpoise.weights import DerivedWeights

__all__ = ["NEAR_SPREAD", "SAME_SPREAD", "Arm", "find_arms", "log_ratio_spread"]

SAME_SPREAD = 0.05
"""Weights whose log ratios spread by less than this are one experiment under two names: far below what retraining
the same weights changes."""

NEAR_SPREAD = 0.10
"""Below this a difference between the two is hardly the weighting's doing: said, not acted on."""


@dataclass(frozen=True)
class Arm:
    """One condition of the experiment.

    Parameters
    ----------
    weights : DerivedWeights
        Strategy and weights; the arm is named after the strategy.
    same_as : str or None
        The earlier arm that has the same weights after scaling.
    runs : bool
        Whether this arm is trained (a duplicate is not, unless duplicates are run on purpose).
    """

    weights: DerivedWeights
    same_as: str | None
    runs: bool

    @property
    def name(self) -> str:
        """Return the strategy's name."""
        return self.weights.strategy


def log_ratio_spread(first: Mapping[str, float], second: Mapping[str, float]) -> float:
    """Measure how differently two sets of weights balance the classes, whatever their scale.

    Returns
    -------
    float
        Standard deviation over classes of log(first / second): 0 if one is a multiple of the other, infinite if
        only one of them gives a class no weight at all.
    """
    a = np.array([first[name] for name in first])
    b = np.array([second[name] for name in first])
    if np.any((a == 0) != (b == 0)):
        return float("inf")
    weighted = a > 0
    return float(np.std(np.log(a[weighted] / b[weighted]))) if weighted.any() else 0.0


def find_arms(
    derived: Sequence[DerivedWeights], *, baseline: str, duplicates: Literal["once", "run"]
) -> tuple[tuple[Arm, ...], tuple[str, ...]]:
    """Mark arms that are the same experiment as an earlier one.

    Weights are compared after scaling: a global factor changes next to nothing under AdamW, and nothing in what the
    classes are to each other. The baseline is compared first, so that a copy of it is the one that is not trained.

    Parameters
    ----------
    derived : sequence of DerivedWeights
        One per strategy.
    baseline : str
        The arm the others are compared to.
    duplicates : {"once", "run"}
        Whether a duplicate is trained again (as a measurement of noise).

    Returns
    -------
    arms : tuple of Arm
        In the order given.
    notes : tuple of str
        One sentence per duplicate and per near duplicate.

    Raises
    ------
    ConfigError
        If the baseline has no weights: it is not among the strategies, or does not apply to these classes.
    """
    if all(arm.strategy != baseline for arm in derived):
        raise ConfigError(
            f"the baseline {baseline} has no weights here",
            expected="one of the arms to compare the others to",
            found=", ".join(arm.strategy for arm in derived) or "no arm at all",
            remedy="set arms.baseline to one of them; weight_uniform applies to any classes",
        )
    order = sorted(range(len(derived)), key=lambda i: derived[i].strategy != baseline)
    same: dict[int, int] = {}
    notes = []
    for position, i in enumerate(order):
        for j in order[:position]:
            if j in same:
                continue
            spread = log_ratio_spread(derived[i].weights, derived[j].weights)
            first, second = derived[j].strategy, derived[i].strategy
            if spread < SAME_SPREAD:
                same[i] = j
                factor = np.mean(list(derived[i].weights.values())) / np.mean(list(derived[j].weights.values()))
                done = "trained again on purpose" if duplicates == "run" else "not trained a second time"
                notes.append(f"{second} has the weights of {first} times {factor:.3g}: {done}")
                break
            if spread < NEAR_SPREAD:
                notes.append(
                    f"{second} and {first} have nearly the same weights (log ratios spread by {spread:.3f}): "
                    "expect no difference between them"
                )
    arms = tuple(
        Arm(weights, derived[same[i]].strategy if i in same else None, i not in same or duplicates == "run")
        for i, weights in enumerate(derived)
    )
    return arms, tuple(notes)
