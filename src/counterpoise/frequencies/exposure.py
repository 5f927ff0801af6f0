"""What a network was really shown: patches and pixels per class, as counted from the batches it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from counterpoise.arrays import Frequencies

__all__ = ["ClassExposure", "Exposure"]


@dataclass(frozen=True)
class ClassExposure:
    """One class in the patches that were drawn.

    Parameters
    ----------
    patches_known : int
        Patches with a pixel where it is known whether the class is present.
    patches_positive : int
        Patches with a pixel where it is present.
    pixels_known, pixels_positive : int
        Such pixels, over all patches.
    """

    patches_known: int = 0
    patches_positive: int = 0
    pixels_known: int = 0
    pixels_positive: int = 0

    def __add__(self, other: ClassExposure) -> ClassExposure:
        return ClassExposure(
            self.patches_known + other.patches_known,
            self.patches_positive + other.patches_positive,
            self.pixels_known + other.pixels_known,
            self.pixels_positive + other.pixels_positive,
        )

    @property
    def frequency(self) -> float:
        """Return the shown frequency: positive over known pixels, in [0, 1]; NaN where no pixel was known."""
        return self.pixels_positive / self.pixels_known if self.pixels_known else float("nan")


@dataclass(frozen=True)
class Exposure:
    """All classes in the patches that were drawn.

    Parameters
    ----------
    patches : int
        Patches drawn, whatever they hold.
    classes : mapping
        Class name to what was shown of it.
    """

    patches: int
    classes: Mapping[str, ClassExposure]

    def __add__(self, other: Exposure) -> Exposure:
        """Add what was shown of the same classes; raises KeyError where the other lacks one."""
        return Exposure(
            self.patches + other.patches, {name: shown + other.classes[name] for name, shown in self.classes.items()}
        )

    def frequencies(self) -> Frequencies:
        """Return the shown frequency of every class, in the order of ``classes``."""
        return np.array([shown.frequency for shown in self.classes.values()])

    def positives(self) -> np.ndarray:
        """Return the positive pixels of every class, int64, in the order of ``classes``."""
        return np.array([shown.pixels_positive for shown in self.classes.values()], dtype=np.int64)

    def positive_share(self, class_name: str) -> float:
        """Return the share of all patches that show a positive pixel of the class; NaN if no patch was drawn."""
        return self.classes[class_name].patches_positive / self.patches if self.patches else float("nan")

    def to_json(self) -> dict[str, Any]:
        """Make plain values of it, for a line of ``metrics.jsonl``."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild it from what :meth:`to_json` made."""
        return cls(document["patches"], {name: ClassExposure(**shown) for name, shown in document["classes"].items()})
