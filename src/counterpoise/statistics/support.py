"""What scores will rest on, known from the annotation alone: crops per class, and their effective number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from counterpoise.experiment.config import VerdictConfig
from counterpoise.runs.read import Run
from counterpoise.statistics.scores import effective_crops, group_by_data_set, scorable_classes
from counterpoise.statistics.thresholds import split_halves
from counterpoise.statistics.verdict_types import ClassSupport, Settings, Unit
from counterpoise.text import finite

__all__ = ["PlannedSupport", "plan_support", "run_support"]


@dataclass(frozen=True)
class PlannedSupport:
    """What the scores of an experiment will rest on.

    Parameters
    ----------
    unit : Unit
        What the clusters are.
    clusters : int
        Of them, scored ones.
    select : int
        Clusters that thresholds will be tuned on, and that are not scored.
    effective : float or None
        Kish's number of clusters, averaged over the scored classes; None without any.
    classes : tuple of ClassSupport
        All classes.
    """

    unit: Unit
    clusters: int
    select: int
    effective: float | None
    classes: tuple[ClassSupport, ...]

    @property
    def scored(self) -> tuple[str, ...]:
        """Return the classes that the mean will be taken over."""
        return tuple(entry.name for entry in self.classes if entry.scored)

    @property
    def has_enough_crops(self) -> bool:
        """Whether there will be crops enough for intervals that are not rough."""
        return self.effective is not None and self.effective >= Settings.min_effective


def run_support(run: Run) -> PlannedSupport | None:
    """Say what the scores of a run rest on before any is there; None where the run does not say, as older ones."""
    voxels = run.tile_voxels
    return None if voxels is None else plan_support(voxels.crops, voxels.classes, voxels.present, run.plan.verdict)


def plan_support(
    crops: Sequence[str], classes: Sequence[str], positives: Int[np.ndarray, "crop class_"], asked: VerdictConfig
) -> PlannedSupport:
    """Say which classes can be scored, and on how many effective crops.

    The effective number needs M = 2 TP + FP + FN of every crop, and there is no prediction yet. It is taken from the
    positives: M is 2 positives if all is found, and in proportion to them as long as crops are equally difficult.

    Parameters
    ----------
    crops : sequence of str
        Validation crops, ``dataset/crop``.
    classes : sequence of str
        In their order.
    positives : int array, shape (crops, classes)
        Voxels of each class in each crop's tiles.
    asked : VerdictConfig
        ``unit``; and with ``thresholds = "tuned"`` half of the crops are not scored.
    """
    names, counted = tuple(crops), positives
    if asked.unit == "data_set":
        names, member = group_by_data_set(crops)
        counted = member @ positives
    scored_here = np.ones(len(names), bool)
    if asked.thresholds == "tuned":
        scored_here = ~split_halves(names, counted.astype(float)) if len(names) > 1 else np.zeros(len(names), bool)
    counts = np.zeros((1, 1, int(scored_here.sum()), len(classes), 3))
    counts[0, 0, :, :, 0] = counted[scored_here]
    scored = scorable_classes(counts, Settings.min_crops)
    effective = effective_crops(counts)
    return PlannedSupport(
        unit=Unit(asked.unit),
        clusters=int(scored_here.sum()),
        select=int((~scored_here).sum()),
        effective=float(effective[scored].mean()) if scored.any() else None,
        classes=tuple(
            ClassSupport(name, int((counts[0, 0, :, c, 0] > 0).sum()), finite(float(effective[c])), bool(scored[c]))
            for c, name in enumerate(classes)
        ),
    )
