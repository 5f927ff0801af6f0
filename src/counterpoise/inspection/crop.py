"""Inspect one crop: open it, count its labels, look at the raw below it, and compare the two. No fault stops it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from counterpoise.arrays import Vector3
from counterpoise.errors import DamagedChunkError, LayoutError, VoxelSizeError
from counterpoise.inspection.copies import Windows
from counterpoise.inspection.facts import ClassFacts, ClassState, CropFacts, RawFacts, RawLevel
from counterpoise.inspection.grey import Greys, grey_problems, share_in_words, stored_voxels
from counterpoise.inspection.labels import count_label, describe_faults
from counterpoise.inspection.opening import OpenedCrop
from counterpoise.inspection.problems import Problem, ProblemCode
from counterpoise.inspection.reading import Block, Masks, centred, compressor_of, label_masks, read_block, slabs
from counterpoise.inspection.shift import REACH, ShiftFit, agree, fit_shift
from counterpoise.inspection.source import Settings
from counterpoise.text import listed, percent
from counterpoise.volumes.crops import Crop, LabelLevel
from counterpoise.volumes.fit import fit_crop
from counterpoise.volumes.geometry import Box, IndexBox, choose_level, voxel_volume_nm3
from counterpoise.volumes.volume import Level, Volume

__all__ = ["Draw", "draw_nothing", "inspect_crop", "survey_crop"]

PATCH_SHARE = 0.5
"""A crop that fills less of a patch leaves most of what is computed without a label."""

_OUTSIDE = 0.5
"""Raw voxels by which a label may reach beyond the raw: rounding, or a corner that was taken for a centre."""

_ANISOTROPIC = 2.0
"""Of sections this many times thicker than a pixel, only the next ones are looked at."""


Draw = Callable[[Level, Mapping[str, LabelLevel], IndexBox, Mapping[str, np.ndarray]], Any]
"""Makes the picture of a crop: raw level, labels, block, and per class the voxels in each section."""


def draw_nothing(*_: object) -> None:
    """Make no picture."""


def inspect_crop(opened: OpenedCrop, settings: Settings, draw: Draw = draw_nothing) -> CropFacts:
    """Measure a crop.

    Parameters
    ----------
    opened : OpenedCrop
        The crop.
    settings : Settings
        Voxel size, patch and classes to measure it against.
    draw : callable
        Makes its picture.
    """
    problems = list(opened.problems)
    classes = {name: ClassFacts(ClassState.UNANNOTATED) for name in settings.classes}
    classes |= {name: ClassFacts(ClassState.DAMAGED) for name in opened.damaged}
    for name, levels in opened.labels.items():
        classes[name], found = count_label(opened.crop_id, name, levels[0], opened.volumes[name])
        problems += found
    box = opened.box
    facts = CropFacts(opened.crop_id, opened.usage, classes=classes)
    if box is not None:
        size = zip(box.size_nm, settings.voxel_size_nm, strict=True)
        z, y, x = (max(round(length / voxel), 1) for length, voxel in size)
        finest = min((levels[0].level.grid.voxel_size_nm for levels in opened.labels.values()), key=voxel_volume_nm3)
        fills, small = _fill_patch(opened, box, settings)
        problems += small
        facts = replace(facts, size_nm=box.size_nm, shape=(z, y, x), label_voxel_nm=finest, fills_patch=fills)
    if opened.raw is not None:
        facts, found = _look_at_raw(facts, opened, opened.raw, settings, draw)
        problems += found
    problems += _checksums(opened)
    return replace(
        facts, problems=tuple(problems), crop=opened.as_crop(), volume=opened.raw.path if opened.raw else None
    )


def _fill_patch(opened: OpenedCrop, box: Box, settings: Settings) -> tuple[float, list[Problem]]:
    sides = [n * size for n, size in zip(settings.patch, settings.voxel_size_nm[1:], strict=True)]
    fills = math.prod(min(length / side, 1.0) for length, side in zip(box.size_nm[1:], sides, strict=True))
    if fills >= PATCH_SHARE:
        return fills, []
    rows, columns = settings.patch
    text = f"fills {share_in_words(fills)} of a patch of {rows} x {columns}"
    return fills, [Problem(ProblemCode.SMALLER_THAN_PATCH, text, (opened.crop_id,), details={"share": fills})]


def _checksums(opened: OpenedCrop) -> list[Problem]:
    levels: dict[str, list[Level]] = {"raw": list(opened.raw.levels) if opened.raw else []}
    levels |= {name: [entry.level for entry in entries] for name, entries in opened.labels.items()}
    arrays = [name for name, found in levels.items() if any("checksum" in compressor_of(level) for level in found)]
    if not arrays:
        return []
    text = (
        f"{listed(arrays)}: the compressor in .zarray has an entry checksum, which tools that read with tensorstore "
        "(csc visualize, cellmap-flow) refuse; delete this entry, and leave the chunks as they are"
    )
    return [Problem(ProblemCode.CHECKSUM, text, (opened.crop_id,), details={"arrays": arrays})]


# Raw ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Survey:
    """What metadata and the names of files say of the raw under a crop; no level where nothing is stored."""

    raw: RawFacts
    problems: tuple[Problem, ...] = ()
    level: Level | None = None
    block: IndexBox | None = None


def _survey_raw(opened: OpenedCrop, volume: Volume, settings: Settings) -> _Survey:
    levels, box = volume.levels, opened.box
    raw = RawFacts(
        str(levels[0].dtype),
        tuple(RawLevel(level.name, level.grid.voxel_size_nm, level.grid.shape) for level in levels),
    )
    if box is None:
        return _Survey(raw)
    problems = (*_outside(opened, volume, box), *_voxel_size(opened, volume, settings))
    chosen = _choose_raw(levels, box, settings.voxel_size_nm)
    if chosen is None:
        raw = replace(raw, missing_share=1.0 if levels[0].grid.covering(box).voxels else None)
        return _Survey(raw, problems)
    block = centred(chosen.grid, box)
    _, y, x = settings.voxel_size_nm
    around = centred(chosen.grid, box.grow((0.0, settings.patch[0] / 2 * y, settings.patch[1] / 2 * x)))
    ring, under = around.voxels - block.voxels, stored_voxels(chosen, block)
    raw = replace(
        raw,
        dtype=str(chosen.dtype),
        level=chosen.name,
        voxel_size_nm=chosen.grid.voxel_size_nm,
        missing_share=1 - under / block.voxels,
        surround_missing_share=1 - (stored_voxels(chosen, around) - under) / ring if ring else 0.0,
    )
    return _Survey(raw, problems, chosen, block)


def survey_crop(crop: Crop, settings: Settings) -> list[Problem]:
    """Find what is wrong with a crop without decoding a voxel of it."""
    opened = OpenedCrop(crop.crop_id, crop.split, crop.split, crop.raw, crop.labels)
    box = opened.box
    survey = _survey_raw(opened, crop.raw, settings)
    small = _fill_patch(opened, box, settings)[1] if box else []
    return [*survey.problems, *grey_problems(crop.crop_id, survey.raw, None), *small, *_checksums(opened)]


def _look_at_raw(
    facts: CropFacts, opened: OpenedCrop, volume: Volume, settings: Settings, draw: Draw
) -> tuple[CropFacts, list[Problem]]:
    survey = _survey_raw(opened, volume, settings)
    raw, problems, chosen, block = survey.raw, list(survey.problems), survey.level, survey.block
    if chosen is None or block is None:
        return replace(facts, raw=raw), [*problems, *grey_problems(opened.crop_id, raw, None)]
    if chosen.dtype.kind not in "ui" or chosen.dtype.itemsize > 2:  # noqa: PLR2004 - 16 bits
        text = f"raw of type {chosen.dtype} is not looked at: grey values of 8 or 16 bits are"
        problems += [Problem(ProblemCode.DAMAGED, text, (opened.crop_id,)), *grey_problems(opened.crop_id, raw, None)]
        return replace(facts, raw=raw), problems
    comparison = _Comparison(opened, chosen, block, facts.classes)
    comparison.run()
    greys = comparison.greys
    if greys.stored:
        raw = replace(
            raw,
            zero_share=greys.share_of(0),
            mean=greys.mean,
            sd=greys.sd,
            p1=greys.percentile(0.01),
            p99=greys.percentile(0.99),
        )
    problems += [*grey_problems(opened.crop_id, raw, greys), *comparison.problems()]
    contrasts = comparison.contrasts()
    classes = {name: replace(entry, contrast=contrasts.get(name)) for name, entry in facts.classes.items()}
    picture = draw(chosen, comparison.labels, block, comparison.sections)
    return replace(facts, raw=raw, classes=classes, windows=comparison.windows, picture=picture), problems


def _outside(opened: OpenedCrop, volume: Volume, box: Box) -> list[Problem]:
    grid = volume.levels[0].grid
    allowed = [_OUTSIDE * size * (1 + 1e-4) for size in grid.voxel_size_nm]
    faces = zip(box.lower_nm, box.upper_nm, grid.box.lower_nm, grid.box.upper_nm, allowed, strict=True)
    if all(low >= first - some and high <= last + some for low, high, first, last, some in faces):
        return []
    pairs = list(zip(box.lower_nm, box.upper_nm, grid.box.lower_nm, grid.box.upper_nm, strict=True))
    inside = math.prod(max(min(high, last) - max(low, first), 0.0) for low, high, first, last in pairs)
    share = 1 - inside / math.prod(box.size_nm)
    text = (
        f"{percent(round(share, 3))} of the labels lie outside the raw volume: they cover {_corners(box)} nm, the raw "
        f"{_corners(grid.box)} nm (z, y, x); check translation and voxel size of both, and which raw the list names"
    )
    return [Problem(ProblemCode.LABEL_OUTSIDE_RAW, text, (opened.crop_id,), details={"share": share})]


def _corners(box: Box) -> str:
    return " to ".join("(" + ", ".join(f"{v:g}" for v in corner) + ")" for corner in (box.lower_nm, box.upper_nm))


def _voxel_size(opened: OpenedCrop, volume: Volume, settings: Settings) -> list[Problem]:
    """Ask what training would ask; its other refusals are problems of their own."""
    crop = Crop(opened.crop_id, opened.split, volume, opened.labels)
    try:
        fit_crop(crop, settings.voxel_size_nm, max_upsampling=settings.max_upsampling)
    except VoxelSizeError as error:
        text = f"{error.problem}: stored are {error.found}; {error.remedy}"
        return [Problem(ProblemCode.VOXEL_SIZE, text, (opened.crop_id,))]
    except LayoutError:
        pass
    return []


def _choose_raw(levels: Sequence[Level], box: Box, voxel_size_nm: Vector3) -> Level | None:
    """Choose the level that training reads: of those with a chunk under the crop, the one that serves."""
    there = [level for level in levels if stored_voxels(level, level.grid.covering(box))]
    if not there:
        return None
    return there[choose_level([level.grid.voxel_size_nm for level in there], voxel_size_nm).index]


# Raw and labels -------------------------------------------------------------------------------------------------


@dataclass
class _Sums:
    """Number and sum of raw voxels inside a class, and where it is known."""

    inside: int = 0
    inside_sum: float = 0.0
    known: int = 0
    known_sum: float = 0.0

    def add(self, raw: Block, masks: Masks) -> None:
        present, known = masks.present, masks.known
        if raw.stored is not None:
            present = present & raw.stored
            known = raw.stored if known is None else known & raw.stored
        inside = raw.voxels[present]
        self.inside += inside.size
        self.inside_sum += float(inside.sum(dtype=np.int64))
        self.known += raw.voxels.size if known is None else int(np.count_nonzero(known))
        self.known_sum += float((raw.voxels if known is None else raw.voxels[known]).sum(dtype=np.int64))

    def contrast(self, sd: float) -> float | None:
        outside = self.known - self.inside
        if not self.inside or not outside or sd <= 0:
            return None
        return (self.inside_sum / self.inside - (self.known_sum - self.inside_sum) / outside) / sd


@dataclass
class _Comparison:
    """The raw under a crop and its labels on the same voxels, slab by slab."""

    opened: OpenedCrop
    level: Level
    block: IndexBox
    counted: Mapping[str, ClassFacts]
    greys: Greys = field(init=False)
    windows: Windows = field(default_factory=Windows.none)
    sections: dict[str, np.ndarray] = field(default_factory=dict)
    _sums: dict[str, _Sums] = field(default_factory=dict)
    _fits: dict[str, ShiftFit] = field(default_factory=dict)
    _faults: list[DamagedChunkError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.greys = Greys(self.level.dtype)
        self.labels = {
            name: levels[
                choose_level([e.level.grid.voxel_size_nm for e in levels], self.level.grid.voxel_size_nm).index
            ]
            for name, levels in self.opened.labels.items()
        }
        self.sections = {
            name: np.zeros(self.block.shape[0], np.int64) for name in self.labels if self.counted[name].present
        }

    def run(self) -> None:
        """Read everything once."""
        for slab in slabs(self.block, self.level.chunks[0]):
            raw = read_block(self.level, slab)
            self._faults += raw.faults
            self.greys.add(raw)
            at = [first - origin for first, origin in zip(slab.start, self.block.start, strict=True)]
            self.windows = self.windows.adding(raw.voxels, at)
            sd = self._sd(raw)
            for name in self.sections:  # classes that are present somewhere
                masks = label_masks(self.labels[name], self.level.grid, slab)
                self._sums.setdefault(name, _Sums()).add(raw, masks)
                self.sections[name][at[0] : at[0] + slab.shape[0]] = np.count_nonzero(masks.present, axis=(1, 2))
                if name not in self._fits and (fit := fit_shift(raw, masks, sd, self._reach(slab))):
                    self._fits[name] = fit

    @staticmethod
    def _sd(raw: Block) -> float:
        voxels = raw.voxels if raw.stored is None else raw.voxels[raw.stored]
        return float(voxels.std()) if voxels.size else 0.0

    def _reach(self, slab: IndexBox) -> tuple[int, int, int]:
        """Move along z as in the plane, or to the next section where sections are thick; half of them stay."""
        z, y, x = self.level.grid.voxel_size_nm
        sections = slab.shape[0]
        return (min(REACH, sections // 8) if z < _ANISOTROPIC * min(y, x) else min(1, sections // 4), REACH, REACH)

    def contrasts(self) -> dict[str, float | None]:
        """Return the contrast of every class that is present."""
        sd = self.greys.sd if self.greys.stored else 0.0
        return {name: sums.contrast(sd) for name, sums in self._sums.items()}

    def problems(self) -> list[Problem]:
        """Say what reading and comparing found."""
        crop = (self.opened.crop_id,)
        found = []
        if self._faults:
            text = describe_faults(f"raw level {self.level.name}", self._faults)
            found.append(Problem(ProblemCode.DAMAGED, text, crop))
        size = self.level.grid.voxel_size_nm
        agreed = agree({name: fit for name, fit in self._fits.items() if fit.is_clear})
        return found + [self._misplaced(name, fit) for name, fit in agreed.items() if fit.is_misplaced(size)]

    def _misplaced(self, name: str, fit: ShiftFit) -> Problem:
        sizes = self.level.grid.voxel_size_nm
        nm = [step * size for step, size in zip(fit.move, sizes, strict=True)]
        voxel = ", ".join(f"{size:g}" for size in sizes)
        text = (
            f"moved by {list(fit.move)} voxels of ({voxel}) nm (z, y, x) the labels fit the raw better: contrast "
            f"{fit.best:+.2f} instead of {fit.stored:+.2f}; adding [{', '.join(f'{v:g}' for v in nm)}] nm to their "
            "translation mends it"
        )
        details = {"shift": list(fit.move), "shift_nm": nm, "contrast": fit.stored, "contrast_shifted": fit.best}
        return Problem(ProblemCode.MISPLACED, text, (self.opened.crop_id,), name, details)
