"""Results for other programs: csv, JSON, and the files the reference experiment wrote."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from counterpoise.files.atomic import write_json
from counterpoise.report import note_statements, statements
from counterpoise.runs.read import Trial
from counterpoise.runs.records import EpochRecord
from counterpoise.statistics.results import ArmResult, Results, Spread
from counterpoise.statistics.run_scores import RunScore

__all__ = ["results_as_json", "results_as_trials", "write_reference"]


def results_as_trials(results: Results) -> str:
    """Write one line per finished trial: arm, seed, best and last Dice (mean over the scored classes), Dice per class.

    A missing score is an empty field.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    classes = results.plan.classes
    writer.writerow(
        ["strategy", "same_as", "seed", "epochs", "best_dice", "best_epoch", "last_dice"]
        + [f"last_dice_{name}" for name in classes]
    )
    for arm in results.arms:
        scores = {score.seed: score for score in arm.scores}
        for trial in arm.trials:
            row: list[object] = [arm.name, arm.record.same_as, trial.seed, len(trial.epochs)]
            score = scores.get(trial.seed)
            row += [score.best, score.best_epoch, score.dice] if score else [None] * 3
            row += [score.of_class(name) if score else None for name in classes]
            writer.writerow(row)
    return stream.getvalue()


def results_as_json(results: Results) -> dict[str, Any]:
    """Write the table and every trial's scores as plain values; a missing score is null."""
    verdict = results.verdict
    return {
        "run": results.run.name,
        "classes": list(results.plan.classes),
        "scored": list(results.scored),
        "not_scored": list(results.not_scored),
        "scoring": statements.scoring(verdict),
        "no_verdict": statements.obstacle(verdict),
        "baseline": results.baseline,
        "seeds": list(results.plan.seeds),
        "notes": [*map(str, results.run.notes), *note_statements.parts(verdict.parts)],
        "arms": [_arm_as_json(arm) for arm in results.arms],
    }


def _arm_as_json(arm: ArmResult) -> dict[str, Any]:
    scores = {score.seed: score for score in arm.scores}
    return {
        "strategy": arm.name,
        "same_as": arm.record.same_as,
        "trained": arm.record.runs,
        "weights": dict(arm.record.weights),
        "clamped": list(arm.record.clamped),
        "best_dice": _spread(arm.best),
        "best_epoch": _spread(arm.best_epoch),
        "last_dice": _spread(arm.last),
        "last_dice_by_class": {name: _spread(value) for name, value in arm.by_class.items()},
        "difference_to_baseline": _spread(arm.difference),
        "trials": [_trial_as_json(trial, scores.get(trial.seed)) for trial in (*arm.trials, *arm.unfinished)],
    }


def _trial_as_json(trial: Trial, score: RunScore | None) -> dict[str, Any]:
    return {
        "seed": trial.seed,
        "state": trial.status.state,
        "reason": trial.status.reason,
        "epochs": len(trial.epochs),
        "best_dice": score.best if score else None,
        "best_epoch": score.best_epoch if score else None,
        "last_dice": score.dice if score else None,
        "last_dice_by_class": dict(score.by_class) if score else {},
    }


def _spread(value: Spread | None) -> dict[str, float | int | None] | None:
    return None if value is None else {"mean": value.mean, "sd": value.sd, "n": value.n}


def write_reference(results: Results, folder: Path) -> tuple[Path, ...]:
    """Write ``seed-<n>/cw_<arm>_results.json`` per finished trial, as the reference's collection script reads them.

    That script keys results by ``loss_name``, so seeds go into folders of their own: run it on one of them. As in the
    reference, means are over all annotated classes, scored here or not, and a class without a score has Dice 0.

    Parameters
    ----------
    results : Results
        A run's results.
    folder : Path
        Created if it is missing.

    Returns
    -------
    tuple of Path
        The files written.
    """
    written = []
    for arm in results.arms:
        for trial in arm.trials if arm.record.runs else ():
            file = folder / f"seed-{trial.seed}" / f"cw_{arm.record.name}_results.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            write_json(file, _reference_document(trial))
            written.append(file)
    return tuple(written)


def _reference_document(trial: Trial) -> dict[str, Any]:
    scored = [epoch for epoch in trial.epochs if epoch.dice_mean is not None]
    best = max(scored, key=lambda epoch: epoch.dice_mean or 0.0, default=None)
    return {
        "loss_name": trial.arm,
        "best_dice": (best.dice_mean if best else None) or 0.0,
        "best_epoch": best.epoch if best else 0,
        "elapsed_min": sum(e.train_s + e.validation_s for e in trial.epochs) / 60.0,
        "history": list(_reference_history(trial.epochs)),
    }


def _reference_history(epochs: tuple[EpochRecord, ...]) -> Iterator[dict[str, Any]]:
    for epoch in epochs:
        if epoch.counts:
            yield {
                "epoch": epoch.epoch,
                "train_loss": epoch.train_loss,
                "val_loss": epoch.val_loss,
                "dice_mean": epoch.dice_mean or 0.0,
                "per_class": {
                    name: {"dice": epoch.dice[name] or 0.0, "tp": tp, "fp": fp, "fn": fn}
                    for name, (tp, fp, fn) in epoch.counts.items()
                },
            }
