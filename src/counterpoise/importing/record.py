"""``import.json``: what a folder of imported data was made from; and adding to such a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from counterpoise.errors import SourceError
from counterpoise.importing.window import Window

__all__ = ["RECORD", "Record", "read_record"]

RECORD = "import.json"
_VERSION = 1


@dataclass
class Record:
    """The content of ``import.json``.

    Parameters
    ----------
    voxel_size_nm : dict
        Data set to [z, y, x].
    classes : list of str
        Every class of any crop.
    values : dict
        Data set and crop (``d/crop1``) to class to what was written: ``present``, ``unknown`` (the source's values),
        ``instance``, ``renumbered`` (old id to new), ``offset_voxels``.
    window : dict or None
        The one window of raw that was not 8 bits: ``low``, ``high``, ``dtype``, ``rule``.
    sources : list of dict
        ``dataset``, ``crop`` (null for raw), ``classes``, ``path``, ``name`` (as typed), ``sha256``, ``shape``,
        ``dtype``.
    """

    voxel_size_nm: dict[str, list[float]] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    window: dict[str, Any] | None = None
    sources: list[dict[str, Any]] = field(default_factory=list)

    def raw_of(self, dataset: str) -> Mapping[str, Any] | None:
        """Return the source of a data set's raw volume."""
        return next((one for one in self.sources if one["dataset"] == dataset and one["crop"] is None), None)

    def known_window(self) -> Window | None:
        """Return the recorded window."""
        return None if self.window is None else Window(**self.window)

    def add(self, other: Record) -> None:
        """Take over what another import made."""
        self.voxel_size_nm |= other.voxel_size_nm
        self.classes += [name for name in other.classes if name not in self.classes]
        self.values |= other.values
        self.window = self.window or other.window
        self.sources += other.sources

    def to_json(self) -> dict[str, Any]:
        """Return the file's content."""
        return {
            "version": _VERSION,
            "voxel_size_nm": self.voxel_size_nm,
            "classes": self.classes,
            "values": self.values,
            "window": self.window,
            "sources": self.sources,
        }


def read_record(root: Path) -> Record | None:
    """Read the record of a folder; None if there is no folder yet.

    Raises
    ------
    SourceError
        If the folder is there and was not made by an import, or its record is damaged.
    """
    if not root.exists() and not root.is_symlink():
        return None
    try:
        return _parse(root)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        is_ours = (root / RECORD).exists()
        raise SourceError(
            f"{root} exists",
            expected="a folder that does not exist, or one that `counterpoise data import` has made",
            found=f"a damaged {RECORD} ({type(error).__name__}: {error})" if is_ours else f"no {RECORD} in it",
            remedy="name another folder with --out",
        ) from error


def _parse(root: Path) -> Record:
    content = json.loads((root / RECORD).read_text(encoding="utf-8"))
    if content["version"] != _VERSION:
        raise ValueError(f"version {content['version']}")
    record = Record(**{key: content[key] for key in Record.__dataclass_fields__})
    record.known_window()
    if not all(one.keys() >= {"dataset", "crop", "sha256", "name"} for one in record.sources):
        raise ValueError("incomplete sources")
    if not (root / "datasplit.csv").is_file():
        raise FileNotFoundError("no datasplit.csv")
    return record
