"""First stage: crops, splits, arms, and the space for store and run folder; no voxel is decoded.

All that is wrong is found, not the first fault only. ``run`` and ``plan`` refuse it; ``check`` lists it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from counterpoise.errors import CounterpoiseError, DatasplitError, RunFolderError, StoreError
from counterpoise.experiment.config import Experiment
from counterpoise.files.atomic import is_leftover
from counterpoise.files.lock import LOCK_NAMES
from counterpoise.inspection.crop import survey_crop
from counterpoise.inspection.problems import Severity
from counterpoise.inspection.source import Settings
from counterpoise.notes import Note
from counterpoise.preflight.findings import Finding, Subject, problems_of, refusals, refuse
from counterpoise.preflight.observer import SILENT, PreflightObserver, Stage
from counterpoise.preflight.own_source import source_hash
from counterpoise.preflight.space import free_bytes
from counterpoise.runs.layout import RunFolder
from counterpoise.store import StoreRequest, VoxelStore, open_or_build
from counterpoise.store.build import BUILDING
from counterpoise.store.fingerprint import fingerprint_of
from counterpoise.store.recognise import Sources, StoreKey, recognise, remember
from counterpoise.store.store import word_dtype
from counterpoise.text import counted, percent, shortest, size
from counterpoise.volumes.crops import CropSet, load_crops
from counterpoise.volumes.fit import FittedCrop, fit_crop
from counterpoise.volumes.overlap import NEAR_NM, CropPair, describe_leaks, describe_repeats, find_pairs, leak_errors
from counterpoise.volumes.placement import PatchReach
from counterpoise.weights import find_strategy

__all__ = ["Inputs", "read_inputs", "require_own_folder", "store_key", "store_request"]

_LITTLE_LABELLED = 0.25

OpenStore = Callable[[int, PreflightObserver], VoxelStore]
"""Given the number of workers and an observer, opens the store of the crops, or builds it."""


@dataclass(frozen=True)
class Inputs:
    """What is known of an experiment before a voxel is decoded.

    Parameters
    ----------
    experiment : Experiment
        As loaded from its file.
    findings : tuple of Finding
        One per subject that was looked at.
    notes : tuple of Note
        Crops that share voxels.
    open_store : callable
        Opens or builds the store of these crops; to be called if no problem concerns the data.
    is_recognised : bool
        Whether the store was recognised by the state of its sources, so that no crop had to be opened.
    """

    experiment: Experiment
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...]
    open_store: OpenStore
    is_recognised: bool

    @property
    def run(self) -> RunFolder:
        """Return where results go."""
        return RunFolder(self.experiment.run.folder)

    def has_problem(self, *subjects: Subject) -> bool:
        """Tell whether something is wrong with one of these subjects."""
        return any(finding.problems for finding in self.findings if finding.subject in subjects)

    def require_usable(self, *, except_for: Subject | None = None) -> Self:
        """Return these inputs, or raise everything that is wrong with them, one subject left out if asked.

        Raises
        ------
        CounterpoiseError
            What is wrong; a :class:`counterpoise.errors.ProblemsError` if it is more than one thing.
        """
        refuse(problems_of(finding for finding in self.findings if finding.subject != except_for))
        return self


def read_inputs(experiment: Experiment, observer: PreflightObserver = SILENT, *, open_crops: bool = False) -> Inputs:
    """Look at an experiment's crops, splits, arms and folders; decodes nothing and writes nothing.

    Parameters
    ----------
    experiment : Experiment
        Loaded from its file.
    observer : PreflightObserver
        Receives the stage.
    open_crops : bool
        Whether to open all crops even if their store is recognised: only then are there findings about them.
    """
    observer.began(Stage.INPUTS)
    found = None if open_crops else recognise(store_key(experiment), experiment.data.store)
    about_rest = (_check_run_folder(experiment), _check_arms(experiment))
    if found is not None:
        store = found.store
        return Inputs(experiment, about_rest, found.notes, lambda *_: store, is_recognised=True)
    faults: list[CounterpoiseError] = []
    crop_set = None
    data = experiment.data
    try:
        crop_set = load_crops(
            data.datasplit, data.classes, root=data.root_folder, allow_overlap=True, on_fault=faults.append
        )
    except CounterpoiseError as error:
        faults.append(error)
    if crop_set is None or not crop_set.crops:
        no_crops = Finding(Subject.DATA, "no crop can be used", tuple(faults))
        return Inputs(experiment, (no_crops, *about_rest), (), partial(_open_none, no_crops), is_recognised=False)
    if not faults:
        faults += _missing_splits(crop_set)
    request = store_request(experiment, crop_set)
    fitted, unfit = _fit(request)
    pairs = find_pairs(crop_set.crops, gap_nm=NEAR_NM)
    about_data = _check_data(crop_set, fitted, (*faults, *unfit), experiment)
    about_crops = (_check_crops(crop_set, experiment),) if open_crops else ()
    splits = _check_splits(pairs, crop_set.source, allow=data.allow_overlap)
    about_store = _check_store(request, fitted, data.store, is_whole=not about_data.problems)
    leaks = describe_leaks(pairs) if data.allow_overlap else ()
    notes = (*leaks, *describe_repeats(pairs))
    to_remember = None if about_data.problems or splits.problems else store_key(experiment)
    opening = partial(_open_store, request, data.store, to_remember, notes)
    findings = (about_data, splits, *about_crops, about_store, *about_rest)
    return Inputs(experiment, findings, notes, opening, is_recognised=False)


def store_request(experiment: Experiment, crop_set: CropSet) -> StoreRequest:
    """Say what the store must hold for an experiment."""
    key = store_key(experiment)
    return StoreRequest(crop_set, key.voxel_size_nm, key.reach, key.max_upsampling, key.raw_window)


def store_key(experiment: Experiment) -> StoreKey:
    """Say what decides which store an experiment gets."""
    data, sampling = experiment.data, experiment.sampling
    _, y, x = data.voxel_size_nm
    reach = PatchReach(
        patch_nm=(sampling.patch_shape[0] * y, sampling.patch_shape[1] * x),
        stack_nm=sampling.slices // 2 * data.voxel_size_nm[0],
        rotation_degrees=sampling.rotation_degrees,
        transpose=sampling.transpose,
    )
    return StoreKey(
        data.datasplit,
        data.classes,
        data.voxel_size_nm,
        reach,
        data.max_upsampling,
        None if data.raw_window == "auto" else data.raw_window,
        data.allow_overlap,
        data.root_folder,
    )


def require_own_folder(run: RunFolder) -> None:
    """Refuse a folder that holds something else: results must not be mixed with other files."""
    if not run.path.exists() or run.weights.exists():
        return
    ours = {"trials", *LOCK_NAMES, run.check.name, run.log.name}
    names = [path.name for path in run.path.iterdir()]
    foreign = sorted(name for name in names if name not in ours and not is_leftover(name))
    if foreign:
        raise RunFolderError(
            f"{run.path} is in use",
            expected="a new or empty folder, or one that an earlier run left",
            found=", ".join(foreign[:5]) + (", ..." if foreign[5:] else ""),
            remedy="name another folder with [run] folder = ... in the experiment",
        )


# The store ------------------------------------------------------------------------------------------------------


def _open_none(finding: Finding, *_: object) -> VoxelStore:
    refuse(finding.problems)
    raise AssertionError("no usable crop and no reason recorded")


def _open_store(
    request: StoreRequest,
    folder: Path,
    to_remember: StoreKey | None,
    notes: tuple[Note, ...],
    workers: int,
    observer: PreflightObserver,
) -> VoxelStore:
    """Open or build the store; it is recognised from then on, unless nobody may train on it."""
    sources = Sources.of(request)
    store = open_or_build(request, folder, workers=workers, on_voxels=observer.building_store(request))
    if to_remember is not None:
        remember(to_remember, sources, store, notes)
    return store


def _fit(request: StoreRequest) -> tuple[tuple[FittedCrop, ...], tuple[CounterpoiseError, ...]]:
    """Choose the levels of all crops; if that fails, of those for which it does not."""
    try:
        return request.fit(), ()
    except CounterpoiseError:
        fitted, faults = [], []
    for crop in request.crop_set.crops:
        try:
            fitted.append(fit_crop(crop, request.voxel_size_nm, request.reach, request.max_upsampling))
        except CounterpoiseError as error:
            faults.append(error)
    return tuple(fitted), tuple(faults)


# What is found --------------------------------------------------------------------------------------------------


def _check_data(
    crop_set: CropSet, fitted: tuple[FittedCrop, ...], faults: tuple[CounterpoiseError, ...], experiment: Experiment
) -> Finding:
    train, validate = len(crop_set.of("train")), len(crop_set.of("validate"))
    text = f"{train} train and {validate} validation crops, {counted(len(crop_set.classes), 'class')}"
    return Finding(Subject.DATA, text, faults, tuple(_small_crops(fitted, experiment)))


def _check_crops(crop_set: CropSet, experiment: Experiment) -> Finding:
    """Count what `data inspect` finds without decoding a voxel."""
    data = experiment.data
    settings = Settings(data.classes, data.voxel_size_nm, experiment.sampling.patch_shape, data.max_upsampling)
    found = [problem.severity for crop in crop_set.crops for problem in survey_crop(crop, settings)]
    problems, notes = (counted(found.count(severity), severity.value) for severity in Severity)
    return Finding(Subject.CROPS, f"{problems}, {notes} before a look at voxels: see `counterpoise data inspect`")


def _missing_splits(crop_set: CropSet) -> tuple[CounterpoiseError, ...]:
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


def _small_crops(fitted: tuple[FittedCrop, ...], experiment: Experiment) -> Iterable[str]:
    """Say which crops are thinner than a voxel, and how little of a patch the train crops fill."""
    size_nm = experiment.data.voxel_size_nm
    for item in fitted:
        if any(length < size for length, size in zip(item.grid.box.size_nm, size_nm, strict=True)):
            yield f"{item.crop.crop_id}: thinner than one voxel of the requested size"
    patch_nm = [n * size for n, size in zip(experiment.sampling.patch_shape, size_nm[1:], strict=True)]
    filled = [
        math.prod(min(length / side, 1.0) for length, side in zip(item.grid.box.size_nm[1:], patch_nm, strict=True))
        for item in fitted
        if item.crop.split == "train"
    ]
    share = sum(filled) / len(filled) if filled else 1.0
    if share < _LITTLE_LABELLED:
        yield (
            f"train crops fill {percent(round(share, 2))} of a patch on average; the rest is computed and has no "
            "label: a smaller sampling.patch_shape would cost less"
        )


def _check_splits(pairs: tuple[CropPair, ...], datasplit: Path, *, allow: bool) -> Finding:
    leaks = leak_errors(pairs, datasplit)
    warnings = (*_near(pairs), *map(str, describe_repeats(pairs)))
    if not leaks:
        return Finding(Subject.SPLITS, "no validation crop shares voxels with a train crop", (), warnings)
    crops = "1 validation crop shares" if len(leaks) == 1 else f"{len(leaks)} validation crops share"
    text = f"{crops} voxels with train crops"
    if allow:  # a note says it
        return Finding(Subject.SPLITS, f"{text}, which data.allow_overlap allows", (), warnings)
    return Finding(Subject.SPLITS, text, leaks, warnings)


def _near(pairs: Iterable[CropPair]) -> tuple[str, ...]:
    near = sorted((pair for pair in pairs if pair.shared is None), key=lambda pair: pair.gap_nm)
    if not near:
        return ()
    number = len({pair.second.crop_id for pair in near})
    crops = "1 validation crop lies" if number == 1 else f"{number} validation crops lie"
    nearest = f"{near[0].second.crop_id} is {shortest(near[0].gap_nm)} nm from {near[0].first.crop_id}"
    text = (
        f"{crops} within {shortest(NEAR_NM)} nm of a train crop ({nearest}): structures that continue from one into "
        "the other are easier to segment than new tissue"
    )
    return (text,)


def _check_store(request: StoreRequest, fitted: tuple[FittedCrop, ...], folder: Path, *, is_whole: bool) -> Finding:
    """Compare the size of the arrays with the free space; unknown words count, before it is known if there are any.

    Whether the store, or a part of it, exists already is asked only if there is no space for another.
    """
    word = word_dtype(max(len(request.crop_set.classes), 1)).itemsize
    needed = sum(item.raw_block.voxels + 2 * word * math.prod(item.grid.shape) for item in fitted)
    free = free_bytes(folder)
    text = f"voxel store of {'' if is_whole else 'at least '}{size(needed)}, {size(free)} free"
    if free >= needed or free + _existing_bytes(request, fitted, folder) >= needed:
        return Finding(Subject.STORE, text, refusals(lambda: _require_store_writable(folder)))
    voxel = ", ".join(map(shortest, request.voxel_size_nm))
    problem = StoreError(
        f"the voxel store does not fit on the disk of {folder}",
        expected=f"{size(needed)} for {counted(len(fitted), 'crop')} at ({voxel}) nm",
        found=f"{size(free)} free",
        remedy="free some space, or name a folder on a larger disk with [data] store = ...; a larger voxel_size_nm or "
        "fewer crops need less",
    )
    return Finding(Subject.STORE, text, (problem,))


def _existing_bytes(request: StoreRequest, fitted: tuple[FittedCrop, ...], folder: Path) -> float:
    """Return the space that an interrupted build has taken already; a finished one needs no more, however large."""
    fingerprint = fingerprint_of(request.crop_set.classes, request.voxel_size_nm, request.raw_window, fitted)
    path = folder / fingerprint[:16]
    if (path / "index.json").exists():
        return math.inf
    building = path.with_name(path.name + BUILDING)
    return sum(file.stat().st_blocks * 512 for file in building.glob("*.npy"))


def _require_writable(folder: Path, problem: str, key: str, kind: type[CounterpoiseError]) -> None:
    """Check that a folder could be made, without making it: a run that is refused leaves nothing behind."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise kind(
            problem,
            expected="a folder where you may create files",
            found=f"{nearest} is a file" if nearest.is_file() else f"no permission to write in {nearest}",
            remedy=f"choose another place with {key} = ... in the experiment",
        )


def _require_store_writable(folder: Path) -> None:
    _require_writable(folder, f"the voxel store cannot be written to {folder}", "[data] store", StoreError)


def _check_run_folder(experiment: Experiment) -> Finding:
    run = RunFolder(experiment.run.folder)
    unwritable = f"the run folder {run.path} cannot be written"
    problems = refusals(lambda: _require_writable(run.path, unwritable, "[run] folder", RunFolderError))
    problems = problems or refusals(lambda: require_own_folder(run))
    state = "continues what exists" if run.weights.exists() else "is new"
    return Finding(Subject.RUN_FOLDER, f"{run.path} {'cannot be used' if problems else state}", problems)


def _check_arms(experiment: Experiment) -> Finding:
    strategies, seeds = experiment.arms.strategies, len(experiment.arms.seeds)
    checks: list[Callable[[], object]] = [partial(find_strategy, name) for name in strategies]
    checks += [partial(source_hash, name) for name in (experiment.model.name, experiment.loss.type)]
    problems = tuple(error for check in checks for error in refusals(check))
    return Finding(Subject.ARMS, f"{counted(len(strategies), 'weighting')} x {counted(seeds, 'seed')}", problems)
