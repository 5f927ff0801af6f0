"""Arrays that a trial leaves in its folder, as npz files with checksums; nothing in them is ever unpickled."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Float, Int, UInt8

from counterpoise.files.atomic import write_atomically

__all__ = ["BoundaryCounts", "Examples", "ThresholdCounts", "ValidationCounts"]


@dataclass(frozen=True)
class _Arrays:
    """Arrays under their names, and what their axes mean."""

    crops: tuple[str, ...]
    classes: tuple[str, ...]

    def write(self, file: Path) -> None:
        """Write them atomically."""
        arrays: dict[str, Any] = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)
        write_atomically(file, lambda stream: stream.write(buffer.getbuffer()))

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what :meth:`write` wrote; nothing in it is unpickled.

        Raises
        ------
        OSError, ValueError, KeyError
            If it is not there, damaged, or lacks an array.
        """
        content = _read_npz(file)
        arrays: dict[str, Any] = {field.name: content[field.name] for field in fields(cls)}
        return cls(**arrays | {name: tuple(arrays[name].tolist()) for name in ("crops", "classes")})

    @classmethod
    def is_whole(cls, file: Path) -> bool:
        """Return whether the file is there and can be read."""
        try:
            cls.read(file)
        except (OSError, ValueError, KeyError):
            return False
        return True


@dataclass(frozen=True)
class ValidationCounts(_Arrays):
    """TP, FP, FN of every epoch, validation crop and class, counted where the class is known.

    Parameters
    ----------
    crops, classes : tuple of str
        Names along the second and third axis.
    counts : int64 array, shape (epochs, crops, classes, 3)
    """

    counts: Int[np.ndarray, "epoch crop class_ 3"]


@dataclass(frozen=True)
class Examples(_Arrays):
    """Validation patches for the eye: the same ones in every trial of a run.

    Parameters
    ----------
    crops : tuple of str
        Crop each patch comes from.
    raw : uint8 array, shape (patches, rows, columns)
        The predicted section.
    truth : uint8 array, shape (patches, classes, rows, columns)
        1 present, 0 absent, 255 unknown.
    prediction : uint8 array, shape (patches, classes, rows, columns)
        1 predicted present, 0 absent.

    Raises
    ------
    ValueError
        If the arrays do not fit each other or the names.
    """

    raw: UInt8[np.ndarray, "patch row column"]
    truth: UInt8[np.ndarray, "patch class_ row column"]
    prediction: UInt8[np.ndarray, "patch class_ row column"]

    def __post_init__(self) -> None:
        rows, columns = self.raw.shape[-2:] if self.raw.ndim > 1 else (0, 0)
        patches = len(self.crops), rows, columns
        masks = len(self.crops), len(self.classes), rows, columns
        for name, shape in (("raw", patches), ("truth", masks), ("prediction", masks)):
            array = getattr(self, name)
            if array.shape != shape or array.dtype != np.uint8:
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, where uint8 of {shape} was expected")


@dataclass(frozen=True)
class ThresholdCounts(_Arrays):
    """Known voxels of the last epoch by predicted probability: what any threshold would have scored.

    Parameters
    ----------
    crops, classes : tuple of str
        Names along the first and second axis.
    counts : int64 array, shape (crops, classes, 2, bins)
        Voxels where the class is absent, where it is present; the bins are those of
        :mod:`counterpoise.metrics.thresholds`.
    """

    counts: Int[np.ndarray, "crop class_ 2 bin"]


@dataclass(frozen=True)
class BoundaryCounts(_Arrays):
    """Boundary and skeleton voxels of the last epoch, where the class is known (docs/scores.md).

    Parameters
    ----------
    crops, classes : tuple of str
        Names along the first and second axis.
    surface, skeleton : int64 array, shape (crops, classes, 4)
        Hits and voxels of the prediction, hits and voxels of the annotation
        (:mod:`counterpoise.metrics.boundary`).
    tolerance_nm : float array without axes
        How far two boundaries may be apart and count as one.
    """

    surface: Int[np.ndarray, "crop class_ 4"]
    skeleton: Int[np.ndarray, "crop class_ 4"]
    tolerance_nm: Float[np.ndarray, ""]


def _read_npz(file: Path) -> dict[str, np.ndarray]:
    """Read all arrays of a file; whatever is raised about damaged bytes (zlib has its own) becomes a ValueError."""
    try:
        with zipfile.ZipFile(file) as archive:
            changed = archive.testzip()
        with np.load(file, allow_pickle=False) as content:
            arrays = dict(content)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    if changed is not None:
        raise ValueError(f"{file} is damaged: {changed} differs from its checksum")
    return arrays
