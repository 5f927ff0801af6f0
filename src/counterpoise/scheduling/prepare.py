"""Everything between a configuration and the first trial: store, frequencies, weights, arms, trial folders."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.data.crops import CropSet, load_crops
from counterpoise.data.placement import PatchReach
from counterpoise.errors import ConfigError, DatasplitError, RunFolderError
from counterpoise.experiment.arms import Arm, find_arms
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.trial import TrialConfig, TrialTraining
from counterpoise.frequencies.table import FrequencyTable
from counterpoise.records.atomic import write_json, write_text
from counterpoise.records.environment import describe_environment
from counterpoise.records.layout import RunFolder, TrialFolder
from counterpoise.records.schema import ArmRecord, ArmsRecord
from counterpoise.sampling.patches import PatchPlan
from counterpoise.sampling.tiles import TileList, list_tiles
from counterpoise.scheduling.hardware import Hardware
from counterpoise.scheduling.plan import MachinePlan, plan_machine
from counterpoise.store import StoreRequest, VoxelStore, open_or_build
from counterpoise.weights import ClassStatistics, derive_weights, find_strategy

__all__ = ["PreparedRun", "class_statistics", "prepare_run", "reference_weights", "store_request"]

OnVoxels = Callable[[int], object]


@dataclass(frozen=True)
class PreparedRun:
    """A run folder ready for its trials.

    ``trials`` are the folders of the arms that are trained, seed by seed, so that the first results compare arms.
    """

    run: RunFolder
    machine: MachinePlan
    store: VoxelStore
    frequencies: FrequencyTable
    arms: tuple[Arm, ...]
    tiles: TileList
    trials: tuple[TrialFolder, ...]
    notes: tuple[str, ...]


def store_request(experiment: Experiment, crop_set: CropSet) -> StoreRequest:
    """Say what the store must hold for an experiment."""
    data, sampling = experiment.data, experiment.sampling
    _, y, x = data.voxel_size_nm
    reach = PatchReach(
        patch_nm=(sampling.patch_shape[0] * y, sampling.patch_shape[1] * x),
        stack_nm=sampling.slices // 2 * data.voxel_size_nm[0],
        rotation_degrees=sampling.rotation_degrees,
        transpose=sampling.transpose,
    )
    return StoreRequest(crop_set, data.voxel_size_nm, reach, data.max_upsampling)


def class_statistics(table: FrequencyTable, manual: dict[str, float]) -> ClassStatistics:
    """Take from the exact counts what strategies may look at; a class known nowhere in train has frequency 0."""
    return ClassStatistics(
        table.classes,
        np.nan_to_num(table.frequencies("train"), nan=0.0),
        np.array([table.total(name, "train").present for name in table.classes], dtype=np.int64),
        manual,
    )


def reference_weights(strategies: tuple[str, ...], statistics: ClassStatistics) -> dict[str, dict[str, float]]:
    """Key the weights of strategies as the reference experiment did in ``class_frequencies.json``."""
    derived, _ = derive_weights(strategies, statistics)
    names = {find_strategy(name).name: find_strategy(name).reference_key for name in strategies}
    return {names[item.strategy]: dict(item.weights) for item in derived}


def prepare_run(
    experiment: Experiment,
    source: Path,
    hardware: Hardware,
    *,
    on_store: Callable[[StoreRequest], OnVoxels],
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
    crop_set = load_crops(experiment.data.datasplit, experiment.data.classes)
    _require_both_splits(crop_set)
    _require_writable(run.path)
    _require_own_folder(run)
    request = store_request(experiment, crop_set)
    store = open_or_build(request, experiment.data.store, workers=hardware.cores, on_voxels=on_store(request))
    table = store.frequencies()
    table.require_positives()
    statistics = class_statistics(table, dict(experiment.arms.manual_weights))
    derived, left_out = derive_weights(experiment.arms.strategies, statistics)
    baseline = find_strategy(experiment.arms.baseline).name
    arms, about_arms = find_arms(derived, baseline=baseline, duplicates=experiment.arms.duplicates)
    running = [arm for arm in arms if arm.runs]
    machine = plan_machine(experiment, hardware, trials=len(running) * len(experiment.arms.seeds))
    plan = PatchPlan([c.label_grid for c in store.of("validate")], store.voxel_size_nm, experiment.sampling)
    tiles = list_tiles(plan, store, cap=experiment.validation.tiles_per_crop)
    configs = {
        run.trial(arm.name, seed): _trial_config(experiment, arm, seed, store, tiles, machine)
        for seed in experiment.arms.seeds
        for arm in running
    }
    unscored = [
        f"no validation crop annotates {name}: it has no score, and the mean leaves it out"
        for name in table.classes
        if table.total(name, "validate").known == 0
    ]
    unscored += [
        f"{name} has no positive voxel in the validation crops: its Dice there is 0 or missing"
        for name in table.empty_classes("validate")
        if table.total(name, "validate").known > 0
    ]
    notes = (*store.notes, *unscored, *left_out, *about_arms)
    _refuse_another_experiment(run, configs)
    _write_run(run, experiment, source, table, arms, tiles, configs, notes, statistics, hardware)
    return PreparedRun(run, machine, store, table, arms, tiles, tuple(configs), notes)


def _trial_config(
    experiment: Experiment, arm: Arm, seed: int, store: VoxelStore, tiles: TileList, machine: MachinePlan
) -> TrialConfig:
    training = experiment.training.model_dump() | {
        "batch_size": machine.batch_size,
        "precision": machine.precision,
    }
    return TrialConfig(
        arm=arm.name,
        seed=seed,
        classes=experiment.data.classes,
        class_weights=dict(arm.weights.weights),
        store=store.path,
        store_fingerprint=store.content_hash(),
        tiles_hash=tiles.hash(),
        sampling=experiment.sampling,
        model=experiment.model,
        model_source=_source_hash(experiment.model.name),
        loss=experiment.loss,
        training=TrialTraining(**training),
        validation=experiment.validation,
    )


def _require_both_splits(crop_set: CropSet) -> None:
    for split in ("train", "validate"):
        if not any(crop.split == split for crop in crop_set.crops):
            raise DatasplitError(
                f"no {split} crop in {crop_set.source}",
                expected=f"at least one line '{split}' whose crop annotates a requested class",
                found=f"{len(crop_set.crops)} usable crops, none of them to {split}",
                remedy=f"mark at least one crop as '{split}'",
            )


def _require_writable(folder: Path) -> None:
    """Check that the run folder could be made, without making it: a run that is refused leaves nothing behind."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise RunFolderError(
            f"the run folder {folder} cannot be written",
            expected="a folder where you may create files",
            found=f"{nearest} is a file" if nearest.is_file() else f"no permission to write in {nearest}",
            remedy="choose another place with [run] folder = ... in the experiment",
        )


def _require_own_folder(run: RunFolder) -> None:
    """Refuse a folder that holds something else: results must not be strewn over somebody's files."""
    if not run.path.exists() or run.weights.exists():
        return
    ours = {"trials", ".lock"}
    foreign = sorted(path.name for path in run.path.iterdir() if path.name not in ours)
    if foreign:
        raise RunFolderError(
            f"{run.path} is in use",
            expected="a new or empty folder, or one that an earlier run left",
            found=", ".join(foreign[:5]) + (", ..." if foreign[5:] else ""),
            remedy="name another folder with [run] folder = ... in the experiment",
        )


def _source_hash(model: str) -> str:
    """Hash the file a network of one's own comes from, so that changed code is another experiment."""
    module, _, name = model.partition(":")
    if not name:
        return ""
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None or not Path(found.origin).is_file():
        raise ConfigError(
            f"model {model!r} cannot be found",
            expected="module:callable, a Python file beside the experiment or an installed package",
            found=f"no module {module!r}",
            remedy="check the spelling, and that the module is on PYTHONPATH",
        )
    return hashlib.sha256(Path(found.origin).read_bytes()).hexdigest()


def _refuse_another_experiment(run: RunFolder, configs: dict[TrialFolder, TrialConfig]) -> None:
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
    table: FrequencyTable,
    arms: tuple[Arm, ...],
    tiles: TileList,
    configs: dict[TrialFolder, TrialConfig],
    notes: tuple[str, ...],
    statistics: ClassStatistics,
    hardware: Hardware,
) -> None:
    run.path.mkdir(parents=True, exist_ok=True)
    write_text(run.config, source.read_text(encoding="utf-8"))
    if not run.environment.exists():  # what trained the first trials, not who looked last
        write_json(run.environment, describe_environment(source, gpus=[gpu.name for gpu in hardware.gpus]))
    write_json(run.frequencies, table.to_json(reference_weights(experiment.arms.strategies, statistics)))
    write_json(run.tiles, tiles.document())
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
            for arm in arms
        ),
        notes=notes,
    ).write(run.weights)
    fingerprints = {}
    for folder, config in configs.items():
        folder.path.mkdir(parents=True, exist_ok=True)
        write_text(folder.config, config.to_toml())
        fingerprints[f"{config.arm}/seed-{config.seed}"] = config.fingerprint()
    write_json(run.fingerprint, fingerprints)
