"""Last stage before the first trial: the run folder, compared with what is planned, and written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from counterpoise.experiment.load import Source, as_source
from counterpoise.files.atomic import write_json, write_text
from counterpoise.machine.hardware import Hardware
from counterpoise.notes import Note
from counterpoise.preflight.design import Design, reference_weights, require_same_experiment, seed_shifts
from counterpoise.preflight.inputs import require_own_folder
from counterpoise.preflight.same_race import require_same_race
from counterpoise.runs.arms import ArmRecord, ArmsRecord, Asked, Race
from counterpoise.runs.environment import describe_environment
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.records import TrialStatus
from counterpoise.runs.tile_voxels import TILE_VOXELS
from counterpoise.weights import find_strategy

__all__ = ["PreparedRun", "prepare_run"]


@dataclass(frozen=True)
class PreparedRun:
    """A run folder ready for its trials, in the order of starting; ``notes`` are the design's and the folder's own."""

    run: RunFolder
    design: Design
    trials: tuple[TrialFolder, ...]
    notes: tuple[Note, ...]


def prepare_run(design: Design, source: Source | Path, hardware: Hardware) -> PreparedRun:
    """Write what the trials need into the run folder; to be called by the process that holds the folder's lock.

    Parameters
    ----------
    design : Design
        What will be trained.
    source : Source or Path
        The experiment's file; its text, with what the command line sets, is kept in the run folder.
    hardware : Hardware
        What the machine has.

    Returns
    -------
    PreparedRun
        ``class_frequencies.json``, ``weights.json``, ``validation_tiles.json``, ``environment.json`` and every
        ``trial.toml`` are written.

    Raises
    ------
    RunFolderError
        If the folder holds something else, or trials of another experiment; nothing is written then.
    """
    run = design.run
    require_own_folder(run)
    require_same_experiment(design)
    plan = _plan(design)
    require_same_race(run, plan)
    _write_run(design, replace(plan, first=_first_asked(run, plan.asked)), as_source(source), hardware)
    return PreparedRun(run, design, tuple(design.folders), design.notes)


def _plan(design: Design) -> ArmsRecord:
    experiment = design.experiment
    summaries = {find_strategy(name).name: find_strategy(name).summary for name in experiment.arms.strategies}
    shifts, looks = seed_shifts(design.arms, experiment.arms.seeds), experiment.arms.race_looks
    return ArmsRecord(
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
                shifts[arm.name],
            )
            for arm in design.arms
        ),
        notes=design.notes,
        verdict=experiment.verdict,
        hypotheses=experiment.hypothesis,
        race=None if looks is None else Race(looks),
    )


def _first_asked(run: RunFolder, asked: Asked) -> Asked | None:
    """Return what was asked when the first training had finished; None if none has."""
    if not _has_finished_trials(run):
        return None
    try:
        before = ArmsRecord.read(run.weights)
    except (OSError, ValueError, KeyError, TypeError):
        return replace(asked, is_known=False)
    return before.first or before.asked


def _has_finished_trials(run: RunFolder) -> bool:
    return any(TrialStatus.read(folder.status).state == "finished" for folder in run.trials())


def _write_run(design: Design, plan: ArmsRecord, source: Source, hardware: Hardware) -> None:
    run, experiment = design.run, design.experiment
    run.path.mkdir(parents=True, exist_ok=True)
    text = source.text()  # before anything is written: it may be this folder's own copy
    plan.write(run.weights)  # the first file: by it a run that was killed here recognises its folder
    write_text(run.config, text)
    if not run.environment.exists():  # of the first trials, not of the last call
        write_json(run.environment, describe_environment(source, gpus=[gpu.name for gpu in hardware.gpus]))
    weights = reference_weights(experiment.arms.strategies, design.statistics)
    write_json(run.frequencies, design.frequencies.to_json(weights))
    write_json(run.tiles, design.tiles.document() | {TILE_VOXELS: design.voxels.plain()})
    fingerprints = {}
    for folder, config in design.folders.items():
        folder.path.mkdir(parents=True, exist_ok=True)
        write_text(folder.config, config.to_toml())
        fingerprints[f"{config.arm}/seed-{config.seed}"] = config.fingerprint()
    write_json(run.fingerprint, fingerprints)
