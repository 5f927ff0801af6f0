"""Where the CellMap Segmentation Challenge puts its crops: the folders that ``csc fetch-data`` fills.

Metadata are only looked into as far as it takes to tell labels from images; what they say about voxels is the
business of the input formats.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.errors import CounterpoiseError
from counterpoise.text import counted
from counterpoise.volumes.geometry import Box, IndexBox
from counterpoise.volumes.volume import CropLayout, FoundCrop, Level, Search, Volume
from counterpoise.volumes.walk import walk_folders

__all__ = ["cellmap_layout"]

RAW_GROUP = "em/fibsem-uint8"
LABEL_GROUP = "labels/groundtruth"
NOT_A_CLASS = "all"
"""A sub-folder of a crop that holds every label in one array."""

_METADATA = (".zattrs", "zarr.json", "attributes.json")
"""Of a group: zarr v2, zarr v3, N5."""

_OF_ARRAY = re.compile(r'"multiscales"|"node_type"\s*:\s*"array"|"dataType"|"downsamplingFactors"|"pixelResolution"')
"""What the metadata of arrays and of multiscale groups say: there are voxels below, and no crops."""

_RAW_PLACES = ("em", "raw", "image", "volumes/raw")
_RAW_NAME = re.compile(
    r"(raw|em|images?|img|intensit\w*|gr[ae]y)|(fib-?sem|s?s?tem|sem|xray|x-ray|em|raw|image)[-_].+"
    r"|.+[-_](u?int|float)\d+",
    re.IGNORECASE,
)
_SAMPLES = 3
"""Crops in which a group that nothing describes is looked at."""

_MANY_VALUES, _RARELY = 16, 0.5
"""Grey values are many, and fewer than half of the neighbours are equal; in labels most are."""


def cellmap_layout(open_volume: Callable[[Path], Volume]) -> CropLayout:
    """Make the layout ``<dataset>.zarr/<alignment>/labels/groundtruth/crop<N>/<class>``, with raw next to the labels.

    Parameters
    ----------
    open_volume : callable
        Opens a group.
    """
    return CropLayout(
        lambda search: _Finder(search, open_volume).find(),
        expected=f"<dataset>.zarr/recon-1/{LABEL_GROUP}/crop<N>/<class>, with em/<raw> next to the labels",
        missing="no zarr store with both",
    )


@dataclass
class _Finder:
    """One search, and what was seen on the way."""

    search: Search
    open_volume: Callable[[Path], Volume]
    images: dict[str, int] = field(default_factory=dict)
    """Groups in crops that are no class, and in how many crops."""
    looked_at: dict[str, list[bool]] = field(default_factory=dict)
    """Of groups that nothing describes: whether they look like images, in the crops that were looked at."""
    without_raw: dict[Path, int] = field(default_factory=dict)

    def find(self) -> Iterator[FoundCrop]:
        walk = walk_folders(
            self.search.root, enter=_may_hold_crops, on_folder=self.search.on_folder, on_note=self.search.on_note
        )
        for folder in walk:
            if folder.name == "groundtruth" and folder.parent.name == "labels":
                yield from self._crops(folder)
        for name, times in sorted(self.images.items()):
            told = f"{name} is no class in {counted(times, 'crop')}: an image, or a group without an annotation"
            self.search.on_note(f"{told}; name it with --classes if it is one")
        for alignment, times in self.without_raw.items():
            there = ", ".join(sorted(p.name for p in self._folders(alignment)))
            told = f"labels of {counted(times, 'crop')} below {alignment}, but no raw next to them"
            self.search.on_note(f"{told} (only {there}): left out")

    def _crops(self, labels: Path) -> Iterator[FoundCrop]:
        alignment = labels.parents[1]
        store = next((p for p in (alignment, *alignment.parents) if p.suffix in {".zarr", ".n5"}), alignment.parent)
        raw = self._choose_raw(self._raw_groups(alignment) or self._raw_groups(store), alignment)
        for crop in sorted(self._folders(labels), key=_natural):
            self.search.on_folder()
            classes, others = self._sort_out(crop)
            box = self._box(crop, classes) if classes else None
            if box is None:
                continue
            place = raw or self._choose_raw([crop / name for name in others if _RAW_NAME.fullmatch(name)], crop)
            if place is None:
                self.without_raw[alignment] = self.without_raw.get(alignment, 0) + 1
                continue
            yield FoundCrop(store, str(place.relative_to(store)), str(crop.relative_to(store)), classes, box)

    def _folders(self, folder: Path) -> list[Path]:
        try:
            return [path for path in folder.iterdir() if path.is_dir()]
        except OSError as error:
            self.search.on_note(f"{folder} cannot be read: {error.strerror}")
            return []

    def _box(self, crop: Path, classes: Sequence[str]) -> Box | None:
        """Return the block of the first class that can be opened; the others say later what is wrong with them."""
        problem = ""
        for name in classes:
            try:
                return self.open_volume(crop / name).levels[0].grid.box
            except CounterpoiseError as error:
                problem = problem or error.problem
        self.search.on_note(f"{crop} is left out: {problem}")
        return None

    def _raw_groups(self, folder: Path) -> list[Path]:
        """Find the multiscale groups with raw data next to ``labels``."""
        found = []
        for place in (folder / name for name in _RAW_PLACES if (folder / name).is_dir()):
            is_volume = _is_group(place) and _OF_ARRAY.search(_metadata_text(place))
            found += [place] if is_volume else sorted(filter(_is_group, self._folders(place)))
        return found

    def _choose_raw(self, found: Sequence[Path], where: Path) -> Path | None:
        """Take the challenge's name, else 8 bits, else the fewest; say so where there was a choice."""
        if not found:
            return None
        ordered = sorted(found, key=lambda p: (not p.match(RAW_GROUP), self._bits(p) if found[1:] else 0, p.name))
        if ordered[1:]:
            others = ", ".join(p.name for p in ordered[1:])
            self.search.on_note(f"{where}: raw is {ordered[0].name}; there are also {others}")
        return ordered[0]

    def _bits(self, raw: Path) -> int:
        """Return how many bits a voxel has, by the name if that says so; images of floats come last."""
        named = re.search(r"u?int(\d+)", raw.name)
        if named:
            return int(named[1])
        try:
            dtype = self.open_volume(raw).levels[0].dtype
        except CounterpoiseError:
            return 1000
        return dtype.itemsize * 8 + 100 * (dtype.kind == "f")

    def _sort_out(self, crop: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Divide the groups of a crop into classes and others."""
        names = sorted(p.name for p in self._folders(crop) if p.name != NOT_A_CLASS and _is_group(p))
        listed = _annotation(crop).get("class_names")
        known = set(map(str, listed)) if isinstance(listed, list) else set()
        annotated = {name for name in names if name in known or _annotation(crop / name)}
        classes = []
        for name in names:
            is_class = name in annotated or (not annotated and not self._is_image(crop / name))
            if is_class or name in self.search.wanted:
                classes.append(name)
            else:
                self.images[name] = self.images.get(name, 0) + 1
        return tuple(classes), tuple(name for name in names if name not in classes)

    def _is_image(self, group: Path) -> bool:
        """Judge a group that nothing describes: by its name, else by its voxels in the first crops that have it."""
        if _RAW_NAME.fullmatch(group.name):
            return True
        looked = self.looked_at.setdefault(group.name, [])
        if len(looked) < _SAMPLES:
            try:
                looked.append(_looks_like_an_image(self.open_volume(group).levels[0]))
            except CounterpoiseError:
                return False  # said by whoever reads it
        return sum(looked) > len(looked) / 2


def _looks_like_an_image(level: Level) -> bool:
    """Tell grey values from labels: many values, and neighbours that are rarely equal."""
    middle = [n // 2 for n in level.grid.shape]
    block = IndexBox((middle[0], middle[1], middle[2]), (middle[0] + 1, middle[1] + 1, middle[2] + 1))
    for _, voxels in level.decoded_chunks(block):
        if voxels is None:
            return False
        equal: float = np.mean(voxels[..., 1:] == voxels[..., :-1]) if voxels.shape[-1] > 1 else 1.0
        return len(np.unique(voxels)) > _MANY_VALUES and equal < _RARELY
    return False


def _is_group(folder: Path) -> bool:
    return any((folder / name).exists() for name in _METADATA)


def _metadata_text(folder: Path) -> str:
    for name in _METADATA:
        try:
            return (folder / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
    return ""


def _annotation(group: Path) -> Mapping[str, Any]:
    """Return what CellMap's attributes say about a group; empty if they say nothing that can be read."""
    try:
        content = json.loads(_metadata_text(group) or "{}")
        for key in ("attributes", "cellmap", "annotation"):
            content = content.get(key, content if key == "attributes" else {})
    except (ValueError, AttributeError):
        return {}
    return content if isinstance(content, dict) else {}


def _may_hold_crops(folder: Path, names: Collection[str]) -> bool:
    """Tell whether crops may lie below: not in arrays, multiscale groups, or what has been found already."""
    if ".zarray" in names or (folder.name == "groundtruth" and folder.parent.name == "labels"):
        return False
    return not any(name in names for name in _METADATA) or not _OF_ARRAY.search(_metadata_text(folder))


def _natural(path: Path) -> tuple[int, str]:
    digits = "".join(ch for ch in path.name if ch.isdigit())
    return (int(digits) if digits else 0, path.name)
