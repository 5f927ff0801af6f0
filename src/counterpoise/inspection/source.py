"""What is to be inspected: an experiment, a list of crops, or a folder, as rows of crops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from counterpoise.arrays import Vector3
from counterpoise.errors import CounterpoiseError, DataError
from counterpoise.experiment.config import DataConfig, Experiment, SamplingConfig
from counterpoise.inspection.problems import Problem, ProblemCode
from counterpoise.volumes.datasplit import CropRow, read_datasplit
from counterpoise.volumes.discover import find_crops
from counterpoise.volumes.encoding import StatedValues
from counterpoise.volumes.formats import dataset_suffixes, open_volume
from counterpoise.volumes.geometry import choose_level
from counterpoise.volumes.identity import name_crops
from counterpoise.volumes.volume import FoundCrop

__all__ = ["Listing", "Settings", "find_settings", "list_experiment", "list_file", "list_folder"]

_ASKED = 50
"""Crops whose raw is looked at to find a voxel size."""


@dataclass(frozen=True)
class Settings:
    """What crops are measured against: voxel size (z, y, x), patch (rows, columns), classes, meaning of values."""

    classes: tuple[str, ...]
    voxel_size_nm: Vector3
    patch: tuple[int, int]
    max_upsampling: float
    values: Mapping[str, StatedValues] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """Crops to inspect.

    Parameters
    ----------
    source : Path
        Where they are listed, or the folder in which they were found.
    rows : tuple of (CropRow, str)
        Each with its name.
    has_splits : bool
        Whether it is known which crop is for training and which for validation.
    faults : tuple of Problem
        Lines that cannot be used.
    experiment : Experiment or None
        The experiment that names the list.
    """

    source: Path
    rows: tuple[tuple[CropRow, str], ...]
    has_splits: bool
    faults: tuple[Problem, ...] = ()
    experiment: Experiment | None = None


def list_experiment(experiment: Experiment) -> Listing:
    """List the crops of an experiment.

    Raises
    ------
    DatasplitError
        If its list cannot be read.
    """
    listing = list_file(experiment.data.datasplit, root=experiment.data.root_folder)
    return replace(listing, experiment=experiment)


def list_file(datasplit: Path, *, root: Path | None = None) -> Listing:
    """List the crops of a csv file; ``root`` is where the data are, for a list from another machine.

    Raises
    ------
    DatasplitError
        If it cannot be read.
    """
    faults: list[CounterpoiseError] = []
    rows = read_datasplit(datasplit, root=root, allow_overlap=True, on_fault=faults.append)
    problems = tuple(Problem(ProblemCode.DAMAGED, f"{fault.problem} ({fault.remedy})") for fault in faults)
    return Listing(datasplit, _named(rows), has_splits=True, faults=problems)


def list_folder(folder: Path) -> Listing:
    """List the crops below a folder; nothing says which are for training.

    Raises
    ------
    DatasplitError
        If there is none.
    """
    rows = [_row_of(crop, number) for number, crop in enumerate(find_crops(folder), start=1)]
    return Listing(folder, _named(rows), has_splits=False)


def _row_of(crop: FoundCrop, number: int) -> CropRow:
    raw, labels = (crop.store / crop.raw).absolute(), (crop.store / crop.labels).absolute()
    return CropRow(number, "train", raw.resolve(), labels.resolve(), crop.classes, written=(raw, labels))


def _named(rows: Sequence[CropRow]) -> tuple[tuple[CropRow, str], ...]:
    return tuple(zip(rows, name_crops(rows, dataset_suffixes()), strict=True))


def find_settings(
    listing: Listing, classes: Sequence[str], voxel_size_nm: Vector3 | None, patch: tuple[int, int] | None
) -> Settings:
    """Settle classes, voxel size and patch: as asked for, else the experiment's, else what fits the data."""
    own = listing.experiment
    found = dict.fromkeys(name for row, _ in listing.rows for name in row.classes)
    data = own.data if own else None
    max_upsampling = data.max_upsampling if data else float(DataConfig.model_fields["max_upsampling"].default)
    return Settings(
        tuple(dict.fromkeys(classes)) or (data.classes if data else tuple(found)),
        voxel_size_nm or (data.voxel_size_nm if data else _fitting_size(listing.rows, max_upsampling)),
        patch or (own.sampling if own else SamplingConfig()).patch_shape,
        max_upsampling,
        data.stated_values() if data else {},
    )


def _fitting_size(rows: Sequence[tuple[CropRow, str]], max_upsampling: float) -> Vector3:
    """Take the voxel size that ``init`` starts from, or the raw's own that serves more crops."""
    stored: list[list[Vector3]] = []
    for row, _ in rows[:: -(-len(rows) // _ASKED) or 1]:
        with suppress(DataError):
            stored.append([level.grid.voxel_size_nm for level in open_volume(row.raw_path).levels])
    usual: Vector3 = DataConfig.model_fields["voxel_size_nm"].default
    own = Counter(sizes[0] for sizes in stored).most_common()

    def served(size: Vector3) -> int:
        return sum(choose_level(sizes, size).coarsening <= max_upsampling for sizes in stored)

    candidates: Iterable[Vector3] = (usual, *(size for size, _ in own))
    return max(candidates, key=served)
