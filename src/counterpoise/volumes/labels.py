"""Label arrays: a level of a class with what its values mean, counted exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from counterpoise.errors import LayoutError
from counterpoise.notes import Note, NoteKind
from counterpoise.volumes.annotation import ClassCount, LabelMeaning, VoxelCount, largest_of
from counterpoise.volumes.encoding import ALL_CLASSES, Annotation, StatedValues, meaning_of
from counterpoise.volumes.formats import open_volume
from counterpoise.volumes.undeclared import find_values, settle
from counterpoise.volumes.volume import Level, Volume

__all__ = ["CountedLabel", "LabelLevel", "open_labels"]


@dataclass(frozen=True)
class LabelLevel:
    """One level of one class of a crop, and what its values mean.

    Parameters
    ----------
    level : Level
        The array.
    meaning : LabelMeaning
        Of its values.
    class_name, crop_id : str
        For notes and errors.
    stated_counts : mapping
        What its metadata count as absent, present and unknown, as far as they do.
    """

    level: Level
    meaning: LabelMeaning
    class_name: str = ""
    crop_id: str = ""
    stated_counts: Mapping[str, int] = field(default_factory=dict)

    def count(self) -> CountedLabel:
        """Count the whole array exactly, chunk by chunk; a second time if it holds values that nobody declared."""
        present = unknown = voxels = 0
        in_doubt = False
        for box, stored in self.level.decoded_chunks(self.level.whole(), as_stored=True):
            if stored is None:
                count = self.count_missing(box.voxels)
                in_doubt = in_doubt or self.doubts_missing
            else:
                largest = largest_of(stored)
                count = self.meaning.count(stored, largest, box.shape)
                in_doubt = in_doubt or self.meaning.is_in_doubt(stored, largest)
            present += count.present
            unknown += count.unknown
            voxels += box.voxels
        counted = VoxelCount(present, voxels - present - unknown, unknown)
        return self.settled() if in_doubt else self.compared(counted)

    def count_missing(self, voxels: int) -> VoxelCount:
        """Count voxels whose chunk is not on disk: each has the fill value."""
        present, absent, unknown = self.meaning.count(self.filled((1,)))
        return VoxelCount(present * voxels, absent * voxels, unknown * voxels)

    @property
    def doubts_missing(self) -> bool:
        """Return whether the value of voxels that are not on disk is in doubt."""
        fill = self.filled((1,))
        return self.meaning.is_in_doubt(fill, largest_of(fill))

    def filled(self, shape: tuple[int, ...]) -> np.ndarray:
        """Make a block as it is where no chunk is stored."""
        return np.full(shape, self.level.fill_value, self.level.dtype)

    def settled(self) -> CountedLabel:
        """Look at all values of the array, decide what those mean that nobody declared, and count."""
        found = find_values(self.level)
        meaning, remarks = settle(self.level, self.class_name, self.meaning, found)
        counted = replace(self, meaning=meaning).compared(found.count(meaning))
        notes = tuple(Note(NoteKind.DATA, text, self.crop_id, numbers) for text, numbers in remarks)
        return replace(counted, notes=(*notes, *counted.notes))

    def compared(self, voxels: VoxelCount) -> CountedLabel:
        """Compare what was counted with what the metadata say."""
        found = voxels._asdict()
        differing = [
            f"{found[key]:,} {key} instead of {stated:,}"
            for key, stated in self.stated_counts.items()
            if found[key] != stated
        ]
        notes: tuple[Note, ...] = ()
        if differing:
            text = (
                f"what {self.class_name} holds differs from the complement_counts of {self.level.name}; chunks that "
                "are not on disk count as their fill value"
            )
            notes = (Note(NoteKind.COUNTS, text, self.crop_id, f" (counted {', '.join(differing)})"),)
        return CountedLabel(ClassCount(voxels, self.level.grid.voxel_size_nm), self, notes)

    def following(self, finest: LabelLevel) -> LabelLevel:
        """Take over what was decided about the values of the finest level."""
        own, decided = self.meaning, finest.meaning
        if not decided.is_settled:
            return self
        certain = tuple(value for value in own.unknown if value in own.named)
        added = tuple(value for value in decided.unknown if value not in own.named)
        meaning = replace(own, unknown=certain + added, doubtful=(), is_settled=True, is_soft=decided.is_soft)
        return replace(self, meaning=meaning)


@dataclass(frozen=True)
class CountedLabel:
    """The exact count of a label array, the array with its values' settled meaning, and what to know about them."""

    count: ClassCount
    label: LabelLevel
    notes: tuple[Note, ...] = ()


def open_labels(
    path: Path, class_name: str, crop_id: str = "", said: Mapping[str, StatedValues] = MappingProxyType({})
) -> tuple[Volume, tuple[LabelLevel, ...], list[Note]]:
    """Open the labels of one class of a crop, and decide what their values mean as far as metadata and user say.

    Parameters
    ----------
    path : Path
        Of the class.
    class_name, crop_id : str
        Its name, and its crop's.
    said : mapping
        What the user says, by class; ``"*"`` is every class.

    Returns
    -------
    volume : Volume
        The class.
    levels : tuple of LabelLevel
        All levels, the finest first.
    notes : list of Note
        What could not be understood.

    Raises
    ------
    LayoutError
        If they cannot be read, an array holds no numbers, or its encoding cannot be used.
    """
    volume = open_volume(path)
    own = said.get(class_name, StatedValues()).over(said.get(ALL_CLASSES, StatedValues()))
    annotations = volume.annotations()
    for level in volume.levels:
        if level.dtype.kind not in "uibf":
            raise LayoutError(
                f"label level {level.path} does not hold numbers",
                expected="whole numbers (uint8, or wider for many instances), bool, or fractions from 0 to 1",
                found=str(level.dtype),
                remedy="store labels as integers",
            )
    remarks = dict.fromkeys(remark for annotation in annotations for remark in annotation.remarks)
    return (
        volume,
        tuple(
            LabelLevel(
                level,
                meaning_of(_with_unknown_count(annotation, annotations), class_name, level.dtype, own),
                class_name,
                crop_id,
                {} if own else annotation.counts,
            )
            for level, annotation in zip(volume.levels, annotations, strict=True)
        ),
        [Note(NoteKind.DATA, f"{class_name}: {remark}", crop_id) for remark in remarks],
    )


def _with_unknown_count(annotation: Annotation, all_levels: Sequence[Annotation]) -> Annotation:
    """Let the finest level say whether there are unknown voxels, where a level does not say so itself."""
    return replace(annotation, counts={**all_levels[0].counts, **annotation.counts})
