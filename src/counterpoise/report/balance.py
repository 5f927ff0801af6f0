"""How rare each class is, and what every arm makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from counterpoise.runs.arms import ArmsRecord

__all__ = [
    "Balance",
    "ClassBalance",
    "SplitBalance",
    "WeightCell",
    "WeightColumn",
    "make_balance",
    "weight_cell",
    "widest_factor",
]


@dataclass(frozen=True)
class SplitBalance:
    """One class in one split; None where the record holds nothing."""

    positives: int | None
    known: int | None
    frequency: float | None
    crops: int


@dataclass(frozen=True)
class ClassBalance:
    """One class in both splits."""

    name: str
    train: SplitBalance
    validate: SplitBalance


@dataclass(frozen=True)
class WeightCell:
    """One weight; the bar runs from 1 towards it on a log scale, in percent of the cell's width."""

    weight: float | None
    is_clamped: bool
    bar_start: float
    bar_width: float


@dataclass(frozen=True)
class WeightColumn:
    """The weights of one arm, a cell per class."""

    name: str
    summary: str
    is_trained: bool
    cells: tuple[WeightCell, ...]


@dataclass(frozen=True)
class Balance:
    """Frequencies and weights; ``counts`` is empty if the frequencies were not written."""

    counts: tuple[ClassBalance, ...]
    crops_train: int
    crops_validate: int
    classes: tuple[str, ...]
    columns: tuple[WeightColumn, ...]
    widest: float
    """The factor at either end of the bars: they run from 1/widest to widest."""

    @property
    def any_clamped(self) -> bool:
        """Whether a weight of some arm was clamped."""
        return any(cell.is_clamped for column in self.columns for cell in column.cells)


def make_balance(record: ArmsRecord, frequencies: Mapping[str, Any] | None) -> Balance:
    """Put frequencies and weights side by side.

    Parameters
    ----------
    record : ArmsRecord
        The arms and their weights.
    frequencies : mapping or None
        The document in ``class_frequencies.json``; None if there is none that can be read.
    """
    splits = [crop["split"] for crop in (frequencies or {}).get("crops", {}).values()]
    widest = widest_factor(w for arm in record.arms for w in arm.weights.values())
    return Balance(
        counts=() if frequencies is None else tuple(_class_balance(name, frequencies) for name in record.classes),
        crops_train=splits.count("train"),
        crops_validate=splits.count("validate"),
        classes=record.classes,
        columns=tuple(
            WeightColumn(
                arm.name,
                arm.summary,
                arm.runs,
                tuple(weight_cell(arm.weights.get(name), name in arm.clamped, widest) for name in record.classes),
            )
            for arm in record.arms
        ),
        widest=widest,
    )


def _class_balance(name: str, document: Mapping[str, Any]) -> ClassBalance:
    return ClassBalance(
        name,
        _split_balance(name, document, document, "train"),
        _split_balance(name, document.get("validate", {}), document, "validate"),
    )


def _split_balance(name: str, pooled: Mapping[str, Any], document: Mapping[str, Any], split: str) -> SplitBalance:
    return SplitBalance(
        positives=pooled.get("total_pos", {}).get(name),
        known=pooled.get("total_valid", {}).get(name),
        frequency=pooled.get("frequencies", {}).get(name),
        crops=sum(crop["split"] == split and name in crop["classes"] for crop in document.get("crops", {}).values()),
    )


def widest_factor(weights: Iterable[float]) -> float:
    """Return the factor furthest from 1 among all weights, at least 2 so that weights near 1 look near 1."""
    positive = [w for w in weights if w > 0]
    return max([2.0, *positive, *(1 / w for w in positive)])


def weight_cell(weight: float | None, is_clamped: bool, widest: float) -> WeightCell:
    """Find the bar of a weight; a weight of 0 has the longest bar to the left, an unknown one none."""
    if weight is None:
        return WeightCell(None, is_clamped, 50.0, 0.0)
    if weight <= 0:
        return WeightCell(weight, is_clamped, 0.0, 50.0)
    length = 50 * math.log(weight) / math.log(widest)
    return WeightCell(weight, is_clamped, 50 + min(length, 0.0), abs(length))
