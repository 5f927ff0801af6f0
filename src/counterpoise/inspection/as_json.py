"""An inspection as plain values, for ``--json``; docs/inspect.md lists the fields."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from counterpoise.inspection.facts import CropFacts
from counterpoise.inspection.inspect import Inspection

__all__ = ["VERSION", "as_json"]

VERSION = 1


def as_json(done: Inspection) -> dict[str, Any]:
    """Make plain values; what is not known is null."""
    settings = done.settings
    return {
        "version": VERSION,
        "source": str(done.listing.source),
        "voxel_size_nm": list(settings.voxel_size_nm),
        "patch": list(settings.patch),
        "classes": list(settings.classes),
        "crops": [_crop(entry) for entry in done.crops],
        "problems": [problem.plain() for problem in done.problems],
    }


def _crop(entry: CropFacts) -> dict[str, Any]:
    raw = None
    if entry.raw is not None:
        raw = asdict(entry.raw)
        raw["levels"] = [asdict(level) for level in entry.raw.levels]
    return {
        "crop": entry.crop_id,
        "usage": entry.usage,
        "size_nm": entry.size_nm,
        "raw": raw,
        "classes": {name: asdict(found) for name, found in entry.classes.items()},
        "overlaps": [asdict(overlap) for overlap in entry.overlaps],
        "fills_patch": entry.fills_patch,
    }
