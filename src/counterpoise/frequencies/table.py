"""Counts per crop and class, and the frequencies that follow from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from counterpoise.arrays import Frequencies
from counterpoise.errors import ClassNameError
from counterpoise.volumes.annotation import ClassCount, VoxelCount
from counterpoise.volumes.datasplit import Split

__all__ = ["CropCount", "FrequencyTable"]


@dataclass(frozen=True)
class CropCount:
    """What was counted in one crop: one entry per class that is annotated there."""

    crop_id: str
    split: Split
    classes: Mapping[str, ClassCount]


@dataclass(frozen=True)
class FrequencyTable:
    """Exact counts of every crop, pooled into the frequencies that weights are made from.

    Counts are taken at the finest listed level of each class. A class's frequency is its present volume over its
    known volume (present + absent), over the crops of a split where it is annotated; voxels are weighted by their
    volume because voxel sizes differ between crops.
    """

    classes: tuple[str, ...]
    crops: tuple[CropCount, ...]

    def counts(self, class_name: str, split: Split | None = "train") -> list[ClassCount]:
        """Return the counts of one class in every crop that annotates it; ``split=None`` means all crops."""
        return [
            crop.classes[class_name]
            for crop in self.crops
            if class_name in crop.classes and split in {None, crop.split}
        ]

    def total(self, class_name: str, split: Split | None = "train") -> VoxelCount:
        """Return the voxels of one class, summed over crops (whatever their voxel size)."""
        total = VoxelCount(0, 0, 0)
        for count in self.counts(class_name, split):
            total += count.voxels
        return total

    def frequency(self, class_name: str, split: Split | None = "train") -> float:
        """Return present over known volume in [0, 1]; NaN where no voxel of the class is known."""
        counts = self.counts(class_name, split)
        known = sum(count.known_nm3 for count in counts)
        return sum(count.present_nm3 for count in counts) / known if known else float("nan")

    def frequencies(self, split: Split | None = "train") -> Frequencies:
        """Return the frequency of every class, in the order of ``classes``."""
        return np.array([self.frequency(name, split) for name in self.classes])

    def empty_classes(self, split: Split = "train") -> tuple[str, ...]:
        """Name the classes without a single positive voxel in a split."""
        return tuple(name for name in self.classes if self.total(name, split).present == 0)

    def require_positives(self) -> None:
        """Refuse to train on a class that has nothing to learn from.

        Raises
        ------
        ClassNameError
            If a class has no positive voxel in the train crops; names the classes to leave out.
        """
        empty = self.empty_classes("train")
        if empty:
            rest = [name for name in self.classes if name not in empty]
            raise ClassNameError(
                f"no positive voxel of {', '.join(empty)} in the train crops",
                expected="at least one voxel of every class to train on",
                found=", ".join(f"{name}: 0 of {self.total(name).known} known voxels" for name in empty),
                remedy=f"exclude {', '.join(empty)}: classes = {rest}",
            )

    def to_json(self, weight_strategies: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        """Make the document that the reference experiment calls ``class_frequencies.json``.

        Parameters
        ----------
        weight_strategies : mapping
            Reference name of a strategy to its weight per class.

        Returns
        -------
        dict
            ``frequencies``, ``total_pos``, ``total_valid`` (train split, per class), ``weight_strategies``;
            ``validate`` with the same first three, and ``crops`` with the counts of each.
        """
        return {
            "classes": list(self.classes),
            **self._pooled("train"),
            "weight_strategies": {key: dict(weights) for key, weights in weight_strategies.items()},
            "validate": self._pooled("validate"),
            "crops": {
                crop.crop_id: {
                    "split": crop.split,
                    "classes": {
                        name: {**count.voxels._asdict(), "voxel_size_nm": list(count.voxel_size_nm)}
                        for name, count in crop.classes.items()
                    },
                }
                for crop in self.crops
            },
        }

    def _pooled(self, split: Split) -> dict[str, dict[str, float | int | None]]:
        values = {name: self.frequency(name, split) for name in self.classes}
        return {
            "frequencies": {name: None if np.isnan(f) else f for name, f in values.items()},
            "total_pos": {name: self.total(name, split).present for name in self.classes},
            "total_valid": {name: self.total(name, split).known for name in self.classes},
        }


def from_json(document: Mapping[str, Any]) -> FrequencyTable:
    """Rebuild the table from the document that :meth:`FrequencyTable.to_json` made."""
    crops: Sequence[CropCount] = [
        CropCount(
            crop_id,
            entry["split"],
            {
                name: ClassCount(
                    VoxelCount(count["present"], count["absent"], count["unknown"]),
                    tuple(count["voxel_size_nm"]),
                )
                for name, count in entry["classes"].items()
            },
        )
        for crop_id, entry in document["crops"].items()
    ]
    return FrequencyTable(tuple(document["classes"]), tuple(crops))
