"""The scores of single runs, from the counts that the verdict is made from: where every table takes its Dice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from counterpoise.runs.read import Run, Trial, Unreadable
from counterpoise.statistics.counts import CountTable
from counterpoise.statistics.scores import class_scores
from counterpoise.statistics.training import Convergence, find_convergence

__all__ = ["EpochScores", "RunScore", "epoch_scores", "run_convergence", "score_runs"]


@dataclass(frozen=True)
class RunScore:
    """Dice of one finished run.

    Parameters
    ----------
    block : int
        Position among the seeds of the arm: runs of one block are compared.
    dice : float or None
        After the last epoch, mean over the scored classes; None if there are none.
    by_class : tuple of (str, float or None)
        All classes, the ones that are not scored too; None where nothing is annotated or predicted.
    best, best_epoch : float or None, int or None
        Highest mean over the same classes and crops of any epoch, above probability 1/2, and the first epoch that has
        it: chosen on what it is scored on, so optimistic.
    """

    arm: str
    seed: int
    block: int
    dice: float | None
    by_class: tuple[tuple[str, float | None], ...]
    best: float | None
    best_epoch: int | None

    def of_class(self, name: str) -> float | None:
        """Return the Dice of a class."""
        return dict(self.by_class).get(name)


@dataclass(frozen=True, eq=False)
class EpochScores:
    """Mean Dice over the scored classes after every scored epoch of a training."""

    epochs: tuple[int, ...]
    dice: Float[np.ndarray, " epoch"]


def score_runs(run: Run, table: CountTable, scored: Sequence[str]) -> tuple[RunScore, ...]:
    """Score every finished run.

    Parameters
    ----------
    run : Run
        For the epochs before the last.
    table : CountTable
        The counts that the verdict is made from, crop by crop.
    scored : sequence of str
        Classes that the mean is taken over.
    """
    is_scored = np.isin(table.classes, list(scored))
    by_class = class_scores(table.counts)
    found = []
    for a, s in zip(*np.nonzero(table.finished), strict=True):
        arm, seed = table.arms[a], table.cells[a][s].seed
        curve = epoch_scores(run.trial(arm, seed), table.crops, is_scored)
        best = int(np.nanargmax(curve.dice)) if curve is not None and np.isfinite(curve.dice).any() else None
        found.append(
            RunScore(
                arm,
                seed,
                int(s),
                _number(by_class[a, s, is_scored].mean()) if is_scored.any() else None,
                tuple((name, _number(by_class[a, s, c])) for c, name in enumerate(table.classes)),
                None if curve is None or best is None else float(curve.dice[best]),
                None if curve is None or best is None else curve.epochs[best],
            )
        )
    return tuple(found)


def epoch_scores(trial: Trial, crops: Sequence[str], scored: Bool[np.ndarray, " class_"]) -> EpochScores | None:
    """Score every epoch of a training on some crops; None where counts and records do not belong together."""
    counts, epochs = trial.counts, tuple(epoch.epoch for epoch in trial.epochs if epoch.counts)
    if isinstance(counts, Unreadable) or not scored.any() or len(counts.counts) != len(epochs):
        return None
    chosen = np.isin(counts.crops, list(crops))
    dice: np.ndarray = class_scores(counts.counts[:, chosen])[:, scored].mean(-1)
    return EpochScores(epochs, dice)


def run_convergence(run: Run, table: CountTable, scored: Sequence[str]) -> Convergence | None:
    """Say how fast the Dice of the finished runs, mean over arms and seeds, still rose at the end."""
    is_scored = np.isin(table.classes, list(scored))
    cells = zip(*np.nonzero(table.finished), strict=True)
    found = [epoch_scores(run.trial(table.arms[a], table.cells[a][s].seed), table.crops, is_scored) for a, s in cells]
    curves = [curve for curve in found if curve is not None]
    if not curves or any(curve.epochs != curves[0].epochs for curve in curves):
        return None
    return find_convergence(curves[0].epochs, np.mean([curve.dice for curve in curves], axis=0).tolist())


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
