"""The configuration a run recommends: which arm, its weights and how it was trained, to train on with."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.errors import RunFolderError, suggest
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.load import parse_experiment
from counterpoise.experiment.trial import TrialConfig
from counterpoise.report import statements
from counterpoise.report.verdict_file import take_look
from counterpoise.runs.arms import ArmRecord
from counterpoise.runs.read import Run, Trial, Unreadable
from counterpoise.statistics.counts import RunState
from counterpoise.statistics.results import Results, summarise_run
from counterpoise.statistics.verdict_types import Verdict

__all__ = ["Choice", "choose_arm", "class_weights_document"]

HALF = 0.5
"""The threshold of a run that was not asked for tuned ones."""


@dataclass(frozen=True)
class Choice:
    """One arm of a run, and all that is known about it.

    Parameters
    ----------
    run : Run
        Where it was trained.
    arm : ArmRecord
        The chosen one.
    trials : tuple of Trial
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

    run: Run
    arm: ArmRecord
    trials: tuple[Trial, ...]
    config: TrialConfig
    experiment: Experiment
    verdict: Verdict
    by_hand: bool

    @property
    def sentence(self) -> str:
        """Return the verdict in words, and who chose."""
        said = statements.headline(self.verdict)
        return f"{self.arm.name} was chosen by hand. The verdict on the run: {said}" if self.by_hand else said


def choose_arm(run: Run, by_hand: str | None = None) -> Choice:
    """Take the arm that the verdict recommends, or one chosen by hand.

    Parameters
    ----------
    run : Run
        A run; without ``by_hand`` a complete one, since a choice made half-way is one look more than was planned.
    by_hand : str, optional
        Name of an arm, whatever the verdict says.

    Raises
    ------
    CounterpoiseError
        If nothing is recommended, there is no such arm, none of its trainings has finished, or a file of the run is
        missing or damaged.
    """
    verdict = take_look(run).verdict
    results = summarise_run(run, verdict)
    name = by_hand if by_hand is not None else _recommended(run, verdict)
    found = next((arm for arm in results.arms if arm.record.name == name), None)
    if found is None:
        known = [arm.name for arm in run.plan.arms]
        raise RunFolderError(
            f"{run.folder.path} has no arm {name!r}",
            expected="the name of one of its arms",
            found=repr(name),
            remedy=suggest(name, known),
        )
    if not found.trials:
        raise RunFolderError(
            f"no training of {name} has finished in {run.folder.path}",
            expected="an arm with one finished training at least: its weights were tried",
            found="; ".join(_states(results)) or "no trials",
            remedy="run the experiment again: it trains what is missing; or choose another arm with --arm",
        )
    first = found.trials[0]
    return Choice(
        run=run,
        arm=found.record,
        trials=found.trials,
        config=TrialConfig.read(first.folder.config),
        experiment=_read_experiment(run),
        verdict=verdict,
        by_hand=by_hand is not None,
    )


def _recommended(run: Run, verdict: Verdict) -> str:
    open_trials = [cell for cell in verdict.incomplete if cell.state is RunState.UNFINISHED]
    if open_trials:
        first = open_trials[0]
        raise RunFolderError(
            f"{run.folder.path} is not finished",
            expected="all its trainings: a choice made half-way is wrong more often",
            found=f"{len(open_trials)} to come, the first of them {first.arm}, seed {first.seed}",
            remedy="let `counterpoise run` finish it, or choose an arm by hand with --arm NAME",
        )
    name = verdict.recommendation.arm
    if name is None:
        raise RunFolderError(
            f"{run.folder.path} recommends no arm",
            expected="a verdict that names one, if only the baseline",
            found=statements.headline(verdict),
            remedy="see `counterpoise verdict` for what it would take, or choose an arm by hand with --arm NAME",
        )
    return name


def _states(results: Results) -> list[str]:
    return [
        f"{arm.record.name}: {len(arm.trials)} of {len(arm.trials) + len(arm.unfinished)} finished"
        for arm in results.arms
        if arm.record.runs
    ]


def _read_experiment(run: Run) -> Experiment:
    """Parse the run's copy of its experiment with the paths as they were written."""
    text = run.experiment_text
    if isinstance(text, Unreadable):
        raise RunFolderError(
            f"{run.folder.config} cannot be read",
            expected="the experiment, as `counterpoise run` copies it into the run folder",
            found=text.reason,
            remedy="run the experiment again: it writes this file again and trains nothing twice",
        )
    return parse_experiment(text, name=str(run.folder.config))


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
        "loss": config.loss.content(),
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
        "checkpoints": [_checkpoints(trial, folder) for trial in choice.trials],
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
        "dice": found.score,
        "iou": found.iou,
        "seeds": found.runs,
        "baseline": choice.verdict.baseline,
        "difference": comparison.difference if comparison else None,
        "low": comparison.low if comparison else None,
        "high": comparison.high if comparison else None,
        "label": comparison.label if comparison else None,
    }


def _checkpoints(trial: Trial, folder: Path) -> dict[str, Any]:
    """Name a training's checkpoints; null for one that is gone (they are large, and often deleted)."""
    files = {"last": trial.folder.last_checkpoint, "best": trial.folder.best_checkpoint}
    base = folder.resolve()
    return {"seed": trial.seed} | {
        kind: Path(os.path.relpath(file.resolve(), base)).as_posix() if file.is_file() else None
        for kind, file in files.items()
    }
