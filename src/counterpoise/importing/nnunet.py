"""nnU-Net raw folders: ``dataset.json``, ``imagesTr``, ``labelsTr``; every case is a crop of its own data set."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.errors import SourceError
from counterpoise.importing.images import natural_key
from counterpoise.importing.request import CropRequest, ImportRequest, LabelFile, Options
from counterpoise.importing.source import SizeClaim, nm_per
from counterpoise.importing.values import ClassRule, Meaning

__all__ = ["read_nnunet"]

_JSON = "dataset.json"
_UNIT = "mm"
"""What nnU-Net means by a spacing."""

_MOST_NAMED = 3
_AXES = 3


@dataclass(frozen=True)
class _Labels:
    """What ``labels`` of dataset.json says: classes, and the values of background and ``ignore``."""

    rules: tuple[ClassRule, ...]
    meaning: Meaning
    notes: tuple[str, ...]


def read_nnunet(folder: Path, out: Path, options: Options) -> ImportRequest:
    """Find the training cases of an nnU-Net raw folder.

    Parameters
    ----------
    folder : Path
        The folder with ``dataset.json``.
    out : Path
        Where the result goes.
    options : Options
        Of the user; ``ignore`` of dataset.json is added to the unknown values.

    Raises
    ------
    SourceError
        If it is no such folder, has several channels, or a case lacks its image or its labels.
    """
    content = _content(folder)
    channels = content.get("channel_names", content.get("modality", {"0": ""}))
    if not isinstance(channels, Mapping) or len(channels) != 1:
        raise SourceError(
            f"{folder / _JSON} has several channels",
            expected="one channel (grey images)",
            found=f"channel_names: {json.dumps(channels)}",
            remedy="make a folder with one of the channels",
        )
    labels = _labels(folder, content.get("labels"))
    unknown = tuple(dict.fromkeys((*labels.meaning.unknown, *options.meaning.unknown)))
    background = tuple(dict.fromkeys((*labels.meaning.background, *options.meaning.background)))
    crops = []
    for number, (case, image, label) in enumerate(_cases(folder, content), start=1):
        file = LabelFile(str(label), labels.rules, _spacing(label.parent / f"{case}.json", options))
        crops.append(
            CropRequest(
                re.sub(r"[^A-Za-z0-9_.+-]+", "_", case).lstrip(".+-") or f"case{number}",
                f"crop{number}",
                str(image),
                (file,),
                claim=_spacing(image.parent / f"{case}.json", options),
                is_strict=False,
            )
        )
    merged = Options(Meaning(unknown, background), options.voxel_size_nm, options.window, options.reading)
    return ImportRequest(tuple(crops), out, merged, labels.notes)


def _content(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / _JSON).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        found = str(error) if isinstance(error, ValueError) else f"no {_JSON} in it"
    else:
        if isinstance(content, dict):
            return content
        found = f"{_JSON} holds no object"
    raise SourceError(
        f"{folder} is no nnU-Net raw folder",
        expected=f"a folder with {_JSON}, imagesTr and labelsTr",
        found=found if folder.is_dir() else "no such folder",
        remedy="name such a folder, or leave SOURCE out and name volumes with --raw and --mask or --labels",
    )


def _labels(folder: Path, labels: Any) -> _Labels:
    """Read names and values; version 1 of the format has them the other way round."""
    if isinstance(labels, Mapping) and labels and all(str(key).lstrip("-").isdigit() for key in labels):
        labels = {str(name): int(value) for value, name in labels.items()}
    found: dict[str, tuple[int, ...]] = {}
    for name, value in labels.items() if isinstance(labels, Mapping) else ():
        several = value if isinstance(value, list) else [value]
        if not all(isinstance(one, int) and not isinstance(one, bool) for one in several):
            found = {}
            break
        found[str(name)] = tuple(several)
    ignored = found.pop("ignore", ())
    background = found.pop("background", ())
    notes, rules = [], []
    for name, values in found.items():
        plain = re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).lstrip(".+-")
        if plain != name:
            notes.append(f"class {name!r} is called {plain!r} here")
        rules.append(ClassRule(plain, values))
    names = [rule.name for rule in rules]
    if not names or "" in names or len(set(names)) != len(names):
        raise SourceError(
            f"{folder / _JSON} names no classes that can be used",
            expected='"labels" with one whole number (or a list of them) per name',
            found=json.dumps(labels),
            remedy="correct dataset.json",
        )
    return _Labels(tuple(rules), Meaning(ignored, tuple(value for value in background if value)), tuple(notes))


def _cases(folder: Path, content: Mapping[str, Any]) -> Sequence[tuple[str, Path, Path]]:
    """Pair images and labels by the names of the cases."""
    ending = str(content.get("file_ending", ".nii.gz"))
    listed = content.get("dataset")
    if isinstance(listed, Mapping):
        pairs = {str(case): _listed(folder, entry) for case, entry in listed.items()}
    else:
        images = {file.name[: -len(f"_0000{ending}")]: file for file in folder.glob(f"imagesTr/*_0000{ending}")}
        labels = {file.name[: -len(ending)]: file for file in folder.glob(f"labelsTr/*{ending}")}
        pairs = {case: (images.get(case), labels.get(case)) for case in images.keys() | labels.keys()}
    whole = {case: (a, b) for case, (a, b) in pairs.items() if a is not None and b is not None}
    if not pairs or len(whole) < len(pairs):
        lacking = sorted(pairs.keys() - whole.keys(), key=natural_key)
        raise SourceError(
            f"{folder} has cases without an image or without labels" if pairs else f"{folder} has no case",
            expected=f"imagesTr/CASE_0000{ending} and labelsTr/CASE{ending} for every case",
            found=", ".join(
                f"{case}: no {'image' if pairs[case][0] is None else 'labels'}" for case in lacking[:_MOST_NAMED]
            )
            + (f", and {len(lacking) - _MOST_NAMED} more" if lacking[_MOST_NAMED:] else "")
            or "none",
            remedy="complete them, or correct file_ending in dataset.json",
        )
    return [(case, *whole[case]) for case in sorted(whole, key=natural_key)]


def _listed(folder: Path, entry: Any) -> tuple[Path | None, Path | None]:
    """Read a case of ``dataset`` in dataset.json, whose paths start at its folder."""
    if not isinstance(entry, Mapping):
        return None, None
    images = entry.get("images")
    image = folder / str(images[0]) if isinstance(images, list) and len(images) == 1 else None
    label = folder / str(entry["label"]) if "label" in entry else None
    return image, label


def _spacing(file: Path, options: Options) -> SizeClaim | None:
    """Read the file with the spacing that lies beside a TIFF; its axes are those of the TIFF."""
    try:
        spacing = json.loads(file.read_text(encoding="utf-8"))["spacing"]
        numbers = [float(value) for value in spacing]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise SourceError(
            f"{file} does not say a spacing",
            expected='{"spacing": [z, y, x]}',
            found=f"{type(error).__name__}: {error}",
            remedy="correct it, or remove it and use --voxel-size-nm",
        ) from error
    unit = options.reading.spacing_unit or _UNIT
    scale = nm_per(unit) or 1.0
    sizes = [value * scale for value in numbers[-_AXES:]]
    z, y, x = [None, *sizes] if len(sizes) < _AXES else sizes
    return SizeClaim((z, y, x), f"{file.name}, in {unit}")
