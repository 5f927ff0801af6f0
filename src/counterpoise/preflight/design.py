"""What an experiment consists of, worked out before anything is trained: store, frequencies, weights, arms, trials."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoise.errors import ConfigError, CounterpoiseError, DatasplitError, ProblemsError
from counterpoise.experiment.arms import Arm, find_arms
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.trial import TrialConfig, TrialTraining
from counterpoise.frequencies.table import FrequencyTable
from counterpoise.machine.hardware import Hardware
from counterpoise.machine.plan import MachinePlan, plan_machine
from counterpoise.sampling.patches import PatchPlan, crops_never_drawn
from counterpoise.sampling.tiles import TileList, list_tiles
from counterpoise.store import StoreRequest, VoxelStore, open_or_build
from counterpoise.store.known import KnownStore, Sources, StoreQuestion, find_known, remember
from counterpoise.volumes.crops import CropSet, load_crops
from counterpoise.volumes.overlap import describe_leaks, describe_repeats, find_pairs, leak_errors
from counterpoise.volumes.placement import PatchReach
from counterpoise.weights import ClassStatistics, derive_weights, find_strategy

__all__ = [
    "Design",
    "OnVoxels",
    "class_statistics",
    "design_experiment",
    "missing_splits",
    "model_source",
    "reference_weights",
    "store_question",
    "store_request",
]

OnVoxels = Callable[[int], object]
"""Told how many voxels have been decoded since it was called last."""


@dataclass(frozen=True)
class Design:
    """What an experiment consists of, known before the first trial.

    ``trials`` are the configurations of the arms that are trained, seed by seed, so that the first results compare
    arms; ``statistics`` is what the weights were derived from.
    """

    machine: MachinePlan
    store: VoxelStore
    frequencies: FrequencyTable
    statistics: ClassStatistics
    arms: tuple[Arm, ...]
    tiles: TileList
    trials: tuple[TrialConfig, ...]
    notes: tuple[str, ...]


def design_experiment(
    experiment: Experiment,
    hardware: Hardware,
    *,
    on_store: Callable[[StoreRequest], OnVoxels],
    crops: CropSet | KnownStore | None = None,
) -> Design:
    """Work out what would be trained and scored, and how; builds the store if need be, and writes no run folder.

    Parameters
    ----------
    experiment : Experiment
        Loaded from its file.
    hardware : Hardware
        What there is to run on.
    on_store : callable
        Given the request before a store is opened or built; returns what is told the voxels decoded.
    crops : CropSet or KnownStore, optional
        The experiment's crops, if they were opened before, or its store, if that is known to be of these crops still.

    Raises
    ------
    CounterpoiseError
        If data, classes, strategies or network cannot be used, or validation crops share voxels with train crops
        and that is not allowed.
    """
    if crops is None:
        crops = find_known(store_question(experiment), experiment.data.store)
    known = crops if isinstance(crops, KnownStore) else _open_store(experiment, hardware, on_store, crops)
    store = known.store
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
    trials = tuple(
        _trial_config(experiment, arm, seed, store, tiles, machine) for seed in experiment.arms.seeds for arm in running
    )
    notes = (
        *store.notes,
        *known.notes,
        *crops_never_drawn(store, experiment.sampling),
        *_unscored_classes(table),
        *left_out,
        *about_arms,
    )
    return Design(machine, store, table, statistics, arms, tiles, trials, notes)


def _open_store(
    experiment: Experiment, hardware: Hardware, on_store: Callable[[StoreRequest], OnVoxels], crop_set: CropSet | None
) -> KnownStore:
    """Open the crops, refuse those that cannot be used, and open or build their store; it is known from then on."""
    if crop_set is None:
        crop_set = load_crops(experiment.data.datasplit, experiment.data.classes, allow_overlap=True)
    faults = missing_splits(crop_set)
    pairs = find_pairs(crop_set.crops)
    if not experiment.data.allow_overlap:
        faults += leak_errors(pairs, crop_set.source)
    if faults:
        raise faults[0] if len(faults) == 1 else ProblemsError(faults)
    request = store_request(experiment, crop_set)
    sources = Sources.of(request)
    store = open_or_build(request, experiment.data.store, workers=hardware.cores, on_voxels=on_store(request))
    notes = (*describe_leaks(pairs), *describe_repeats(pairs))
    remember(store_question(experiment), sources, store, notes)
    return KnownStore(store, notes)


def store_request(experiment: Experiment, crop_set: CropSet) -> StoreRequest:
    """Say what the store must hold for an experiment."""
    asked = store_question(experiment)
    return StoreRequest(crop_set, asked.voxel_size_nm, asked.reach, asked.max_upsampling)


def store_question(experiment: Experiment) -> StoreQuestion:
    """Say what decides which store an experiment gets."""
    data, sampling = experiment.data, experiment.sampling
    _, y, x = data.voxel_size_nm
    reach = PatchReach(
        patch_nm=(sampling.patch_shape[0] * y, sampling.patch_shape[1] * x),
        stack_nm=sampling.slices // 2 * data.voxel_size_nm[0],
        rotation_degrees=sampling.rotation_degrees,
        transpose=sampling.transpose,
    )
    return StoreQuestion(
        data.datasplit, data.classes, data.voxel_size_nm, reach, data.max_upsampling, data.allow_overlap
    )


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


def _unscored_classes(table: FrequencyTable) -> list[str]:
    unscored = [
        f"no validation crop annotates {name}: it has no score, and the mean leaves it out"
        for name in table.classes
        if table.total(name, "validate").known == 0
    ]
    return unscored + [
        f"{name} has no positive voxel in the validation crops: its Dice there is 0 or missing"
        for name in table.empty_classes("validate")
        if table.total(name, "validate").known > 0
    ]


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
        model_source=model_source(experiment.model.name),
        loss=experiment.loss,
        training=TrialTraining(**training),
        validation=experiment.validation,
    )


def missing_splits(crop_set: CropSet) -> tuple[CounterpoiseError, ...]:
    """Make an error of a split without a crop."""
    return tuple(
        DatasplitError(
            f"no {split} crop in {crop_set.source}",
            expected=f"at least one line '{split}' whose crop annotates a requested class",
            found=f"{len(crop_set.crops)} usable crops, none of them to {split}",
            remedy=f"mark at least one crop as '{split}'",
        )
        for split in ("train", "validate")
        if not any(crop.split == split for crop in crop_set.crops)
    )


def model_source(model: str) -> str:
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
