"""What is known of a crop once it was inspected: numbers only, no voxels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from counterpoise.arrays import Vector3
from counterpoise.inspection.copies import Windows
from counterpoise.inspection.problems import Problem, Severity
from counterpoise.volumes.crops import Crop
from counterpoise.volumes.geometry import Shape3

__all__ = ["ClassFacts", "ClassState", "CropFacts", "Overlap", "RawFacts", "RawLevel"]


class ClassState(StrEnum):
    """What a crop says about a class."""

    PRESENT = "present"
    EMPTY = "empty"
    UNANNOTATED = "unannotated"
    DAMAGED = "damaged"
    """Its labels are there, and cannot be read."""


@dataclass(frozen=True)
class ClassFacts:
    """One class of one crop, counted at its finest listed level.

    Parameters
    ----------
    state : ClassState
        Whether it is annotated and present.
    known, present, unknown : int or None
        Voxels; ``known`` is present + absent. None where the class is not annotated, or cannot be read.
    voxel_size_nm : (z, y, x) or None
        Of the voxels that were counted.
    objects : int or None
        Instance ids, or parts of a semantic class that hang together by faces. None where there are too many to tell.
    contrast : float or None
        (mean raw inside - mean raw outside) / standard deviation of the raw.
    """

    state: ClassState
    known: int | None = None
    present: int | None = None
    unknown: int | None = None
    voxel_size_nm: Vector3 | None = None
    objects: int | None = None
    contrast: float | None = None

    @property
    def share(self) -> float | None:
        """Return present / known voxels."""
        return self.present / self.known if self.known and self.present is not None else None


@dataclass(frozen=True)
class RawLevel:
    """A level that the metadata list."""

    path: str
    voxel_size_nm: Vector3
    shape: Shape3


@dataclass(frozen=True)
class RawFacts:
    """The raw under a crop, at the level that serves the voxel size to train at.

    Shares and grey values are of the voxels whose centres lie in the crop; those not stored have no grey value. None
    where there is none to look at.
    """

    dtype: str
    levels: tuple[RawLevel, ...]
    level: str | None = None
    voxel_size_nm: Vector3 | None = None
    missing_share: float | None = None
    surround_missing_share: float | None = None
    zero_share: float | None = None
    mean: float | None = None
    sd: float | None = None
    p1: float | None = None
    p99: float | None = None


@dataclass(frozen=True)
class Overlap:
    """Another crop that shares voxels with this one, and the share of this one that lies in it."""

    crop: str
    usage: str | None
    share: float


@dataclass(frozen=True)
class CropFacts:
    """One crop.

    Parameters
    ----------
    crop_id : str
        Its name.
    usage : str or None
        ``train`` or ``validate``; None where nobody said.
    size_nm : (z, y, x) or None
        Of its annotated block; None where no class can be read.
    shape : (z, y, x) or None
        Its size in voxels of the size to train at.
    label_voxel_nm : (z, y, x) or None
        Voxel size of its finest labels.
    raw : RawFacts or None
        None where raw cannot be opened.
    classes : mapping
        Every class that is asked for.
    fills_patch : float or None
        Share of a patch in the plane that it fills.
    overlaps : tuple of Overlap
        Crops that share voxels with it.
    problems : tuple of Problem
        What is wrong with this crop alone.
    picture : Any
        What the page shows; None if no page is made.
    crop, volume, windows
        For comparing crops: its place, its raw volume, and samples of its raw.
    """

    crop_id: str
    usage: str | None
    size_nm: Vector3 | None = None
    shape: Shape3 | None = None
    label_voxel_nm: Vector3 | None = None
    raw: RawFacts | None = None
    classes: Mapping[str, ClassFacts] = field(default_factory=dict)
    fills_patch: float | None = None
    overlaps: tuple[Overlap, ...] = ()
    problems: tuple[Problem, ...] = ()
    picture: Any = None
    crop: Crop | None = None
    volume: object = None
    windows: Windows = field(default_factory=Windows.none)

    def count(self, severity: Severity) -> int:
        """Count its problems, or its notes."""
        return sum(problem.severity is severity for problem in self.problems)
