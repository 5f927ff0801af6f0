"""What can be wrong with crops: a code for every kind, one sentence each, and how much it matters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["EXPLANATIONS", "NOTES", "Problem", "ProblemCode", "Severity"]


class Severity(StrEnum):
    """Whether something spoils what is trained or scored, or is only worth knowing."""

    PROBLEM = "problem"
    NOTE = "note"


class ProblemCode(StrEnum):
    """Kinds of problems; the value is what ``--json`` writes."""

    DAMAGED = "damaged"
    MISSING_RAW = "missing-raw"
    ZERO_RAW = "zero-raw"
    SATURATED_RAW = "saturated-raw"
    CONSTANT_RAW = "constant-raw"
    MISSING_SURROUNDINGS = "missing-surroundings"
    LABEL_OUTSIDE_RAW = "label-outside-raw"
    VOXEL_SIZE = "voxel-size"
    MISPLACED = "misplaced"
    INVERTED_CONTRAST = "inverted-contrast"
    UNEXPECTED_VALUES = "unexpected-values"
    OVERLAP_TRAIN_VALIDATE = "overlap-train-validate"
    NEAR_TRAIN_VALIDATE = "near-train-validate"
    OVERLAP_SAME_SIDE = "overlap-same-side"
    DUPLICATE_RAW = "duplicate-raw"
    NEVER_ANNOTATED = "never-annotated"
    EMPTY_CLASS = "empty-class"
    NEVER_POSITIVE_TRAIN = "never-positive-train"
    NEVER_POSITIVE_VALIDATE = "never-positive-validate"
    ONE_CROP = "one-crop"
    SMALLER_THAN_PATCH = "smaller-than-patch"
    SPECKS = "specks"
    CHECKSUM = "checksum"


EXPLANATIONS: Mapping[ProblemCode, str] = {
    ProblemCode.DAMAGED: "A line, a group or a chunk cannot be read.",
    ProblemCode.MISSING_RAW: "Raw chunks under the crop are not stored; a reader that does not look sees black there.",
    ProblemCode.ZERO_RAW: "More than half of the raw under the crop is 0 although it is stored.",
    ProblemCode.SATURATED_RAW: "More than a fifth of the raw under the crop has the lowest or highest possible value.",
    ProblemCode.CONSTANT_RAW: "The raw under the crop hardly varies: there is no image.",
    ProblemCode.MISSING_SURROUNDINGS: "Much of the raw around the crop is not stored: patches that reach beyond it see "
    "none.",
    ProblemCode.LABEL_OUTSIDE_RAW: "Labels reach beyond the raw volume.",
    ProblemCode.VOXEL_SIZE: "No stored level serves the voxel size to train at.",
    ProblemCode.MISPLACED: "A thin class fits the raw clearly better when it is moved.",
    ProblemCode.INVERTED_CONTRAST: "A class is bright in one data set and dark in the others.",
    ProblemCode.UNEXPECTED_VALUES: "A semantic array holds values that are neither absent, present nor unknown.",
    ProblemCode.OVERLAP_TRAIN_VALIDATE: "A validation crop shares voxels with a train crop: its scores are too high.",
    ProblemCode.NEAR_TRAIN_VALIDATE: "A validation crop lies next to a train crop: structures continue from one into "
    "the other.",
    ProblemCode.OVERLAP_SAME_SIDE: "Two crops of one side share voxels, which count twice.",
    ProblemCode.DUPLICATE_RAW: "The same raw voxels lie under a crop of another volume.",
    ProblemCode.NEVER_ANNOTATED: "A class that is asked for is annotated in no crop.",
    ProblemCode.EMPTY_CLASS: "A class is annotated, and present nowhere.",
    ProblemCode.NEVER_POSITIVE_TRAIN: "A class is present in no train crop: it cannot be learnt.",
    ProblemCode.NEVER_POSITIVE_VALIDATE: "A class is present in no validation crop: it cannot be scored.",
    ProblemCode.ONE_CROP: "A class is present in one crop of a side only.",
    ProblemCode.SMALLER_THAN_PATCH: "A crop fills less than half of a patch.",
    ProblemCode.SPECKS: "Most objects of a class are specks of a few voxels.",
    ProblemCode.CHECKSUM: "The compressor's entry checksum is refused by tools that read with tensorstore.",
}
"""One sentence for every kind."""

NOTES = frozenset(
    {
        ProblemCode.MISSING_SURROUNDINGS,
        ProblemCode.NEAR_TRAIN_VALIDATE,
        ProblemCode.OVERLAP_SAME_SIDE,
        ProblemCode.ONE_CROP,
        ProblemCode.SMALLER_THAN_PATCH,
        ProblemCode.SPECKS,
        ProblemCode.CHECKSUM,
    }
)
"""Kinds that are worth knowing and spoil nothing by themselves."""


@dataclass(frozen=True)
class Problem:
    """One thing that was found.

    Parameters
    ----------
    code : ProblemCode
        Its kind.
    text : str
        What is wrong and, where that is known, what mends it: a sentence without its full stop.
    crops : tuple of str
        The crops it is about, the one to look at first; none where it is about a class or a line of the list.
    class_name : str
        The class it is about, if it is about one.
    details : mapping
        Numbers for programs: a share, a shift.
    """

    code: ProblemCode
    text: str
    crops: tuple[str, ...] = ()
    class_name: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def severity(self) -> Severity:
        """Say how much it matters."""
        return Severity.NOTE if self.code in NOTES else Severity.PROBLEM

    def plain(self) -> dict[str, Any]:
        """Return the values that JSON holds."""
        return {
            "code": self.code.value,
            "severity": self.severity.value,
            "crop": self.crops[0] if self.crops else None,
            "class": self.class_name or None,
            "text": self.text,
            **({"crops": list(self.crops)} if len(self.crops) > 1 else {}),
            **self.details,
        }
