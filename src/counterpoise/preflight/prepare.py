"""The run folder before the first trial: checked against what lies there, and written."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.errors import RunFolderError
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.trial import TrialConfig
from counterpoise.files.atomic import is_leftover, write_json, write_text
from counterpoise.files.lock import LOCK_NAME
from counterpoise.machine.hardware import Hardware
from counterpoise.preflight.design import Design, OnVoxels, design_experiment, reference_weights
from counterpoise.runs.environment import describe_environment
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.records import ArmRecord, ArmsRecord, TrialStatus
from counterpoise.store import StoreRequest
from counterpoise.store.known import KnownStore
from counterpoise.volumes.crops import CropSet
from counterpoise.weights import find_strategy

__all__ = ["PreparedRun", "prepare_run", "refuse_another_experiment", "require_own_folder", "require_writable"]

CHANGED_QUESTION = "what is asked of the runs was changed after trainings had finished"
"""How the note begins that a margin, say, was chosen when results were there to be seen."""

UNKNOWN_QUESTION = "what was asked of the finished trainings is not known"
"""How the note begins that the record of it was damaged, and is written anew."""


@dataclass(frozen=True)
class PreparedRun:
    """A run folder ready for its trials, in the order of starting; ``notes`` are the design's and the folder's own."""

    run: RunFolder
    design: Design
    trials: tuple[TrialFolder, ...]
    notes: tuple[str, ...]


def prepare_run(
    experiment: Experiment,
    source: Path,
    hardware: Hardware,
    *,
    on_store: Callable[[StoreRequest], OnVoxels],
    crops: CropSet | KnownStore | None = None,
    on_design: Callable[[Design], object] = lambda _: None,
) -> PreparedRun:
    """Do everything that comes before the first trial; each step is skipped if its result is there and valid.

    Parameters
    ----------
    experiment : Experiment
        Loaded from ``source``.
    source : Path
        The experiment's file; copied into the run folder.
    hardware : Hardware
        What there is to run on.
    on_store : callable
        Given the request before a store is opened or built; returns what is told the voxels decoded.
    crops : CropSet or KnownStore, optional
        The experiment's crops, if they were opened before, or its store, if that is known to be of these crops still.
    on_design : callable
        Given what would be trained, before anything is written; raises to refuse it.

    Returns
    -------
    PreparedRun
        Store open, ``class_frequencies.json``, ``weights.json``, ``validation_tiles.json``, ``environment.json`` and
        every ``trial.toml`` written.

    Raises
    ------
    CounterpoiseError
        If data, classes or the run folder cannot be used; nothing is written before all of them are checked.
    """
    run = RunFolder(experiment.run.folder)
    require_writable(run.path)
    require_own_folder(run)
    design = design_experiment(experiment, hardware, on_store=on_store, crops=crops)
    configs = {run.trial(config.arm, config.seed): config for config in design.trials}
    refuse_another_experiment(run, configs)
    on_design(design)
    notes = (*design.notes, *_changed_question(run, experiment))
    _write_run(run, experiment, source, design, configs, notes, hardware)
    return PreparedRun(run, design, tuple(configs), notes)


def require_writable(folder: Path) -> None:
    """Check that the run folder could be made, without making it: a run that is refused leaves nothing behind."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise RunFolderError(
            f"the run folder {folder} cannot be written",
            expected="a folder where you may create files",
            found=f"{nearest} is a file" if nearest.is_file() else f"no permission to write in {nearest}",
            remedy="choose another place with [run] folder = ... in the experiment",
        )


def require_own_folder(run: RunFolder) -> None:
    """Refuse a folder that holds something else: results must not be strewn over somebody's files."""
    if not run.path.exists() or run.weights.exists():
        return
    ours = {"trials", LOCK_NAME, run.check.name, run.log.name}
    names = [path.name for path in run.path.iterdir()]
    foreign = sorted(name for name in names if name not in ours and not is_leftover(name))
    if foreign:
        raise RunFolderError(
            f"{run.path} is in use",
            expected="a new or empty folder, or one that an earlier run left",
            found=", ".join(foreign[:5]) + (", ..." if foreign[5:] else ""),
            remedy="name another folder with [run] folder = ... in the experiment",
        )


def refuse_another_experiment(run: RunFolder, configs: dict[TrialFolder, TrialConfig]) -> None:
    """Refuse to mix results: a trial that is there must be the one that is planned now."""
    for folder, config in configs.items():
        if not folder.config.exists():
            continue
        before = TrialConfig.read(folder.config)
        if before.fingerprint() == config.fingerprint():
            continue
        changed = _differences(before.model_dump(mode="json"), config.model_dump(mode="json"))
        raise RunFolderError(
            f"{run.path} holds results of another experiment",
            expected="the configuration and data its trials were started with",
            found="changed since then: " + ", ".join(changed),
            remedy="give this experiment a new [run] folder, or delete the old one",
        )


def _changed_question(run: RunFolder, experiment: Experiment) -> tuple[str, ...]:
    """Note if margin, hypotheses or the like are others than those that finished trainings were started with."""
    if not run.weights.exists() or not _has_finished_trials(run):
        return ()
    try:
        before = ArmsRecord.read(run.weights)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return (f"{UNKNOWN_QUESTION}: {run.weights.name} could not be read ({type(error).__name__})",)
    earlier = tuple(note for note in before.notes if note.startswith((CHANGED_QUESTION, UNKNOWN_QUESTION)))
    asked = {
        "verdict": experiment.verdict.model_dump(mode="json"),
        "hypothesis": [str(h.claim) for h in experiment.hypothesis],
    }
    asked_before = {
        "verdict": before.verdict.model_dump(mode="json"),
        "hypothesis": [str(h.claim) for h in before.hypotheses],
    }
    changed = _differences(asked_before, asked)
    return (*earlier, f"{CHANGED_QUESTION}: {', '.join(changed)}") if changed else earlier


def _has_finished_trials(run: RunFolder) -> bool:
    return any(TrialStatus.read(folder.status).state == "finished" for folder in run.trials())


def _differences(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> list[str]:
    changed = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changed += _differences(old, new, f"{prefix}{key}.")
        elif old != new and key != "store":
            long = 40
            shown = f" ({old} -> {new})" if len(str(old)) + len(str(new)) < long else ""
            changed.append(f"{prefix}{key}{shown}")
    return changed


def _write_run(
    run: RunFolder,
    experiment: Experiment,
    source: Path,
    design: Design,
    configs: dict[TrialFolder, TrialConfig],
    notes: tuple[str, ...],
    hardware: Hardware,
) -> None:
    run.path.mkdir(parents=True, exist_ok=True)
    text = source.read_text(encoding="utf-8")
    summaries = {find_strategy(name).name: find_strategy(name).summary for name in experiment.arms.strategies}
    ArmsRecord(
        classes=experiment.data.classes,
        baseline=find_strategy(experiment.arms.baseline).name,
        seeds=experiment.arms.seeds,
        arms=tuple(
            ArmRecord(
                arm.name,
                summaries[arm.name],
                dict(arm.weights.weights),
                arm.weights.clamped,
                arm.same_as,
                arm.runs,
            )
            for arm in design.arms
        ),
        notes=notes,
        verdict=experiment.verdict,
        hypotheses=experiment.hypothesis,
    ).write(run.weights)  # the first file: by it a run that was killed here knows its folder again
    write_text(run.config, text)
    if not run.environment.exists():  # what trained the first trials, not who looked last
        write_json(run.environment, describe_environment(source, gpus=[gpu.name for gpu in hardware.gpus]))
    weights = reference_weights(experiment.arms.strategies, design.statistics)
    write_json(run.frequencies, design.frequencies.to_json(weights))
    write_json(run.tiles, design.tiles.document())
    fingerprints = {}
    for folder, config in configs.items():
        folder.path.mkdir(parents=True, exist_ok=True)
        write_text(folder.config, config.to_toml())
        fingerprints[f"{config.arm}/seed-{config.seed}"] = config.fingerprint()
    write_json(run.fingerprint, fingerprints)
