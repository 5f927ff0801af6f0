"""Second stage: what an experiment consists of: store, frequencies, weights, arms, tiles, trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from counterpoise.errors import RunFolderError
from counterpoise.experiment.arms import Arm, find_arms
from counterpoise.experiment.config import Experiment, TrainingConfig
from counterpoise.experiment.trial import TrialConfig, TrialTraining
from counterpoise.files.atomic import read_json
from counterpoise.files.lock import Purpose, refuse_if_held
from counterpoise.frequencies.table import FrequencyTable
from counterpoise.machine.hardware import Hardware
from counterpoise.machine.plan import MachinePlan, plan_machine
from counterpoise.notes import Note, NoteKind
from counterpoise.preflight.inputs import Inputs, read_inputs
from counterpoise.preflight.observer import SILENT, PreflightObserver, Stage
from counterpoise.preflight.own_source import source_hash
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.legacy import are_older_tiles
from counterpoise.runs.records import TrialStatus
from counterpoise.runs.tile_voxels import TileVoxels
from counterpoise.sampling.missing_raw import share_without_raw
from counterpoise.sampling.patches import PatchPlan, crops_never_drawn, draw_patches
from counterpoise.sampling.tile_counts import count_tile_voxels
from counterpoise.sampling.tiles import TileList, list_tiles
from counterpoise.statistics.support import PlannedSupport, plan_support
from counterpoise.store import VoxelStore
from counterpoise.text import counted, percent, shortest
from counterpoise.weights import ClassStatistics, derive_weights, find_strategy

__all__ = [
    "Design",
    "changed_keys",
    "design_experiment",
    "design_run",
    "reference_weights",
    "require_same_experiment",
    "seed_shifts",
]


_MOST_OF_FIRST_STEP = 0.05
_WORTH_A_WORD = 0.005
_PATCHES_LOOKED_AT = 512


@dataclass(frozen=True)
class Design:
    """What an experiment consists of, known before the first trial.

    ``trials`` are the configurations of the arms that are trained, seed by seed, so that the first results compare
    arms; ``statistics`` is what the weights were derived from.
    """

    experiment: Experiment
    machine: MachinePlan
    store: VoxelStore
    frequencies: FrequencyTable
    statistics: ClassStatistics
    arms: tuple[Arm, ...]
    tiles: TileList
    trials: tuple[TrialConfig, ...]
    notes: tuple[Note, ...]

    @property
    def run(self) -> RunFolder:
        """Return where results go."""
        return RunFolder(self.experiment.run.folder)

    @property
    def folders(self) -> dict[TrialFolder, TrialConfig]:
        """Return the folder of every trial with its configuration, in the order of starting."""
        return {self.run.trial(config.arm, config.seed): config for config in self.trials}

    @cached_property
    def voxels(self) -> TileVoxels:
        """Return the voxels of the validation tiles: they are counted, once."""
        return count_tile_voxels(self.store, self.tiles, self.experiment.sampling)

    @cached_property
    def support(self) -> PlannedSupport:
        """Return what the scores will rest on."""
        return plan_support(self.tiles.crops, self.store.classes, self.voxels.present, self.experiment.verdict)

    def count_unfinished(self) -> int:
        """Count the trials that are not finished; one that was trained by another configuration counts as finished."""
        return sum(TrialStatus.of(folder).state != "finished" for folder in self.folders)


def design_experiment(inputs: Inputs, hardware: Hardware, observer: PreflightObserver = SILENT) -> Design:
    """Work out what would be trained and scored, and how; builds the store if need be, and writes no run folder.

    Parameters
    ----------
    inputs : Inputs
        Without a problem of data, store or arms.
    hardware : Hardware
        What the machine has.
    observer : PreflightObserver
        Receives stages, and the voxels decoded.

    Raises
    ------
    CounterpoiseError
        If data, classes, strategies or network cannot be used.
    """
    experiment = inputs.experiment
    observer.began(Stage.STORE)
    store = inputs.open_store(hardware.cores, observer)
    observer.began(Stage.DESIGN)
    table = store.frequencies()
    table.require_positives()
    statistics = ClassStatistics.of(table, experiment.arms.manual_weights)
    derived, left_out = derive_weights(experiment.arms.strategies, statistics)
    baseline = find_strategy(experiment.arms.baseline).name
    arms, about_arms = find_arms(derived, baseline=baseline, duplicates=experiment.arms.duplicates)
    running = [arm for arm in arms if arm.runs]
    machine = plan_machine(experiment, hardware, trials=len(running) * len(experiment.arms.seeds))
    plan = PatchPlan([c.label_grid for c in store.of("validate")], store.voxel_size_nm, experiment.sampling)
    tiles = list_tiles(plan, store, cap=experiment.validation.tiles_per_crop)
    shifts = seed_shifts(arms, experiment.arms.seeds)
    trials = tuple(
        _trial_config(experiment, arm, seed + shifts[arm.name], store, tiles, machine)
        for seed in experiment.arms.seeds
        for arm in running
    )
    notes = (
        *store.notes,
        *inputs.notes,
        *_shown_without_raw(store, tiles, experiment),
        *crops_never_drawn(store, experiment.sampling),
        *_lost_to_cap(tiles),
        *(Note(NoteKind.DATA, text) for text in _unscored_classes(table)),
        *(Note(NoteKind.WEIGHTS, text) for text in (*left_out, *about_arms)),
        *_slow_averages(experiment.training),
    )
    return Design(experiment, machine, store, table, statistics, arms, tiles, trials, notes)


def seed_shifts(arms: Sequence[Arm], seeds: Sequence[int]) -> dict[str, int]:
    """Return what is added to the seeds of each arm: nothing, but for controls, which are trained with others."""
    controls = [arm.name for arm in arms if arm.runs and arm.same_as]
    span = max(seeds) + 1
    return {arm.name: span * (controls.index(arm.name) + 1) if arm.name in controls else 0 for arm in arms}


def design_run(experiment: Experiment, hardware: Hardware, observer: PreflightObserver = SILENT) -> Design:
    """Design an experiment that is to be run now.

    Raises
    ------
    CounterpoiseError
        If another process runs it, its inputs cannot be used, or its folder holds results of another experiment.
    """
    refuse_if_held(experiment.run.folder, Purpose.RUN_EXPERIMENT)
    design = design_experiment(read_inputs(experiment, observer).require_usable(), hardware, observer)
    require_same_experiment(design)
    return design


def require_same_experiment(design: Design) -> None:
    """Refuse to mix results: a trial that exists must be the one that is planned now.

    Raises
    ------
    RunFolderError
        If one was started with another configuration or other data.
    """
    _refuse_older_tiles(design.run)
    for folder, config in design.folders.items():
        if not folder.config.exists():
            continue
        before = TrialConfig.read(folder.config)
        if before.fingerprint() == config.fingerprint():
            continue
        changed = changed_keys(before.model_dump(mode="json"), config.model_dump(mode="json"))
        if changed and all(
            key.startswith("tiles_hash") for key in changed
        ):  # the same voxels, tile shape and cap: another rule
            raise _older_tiles(
                design.run,
                expected="validation tiles that show every class of every crop",
                found="a sample of tiles (validation.tiles_per_crop) that left out a class of its crop",
            )
        raise RunFolderError(
            f"{design.run.path} holds results of another experiment",
            expected="the configuration and data its trials were started with",
            found="changed since then: " + ", ".join(changed),
            remedy="give this experiment a new [run] folder, or delete the old one",
        )


def _refuse_older_tiles(run: RunFolder) -> None:
    """Refuse to go on with a run whose finished trials were scored by other rules than those to come."""
    try:
        is_older = run.trials() and are_older_tiles(read_json(run.tiles))
    except (OSError, ValueError):
        return  # no list, or one that cannot be read: the fingerprints decide
    if is_older:
        raise _older_tiles(
            run,
            expected="validation tiles that lie inside their crops",
            found="tiles that hang over them, into raw that may not be there",
        )


def _older_tiles(run: RunFolder, *, expected: str, found: str) -> RunFolderError:
    return RunFolderError(
        f"{run.path} was started by an older version",
        expected=expected,
        found=f"{found}: new scores would not be comparable",
        remedy="give this experiment a new [run] folder; what is finished in the old one can still be read",
    )


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name the keys of nested tables whose values differ, short values with them; where the store lies is none."""
    changed = []
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            changed += changed_keys(old, new, f"{prefix}{key}.")
        elif old != new and key != "store":
            long = 40
            shown = f" ({old} -> {new})" if len(str(old)) + len(str(new)) < long else ""
            changed.append(f"{prefix}{key}{shown}")
    return changed


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


def _lost_to_cap(tiles: TileList) -> Iterator[Note]:
    """Say which classes no kept tile of their crop shows: only where a crop has more classes than tiles."""
    for crop_id, classes in tiles.lost:
        text = (
            f"validation.tiles_per_crop ({tiles.cap}) is too small to show {', '.join(classes)}, which other tiles of "
            "the crop have: the rarest classes come first"
        )
        yield Note(NoteKind.DATA, text, crop_id)


def _shown_without_raw(store: VoxelStore, tiles: TileList, experiment: Experiment) -> Iterator[Note]:
    """Say how much of what is shown has no raw, if it is worth a word: half a percent, in either split."""
    plan = PatchPlan.of(store, "train", experiment.sampling)
    drawn = draw_patches(plan, seed=experiment.arms.seeds[0], step=0, batch_size=_PATCHES_LOOKED_AT)
    validation = share_without_raw(store, "validate", tiles.patches, experiment.sampling)
    training = share_without_raw(store, "train", drawn, experiment.sampling)
    if max(validation, training) >= _WORTH_A_WORD:
        shares = (
            f"{percent(round(validation, 2))} of the pixels shown in validation and "
            f"{percent(round(training, 2))} in training"
        )
        text = (
            f"about {shares} have no raw (not fetched, or outside of its volume): they show the mean grey, "
            f"{store.raw_mean} of 255, and are neither learnt nor scored"
        )
        yield Note(NoteKind.DATA, text)


def _slow_averages(training: TrainingConfig) -> Iterator[Note]:
    """Note if the weights that are scored are still in good part those of the first step.

    The average starts at the first step's weights, of which ``ema_decay`` to the power of the later steps is left.
    """
    steps = training.epochs * training.steps_per_epoch
    left = training.ema_decay ** (steps - 1)
    if left > _MOST_OF_FIRST_STEP:
        text = (
            f"the averaged weights that are scored are still {percent(round(left, 2))} those of the first step after "
            f"{counted(steps, 'step')}: scores say little about the trained network. Lower training.ema_decay "
            f"({shortest(training.ema_decay)}), or train longer"
        )
        yield Note(NoteKind.TRAINING, text)


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
        model_source=source_hash(experiment.model.name),
        loss=experiment.loss,
        loss_source=source_hash(experiment.loss.type),
        training=TrialTraining(**training),
        validation=experiment.validation,
    )
