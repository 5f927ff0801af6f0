"""The configuration a run recommends: which arm, its weights and how it was trained, for whoever trains on."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.errors import RunFolderError, suggest
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.load import parse_experiment
from counterpoise.experiment.trial import TrialConfig
from counterpoise.report.verdict_text import read_verdict, verdict_sentence
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.records import ArmRecord, ArmsRecord
from counterpoise.statistics.results import Results, TrialResult, load_results
from counterpoise.statistics.verdict_types import Verdict

__all__ = ["Choice", "choose_arm", "class_weights_document"]

HALF = 0.5
"""The threshold of a run that was not asked for tuned ones."""


@dataclass(frozen=True)
class Choice:
    """One arm of a run, and all that is known about it.

    Parameters
    ----------
    run : RunFolder
        Where it was trained.
    record : ArmsRecord
        All arms of the run.
    arm : ArmRecord
        The chosen one.
    trials : tuple of TrialResult
        Its finished trainings, at least one; those of the arm with the same weights if it was not trained itself.
    config : TrialConfig
        The complete configuration of the first of them.
    experiment : Experiment
        As the user wrote it: relative paths start at a folder that is not known here.
    verdict : Verdict
        On the whole run.
    by_hand : bool
        Whether a person chose the arm, and not the verdict.
    """

    run: RunFolder
    record: ArmsRecord
    arm: ArmRecord
    trials: tuple[TrialResult, ...]
    config: TrialConfig
    experiment: Experiment
    verdict: Verdict
    by_hand: bool

    @property
    def sentence(self) -> str:
        """Return the verdict in words, and who chose."""
        said = verdict_sentence(self.verdict)
        return f"{self.arm.name} was chosen by hand. The verdict on the run: {said}" if self.by_hand else said


def choose_arm(run: RunFolder, by_hand: str | None = None) -> Choice:
    """Take the arm that the verdict recommends, or one chosen by hand.

    The run folder is only read.

    Parameters
    ----------
    run : RunFolder
        A run; without ``by_hand`` a complete one, since a choice made half-way is one look more than was planned.
    by_hand : str, optional
        Name of an arm, whatever the verdict says.

    Raises
    ------
    CounterpoiseError
        If nothing is recommended, there is no such arm, none of its trainings has finished, or a file of the run is
        missing or damaged.
    """
    results = load_results(run)
    verdict = read_verdict(run)
    name = by_hand if by_hand is not None else _recommended(run, verdict)
    found = next((arm for arm in results.arms if arm.record.name == name), None)
    if found is None:
        known = [arm.name for arm in results.record.arms]
        raise RunFolderError(
            f"{run.path} has no arm {name!r}",
            expected="the name of one of its arms",
            found=repr(name),
            remedy=suggest(name, known),
        )
    if not found.trials:
        raise RunFolderError(
            f"no training of {name} has finished in {run.path}",
            expected="an arm with one finished training at least: its weights were tried",
            found="; ".join(_states(results)) or "no trials",
            remedy="run the experiment again: it trains what is missing; or choose another arm with --arm",
        )
    first = found.trials[0]
    return Choice(
        run=run,
        record=results.record,
        arm=found.record,
        trials=found.trials,
        config=TrialConfig.read(run.trial(first.arm, first.seed).config),
        experiment=_read_experiment(run),
        verdict=verdict,
        by_hand=by_hand is not None,
    )


def _recommended(run: RunFolder, verdict: Verdict) -> str:
    open_trials = [cell for cell in verdict.incomplete if cell.state == "unfinished"]
    if open_trials:
        first = open_trials[0]
        raise RunFolderError(
            f"{run.path} is not finished",
            expected="all its trainings: who looks before the end and stops when it pleases is wrong more often",
            found=f"{len(open_trials)} to come, the first of them {first.arm}, seed {first.seed} ({first.reason})",
            remedy="let `counterpoise run` finish it, or choose an arm by hand with --arm NAME",
        )
    name = verdict.recommendation.arm
    if name is None:
        raise RunFolderError(
            f"{run.path} recommends no arm",
            expected="a verdict that names one, if only the baseline",
            found=verdict_sentence(verdict),
            remedy="see `counterpoise verdict` for what it would take, or choose an arm by hand with --arm NAME",
        )
    return name


def _states(results: Results) -> list[str]:
    return [
        f"{arm.record.name}: {len(arm.trials)} of {len(arm.trials) + len(arm.unfinished)} finished"
        for arm in results.arms
        if arm.record.runs
    ]


def _read_experiment(run: RunFolder) -> Experiment:
    """Read the run's copy of its experiment with the paths as they were written."""
    try:
        text = run.config.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RunFolderError(
            f"{run.config} cannot be read",
            expected="the experiment, as `counterpoise run` copies it into the run folder",
            found=f"{type(error).__name__}: {error}",
            remedy="run the experiment again: it writes this file anew and trains nothing twice",
        ) from error
    return parse_experiment(text, name=str(run.config))


def class_weights_document(choice: Choice, folder: Path) -> dict[str, Any]:
    """Write the choice as plain values for other programs (docs/best.md says what each key means).

    Parameters
    ----------
    choice : Choice
        The arm.
    folder : Path
        Where the document will lie: the paths of the checkpoints start there.

    Returns
    -------
    dict
        Values that JSON can hold; what is not known is null.
    """
    config, verdict = choice.config, choice.verdict
    training = config.training.model_dump(mode="json")
    return {
        "version": 1,
        "strategy": choice.arm.name,
        "chosen": "by hand" if choice.by_hand else "by the verdict",
        "verdict": choice.sentence,
        "classes": list(config.classes),
        "class_weights": {name: float(choice.arm.weights[name]) for name in config.classes},
        "loss": {"alpha": config.loss.alpha, "beta": config.loss.beta, "smooth": config.loss.smooth},
        "model": {
            "name": config.model.name,
            "slices": config.sampling.slices,
            "classes": len(config.classes),
            "width": config.model.width,
            "depth": config.model.depth,
        },
        "patch_shape": list(config.sampling.patch_shape),
        "voxel_size_nm": list(choice.experiment.data.voxel_size_nm),
        "training": training,
        "thresholds": _thresholds(choice),
        "tuned_thresholds": _tuned_thresholds(choice),
        "scores": _scores(choice),
        "recommended": verdict.recommendation.arm,
        "run": choice.run.name,
        "checkpoints": [_checkpoints(choice.run, trial, folder) for trial in choice.trials],
    }


def _tuned_thresholds(choice: Choice) -> dict[str, float] | None:
    """Return the thresholds that half of the validation crops asks for, mean over runs; None where nobody counted."""
    name = choice.trials[0].arm
    return next((dict(arm.thresholds) for arm in choice.verdict.tuned if arm.name == name), None)


def _thresholds(choice: Choice) -> dict[str, float]:
    """Return the thresholds that the scores were made with."""
    tuned = _tuned_thresholds(choice)
    if choice.verdict.settings.thresholds == "tuned" and tuned is not None:
        return tuned
    return dict.fromkeys(choice.config.classes, HALF)


def _scores(choice: Choice) -> dict[str, Any]:
    """Return what the verdict says about the arm that was trained with these weights."""
    found = choice.verdict.arm(choice.trials[0].arm)
    comparison = found.comparison
    return {
        "dice": _plain(found.score),
        "iou": _plain(found.iou),
        "seeds": found.runs,
        "baseline": choice.verdict.baseline,
        "difference": _plain(comparison.difference) if comparison else None,
        "low": _plain(comparison.low) if comparison else None,
        "high": _plain(comparison.high) if comparison else None,
        "label": comparison.label if comparison else None,
    }


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _checkpoints(run: RunFolder, trial: TrialResult, folder: Path) -> dict[str, Any]:
    """Name a training's checkpoints; null for one that is gone (they are large, and often deleted)."""
    there = run.trial(trial.arm, trial.seed)
    files = {"last": there.last_checkpoint, "best": there.best_checkpoint}
    base = folder.resolve()
    return {"seed": trial.seed} | {
        kind: Path(os.path.relpath(file.resolve(), base)).as_posix() if file.is_file() else None
        for kind, file in files.items()
    }
