"""Where the CellMap Segmentation Challenge puts its crops: the folders that ``csc fetch-data`` fills."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from counterpoise.volumes.volume import CropLayout, FoundCrop, Volume

__all__ = ["cellmap_layout"]

RAW_GROUP = "em/fibsem-uint8"
LABEL_GROUP = "labels/groundtruth"
NOT_A_CLASS = "all"
"""A sub-folder of a crop that holds every label in one array."""


def cellmap_layout(open_volume: Callable[[Path], Volume]) -> CropLayout:
    """Make the layout ``<dataset>.zarr/<alignment>/labels/groundtruth/crop<N>/<class>``, with raw next to the labels.

    Parameters
    ----------
    open_volume : callable
        Opens a class's group.
    """

    def find(root: Path) -> Iterator[FoundCrop]:
        for store in _stores(root):
            for labels in sorted(store.glob(f"*/{LABEL_GROUP}")):
                alignment = labels.relative_to(store).parts[0]
                raw = f"{alignment}/{RAW_GROUP}"
                if not (store / raw).is_dir():
                    continue
                for crop in sorted((p for p in labels.iterdir() if p.is_dir()), key=_natural):
                    named = (p.name for p in crop.iterdir() if (p / ".zattrs").exists() and p.name != NOT_A_CLASS)
                    if classes := tuple(sorted(named)):
                        box = open_volume(crop / classes[0]).levels[0].grid.box
                        yield FoundCrop(store, raw, f"{alignment}/{LABEL_GROUP}/{crop.name}", classes, box)

    return CropLayout(
        find,
        expected=f"<dataset>.zarr/recon-1/{LABEL_GROUP}/crop<N>/<class>, with {RAW_GROUP} next to the labels",
        missing="no zarr store with both",
    )


def _stores(root: Path) -> Iterator[Path]:
    for folder, names, _ in os.walk(root):
        stores = sorted(name for name in names if name.endswith(".zarr"))
        yield from (Path(folder) / name for name in stores)
        names[:] = sorted(set(names) - set(stores))


def _natural(path: Path) -> tuple[int, str]:
    digits = "".join(ch for ch in path.name if ch.isdigit())
    return (int(digits) if digits else 0, path.name)
