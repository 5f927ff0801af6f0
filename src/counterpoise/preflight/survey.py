"""What can be known about an experiment before a voxel is decoded; all that is wrong, not the first thing only."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from counterpoise.errors import CounterpoiseError, ProblemsError, StoreError
from counterpoise.experiment.config import Experiment
from counterpoise.preflight.design import missing_splits, model_source, store_question, store_request
from counterpoise.preflight.prepare import require_own_folder, require_writable
from counterpoise.preflight.rehearsal import free_bytes, in_words
from counterpoise.runs.layout import RunFolder
from counterpoise.store import StoreRequest
from counterpoise.store.build import BUILDING
from counterpoise.store.fingerprint import fingerprint_of
from counterpoise.store.known import KnownStore, find_known
from counterpoise.store.store import word_dtype
from counterpoise.volumes.crops import CropSet, FittedCrop, fit_crop, load_crops
from counterpoise.volumes.overlap import CropPair, describe_repeats, find_pairs, leak_errors
from counterpoise.weights import find_strategy

__all__ = ["Finding", "Survey", "require_usable", "survey"]

NEAR_NM = 200.0
"""Train and validation crops that are nearer than this are worth a word: the distance that ``init`` keeps."""

_LITTLE_LABELLED = 0.25
_MOST_NAMED = 3


@dataclass(frozen=True)
class Finding:
    """What was found about one subject: in words, what is wrong, what is worth knowing."""

    subject: str
    text: str
    problems: tuple[CounterpoiseError, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Survey:
    """What was found; ``crop_set`` is None if the crops cannot be listed."""

    findings: tuple[Finding, ...]
    crop_set: CropSet | None

    @property
    def problems(self) -> tuple[CounterpoiseError, ...]:
        """Return what is wrong."""
        return tuple(error for finding in self.findings for error in finding.problems)

    def has_problem(self, *subjects: str) -> bool:
        """Tell whether something is wrong with one of these subjects."""
        return any(finding.problems for finding in self.findings if finding.subject in subjects)


def require_usable(experiment: Experiment) -> CropSet | KnownStore:
    """Refuse an experiment for everything that is wrong with it before a voxel is decoded.

    Returns
    -------
    CropSet or KnownStore
        Its crops; or its store, where that is known to be of these crops still: then they are not looked at again.

    Raises
    ------
    CounterpoiseError
        What is wrong; a :class:`ProblemsError` if it is more than one thing.
    """
    known = find_known(store_question(experiment), experiment.data.store)
    if known is not None:
        seen = Survey((_look_at_run_folder(experiment), _look_at_arms(experiment)), None)
    else:
        seen = survey(experiment)
    if seen.problems:
        raise seen.problems[0] if len(seen.problems) == 1 else ProblemsError(seen.problems)
    crops = known or seen.crop_set
    assert crops is not None  # noqa: S101 - else there is a problem
    return crops


def survey(experiment: Experiment) -> Survey:
    """Look at crops, splits, arms, and the room for store and run folder; decodes nothing and writes nothing."""
    faults: list[CounterpoiseError] = []
    crop_set = None
    try:
        crop_set = load_crops(
            experiment.data.datasplit, experiment.data.classes, allow_overlap=True, on_fault=faults.append
        )
    except CounterpoiseError as error:
        faults.append(error)
    findings: list[Finding] = []
    if crop_set is None or not crop_set.crops:
        findings.append(Finding("data", "no crop can be used", tuple(faults)))
    else:
        if not faults:
            faults += missing_splits(crop_set)
        request = store_request(experiment, crop_set)
        fitted, unfit = _fit(request)
        findings.append(_look_at_data(crop_set, fitted, (*faults, *unfit), experiment))
        findings.append(_look_at_splits(crop_set, allow=experiment.data.allow_overlap))
        findings.append(_look_at_store(request, fitted, experiment.data.store, is_whole=not (faults or unfit)))
    findings += [_look_at_run_folder(experiment), _look_at_arms(experiment)]
    return Survey(tuple(findings), crop_set)


def _fit(request: StoreRequest) -> tuple[list[FittedCrop], list[CounterpoiseError]]:
    fitted, faults = [], []
    for crop in request.crop_set.crops:
        try:
            fitted.append(fit_crop(crop, request.voxel_size_nm, request.reach, request.max_upsampling))
        except CounterpoiseError as error:
            faults.append(error)
    return fitted, faults


def _look_at_data(
    crop_set: CropSet, fitted: list[FittedCrop], faults: tuple[CounterpoiseError, ...], experiment: Experiment
) -> Finding:
    train, validate = len(crop_set.of("train")), len(crop_set.of("validate"))
    text = f"{train} train and {validate} validation crops, {_counted(len(crop_set.classes), 'class', 'classes')}"
    return Finding("data", text, faults, tuple(_small_crops(fitted, experiment)))


def _small_crops(fitted: list[FittedCrop], experiment: Experiment) -> Iterable[str]:
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
    if filled and sum(filled) / len(filled) < _LITTLE_LABELLED:
        yield (
            f"train crops fill {sum(filled) / len(filled):.0%} of a patch on average; the rest is computed and has no "
            "label: a smaller sampling.patch_shape would cost less"
        )


def _look_at_splits(crop_set: CropSet, *, allow: bool) -> Finding:
    pairs = find_pairs(crop_set.crops, gap_nm=NEAR_NM)
    leaks = leak_errors(pairs, crop_set.source)
    warnings = (*_near(pairs), *describe_repeats(pairs))
    if not leaks:
        return Finding("splits", "no validation crop shares voxels with a train crop", (), warnings)
    text = f"{_counted(len(leaks), 'validation crop shares', 'validation crops share')} voxels with train crops"
    if allow:  # the design has a note of it
        return Finding("splits", f"{text}, which data.allow_overlap allows", (), warnings)
    return Finding("splits", text, leaks, warnings)


def _near(pairs: Iterable[CropPair]) -> tuple[str, ...]:
    near = sorted((pair for pair in pairs if pair.shared is None), key=lambda pair: pair.gap_nm)
    if not near:
        return ()
    crops = list(dict.fromkeys(pair.second.crop_id for pair in near))
    some = f"{near[0].second.crop_id} is {near[0].gap_nm:g} nm from {near[0].first.crop_id}"
    text = (
        f"{_counted(len(crops), 'validation crop lies', 'validation crops lie')} within {NEAR_NM:g} nm of a train crop "
        f"({some}): what continues from one into the other is easier to find than in new tissue"
    )
    return (text,)


def _look_at_store(request: StoreRequest, fitted: list[FittedCrop], folder: Path, *, is_whole: bool) -> Finding:
    """Compare the room for the arrays with what is free; unknown words are written too, before it is known if any are.

    Whether the store, or a part of it, is there already is asked only if there is no room for another.
    """
    word = word_dtype(max(len(request.crop_set.classes), 1)).itemsize
    needed = sum(item.raw_block.voxels + 2 * word * math.prod(item.grid.shape) for item in fitted)
    free = free_bytes(folder)
    text = f"voxel store of {'' if is_whole else 'at least '}{in_words(needed)}, {in_words(free)} free"
    if free >= needed or free + _bytes_there(request, fitted, folder) >= needed:
        return Finding("store", text, _refusals(lambda: _require_store_writable(folder)))
    problem = StoreError(
        f"the voxel store does not fit on the disk of {folder}",
        expected=f"{in_words(needed)} for {_counted(len(fitted), 'crop', 'crops')} at {_size(request)} nm",
        found=f"{in_words(free)} free",
        remedy="make room, or name a folder on a larger disk with [data] store = ...; a larger voxel_size_nm or fewer "
        "crops need less",
    )
    return Finding("store", text, (problem,))


def _bytes_there(request: StoreRequest, fitted: list[FittedCrop], folder: Path) -> float:
    """Return the room that an interrupted build has taken already; a finished one needs no more, however large."""
    path = folder / fingerprint_of(request.crop_set.classes, request.voxel_size_nm, fitted)[:16]
    if (path / "index.json").exists():
        return math.inf
    building = path.with_name(path.name + BUILDING)
    return sum(file.stat().st_blocks * 512 for file in building.glob("*.npy"))


def _require_store_writable(folder: Path) -> None:
    try:
        require_writable(folder)
    except CounterpoiseError as error:
        raise StoreError(
            f"the voxel store cannot be written to {folder}",
            expected=error.expected,
            found=error.found,
            remedy="choose another place with [data] store = ... in the experiment",
        ) from None


def _look_at_run_folder(experiment: Experiment) -> Finding:
    run = RunFolder(experiment.run.folder)
    problems = _refusals(lambda: require_writable(run.path)) or _refusals(lambda: require_own_folder(run))
    there = "continues what is there" if run.weights.exists() else "is new"
    return Finding("run folder", f"{run.path} {'cannot be used' if problems else there}", problems)


def _look_at_arms(experiment: Experiment) -> Finding:
    strategies, seeds = experiment.arms.strategies, len(experiment.arms.seeds)
    problems = [
        error
        for work in (*(lambda name=name: find_strategy(name) for name in strategies), _model_of(experiment))
        for error in _refusals(work)
    ]
    text = f"{_counted(len(strategies), 'weighting', 'weightings')} x {_counted(seeds, 'seed', 'seeds')}"
    return Finding("arms", text, tuple(problems))


def _model_of(experiment: Experiment) -> Callable[[], object]:
    return lambda: model_source(experiment.model.name)


def _refusals(work: Callable[[], object]) -> tuple[CounterpoiseError, ...]:
    try:
        work()
    except CounterpoiseError as error:
        return (error,)
    return ()


def _size(request: StoreRequest) -> str:
    return "(" + ", ".join(f"{length:g}" for length in request.voxel_size_nm) + ")"


def _counted(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
