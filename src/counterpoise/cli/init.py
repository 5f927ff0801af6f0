"""``init``: a commented configuration that fits the data and the machine."""

from __future__ import annotations

import itertools
import math
import os
import shlex
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tomli_w
import typer

from counterpoise.arrays import Vector3
from counterpoise.cli.class_tables import values_set
from counterpoise.cli.options import DataRoot, Seeds, SetKeys, read_overrides, split_names
from counterpoise.cli.race_offer import offer_race
from counterpoise.cli.screen import console, print_lines, side, working
from counterpoise.cli.shortfalls import UNSEEN, ListedCrop, listed_crops, shortfalls
from counterpoise.errors import ClassNameError, ConfigError, DatasplitError, VoxelSizeError, suggest
from counterpoise.experiment.config import MOST_CLASSES, Experiment
from counterpoise.experiment.load import known_presets, parse_experiment
from counterpoise.experiment.overrides import Override
from counterpoise.experiment.template import as_toml
from counterpoise.files.atomic import write_text
from counterpoise.files.disk import refuse_unwritable
from counterpoise.machine.hardware import find_hardware
from counterpoise.machine.plan import plan_machine
from counterpoise.text import counted
from counterpoise.volumes.crops import Crop, CropSet, load_crops
from counterpoise.volumes.datasplit import CropRow, read_datasplit, write_datasplit
from counterpoise.volumes.discover import CropSplit, datasplit_rows, find_crops, split_crops
from counterpoise.volumes.fit import fit_crop
from counterpoise.volumes.positives import find_empty_classes, find_positives, narrow_to_positives
from counterpoise.volumes.volume import FoundCrop
from counterpoise.weights import MANUAL_WEIGHTS

__all__ = ["init", "write_experiment"]

_VOXEL_SIZE = ("data", "voxel_size_nm")

_SAME_SIZE = 1.01
"""Levels whose voxel sizes differ by less are taken for the one asked for."""

_MUCH_COARSER = 1.5
"""Sections as thick as one and a half of the voxels asked for would be cut out of nothing."""

_TELL_EVERY = 1000
"""Folders between two signs of life."""


def init(
    file: Annotated[Path, typer.Argument(help="The configuration to write.", metavar="FILE")] = Path("experiment.toml"),
    data: Annotated[
        Path | None,
        typer.Option(
            help="A folder of crops; their list is written next to the configuration (never over another).",
            metavar="FOLDER",
        ),
    ] = None,
    datasplit: Annotated[Path | None, typer.Option(help="Or an existing list of crops.", metavar="FILE")] = None,
    data_root: DataRoot = None,
    classes: Annotated[
        str | None, typer.Option(help="Class names, with commas between. Default: those found.", metavar="A,B,...")
    ] = None,
    voxel_size: Annotated[
        str | None,
        typer.Option(
            help="Voxel size to train at, in nm. Default: the preset's, or that of raw where all is stored coarser.",
            metavar="Z,Y,X",
        ),
    ] = None,
    preset: Annotated[
        str, typer.Option(help="Which values to start from: classic or demo.", metavar="NAME")
    ] = "classic",
    validation_fraction: Annotated[
        float, typer.Option(help="Share of the crops to validate on, above 0 and below 1.", metavar="SHARE")
    ] = 0.15,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split.", metavar="N")] = 0,
    seeds: Seeds = None,
    settings: SetKeys = None,
    force: Annotated[
        bool, typer.Option("--force", help="Overwrite an existing configuration (no list of crops).")
    ] = False,
) -> None:
    """Write a commented experiment.toml that fits this data and this machine.

    Example: counterpoise init --data crops --set training.epochs=30
    """
    write_experiment(
        file,
        data=data,
        datasplit=datasplit,
        data_root=data_root,
        classes=split_names(classes),
        voxel_size=voxel_size,
        preset=preset,
        validation_fraction=validation_fraction,
        seed=seed,
        overrides=read_overrides(settings, seeds),
        force=force,
    )


def write_experiment(
    file: Path,
    *,
    data: Path | None,
    datasplit: Path | None,
    data_root: Path | None = None,
    classes: Sequence[str],
    voxel_size: str | None,
    preset: str,
    validation_fraction: float,
    seed: int,
    overrides: Sequence[Override] = (),
    force: bool,
) -> None:
    """Find crops or read their list, check everything, and only then write the list and the configuration."""
    _check_options(file, data, datasplit, data_root, preset, validation_fraction, force=force)
    requested = None if voxel_size is None else _parse_voxel_size(voxel_size)
    base = file.resolve().parent
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="counterpoise-init-") as scratch:
        if data is not None:
            found = _find(data, classes, notes)
            names, crops, held, split = _split(found, classes, validation_fraction, seed, notes)
            listed = Path(scratch).resolve() / "datasplit.csv"  # a list to check; the one to keep comes last
            write_datasplit(listed, datasplit_rows(crops, split.splits, names, listed.parent))
        else:
            assert datasplit is not None  # noqa: S101 - _check_options saw to it
            kept = listed = datasplit
        with working("Reading the crops"):
            rows = read_datasplit(listed, root=data_root)
            names = names if data is not None else _choose_classes(classes, {n for row in rows for n in row.classes})
            said = values_set(listed, tuple(names), overrides)
            crop_set = load_crops(listed, names, root=data_root, values=said)
            notes += [str(note) for note in crop_set.notes if not note.subject]
        with working("Looking for classes without a voxel in the train crops"):
            names = _with_voxels(crop_set, classes, notes)
        if data is not None:
            write_datasplit(listed, datasplit_rows(crops, split.splits, names, listed.parent))
            rows = read_datasplit(listed)
            kept = _free_datasplit(base, file.stem, rows)
            shown = listed_crops(split.splits, crops, held)
        else:
            shown = _listed(crop_set, notes)
        own = {
            "preset": preset,
            "data": {
                "datasplit": os.path.relpath(kept, base),
                "classes": list(names),
                **({"root": os.path.relpath(data_root, base)} if data_root is not None else {}),
            },
            "run": {"folder": f"runs/{file.stem}"},
        }
        used = [crop for crop in crop_set.crops if set(names) & set(crop.labels)]
        experiment, size = _make(own, requested, overrides, used)
    text = as_toml(experiment, header=_header(experiment, file))
    with refuse_unwritable(ConfigError, f"{file} cannot be written", remedy="name another place"):
        base.mkdir(parents=True, exist_ok=True)
        if data is not None and not kept.exists():
            write_datasplit(kept, datasplit_rows(crops, split.splits, names, base))
        write_text(file, text)
    if data is not None:
        train, validate = (sum(row.split == side for row in rows) for side in ("train", "validate"))
        apart = f"{split.gap_nm:g} nm or more apart" if split.gap_nm else "no overlap, some adjacent"
        about = f"{train} train and {counted(validate, 'validate crop')}, {apart}"
        console.print(f"{kept}: {about}", soft_wrap=True)
    console.print(f"{file}: preset {preset}, classes {', '.join(names)}, {size}", soft_wrap=True)
    print_lines(notes, to=side)
    for line in shortfalls(shown, names):
        side.print(f"warning: {line}", soft_wrap=True)
    if set(names) - set(MANUAL_WEIGHTS):
        manual = "weight_manual needs a weight for every class: set arms.manual_weights, or it is excluded"
        side.print(f"note: {manual}", soft_wrap=True)
    console.print(f"next: counterpoise plan {shlex.quote(str(file))}", soft_wrap=True)


def _check_options(
    file: Path,
    data: Path | None,
    datasplit: Path | None,
    root: Path | None,
    preset: str,
    fraction: float,
    *,
    force: bool,
) -> None:
    if (data is None) == (datasplit is None):
        raise ConfigError(
            f"{file} needs data",
            expected="one of --data FOLDER and --datasplit FILE",
            found="neither" if data is None else "both",
            remedy="counterpoise init --data FOLDER finds the crops below a folder",
        )
    if root is not None and datasplit is None:
        raise ConfigError(
            "--data-root cannot be used",
            expected="it beside --datasplit FILE, a list of crops made on another machine",
            found="--data, which makes a list for this machine",
            remedy="leave out --data-root",
        )
    if preset not in known_presets():
        raise ConfigError(
            "--preset cannot be used",
            expected="the name of a preset",
            found=preset,
            remedy=suggest(preset, known_presets()),
        )
    if not 0 < fraction < 1:  # also refuses NaN
        raise ConfigError(
            "--validation-fraction cannot be used",
            expected="a number above 0 and below 1",
            found=str(fraction),
            remedy="0.15 puts about one crop in seven into validation",
        )
    if file.exists() and not force:
        raise ConfigError(
            f"{file} exists",
            expected="a new file",
            found="the file exists",
            remedy="name another file, or overwrite it with --force",
        )


def _parse_voxel_size(text: str) -> Vector3:
    try:
        z, y, x = (float(part) for part in text.split(","))
    except ValueError:
        z = y = x = math.nan
    if not all(0 < size < math.inf for size in (z, y, x)):
        raise ConfigError(
            "--voxel-size cannot be used",
            expected="three numbers: z,y,x in nm",
            found=text,
            remedy="write it like 8,8,8",
        )
    return z, y, x


def _choose_classes(asked: Sequence[str], found: set[str]) -> tuple[str, ...]:
    """Check the classes asked for; without any, take the reference's five where they are all there, else all."""
    if not asked:
        return tuple(MANUAL_WEIGHTS) if set(MANUAL_WEIGHTS) <= found else tuple(sorted(found))
    for name in asked:
        if name not in found or asked.count(name) > 1:
            raise ClassNameError(
                f"class {name!r} is annotated nowhere" if name not in found else f"class {name!r} is asked for twice",
                expected="classes that a crop annotates, each once",
                found=", ".join(asked),
                remedy=suggest(name, sorted(found)),
            )
    return tuple(asked)


def _find(data: Path, asked: Sequence[str], notes: list[str]) -> tuple[FoundCrop, ...]:
    """Find the crops below a folder, and show how far the search is."""
    folders = itertools.count(1)
    with working(f"Searching {data} for crops") as tell:

        def on_folder() -> None:
            if (number := next(folders)) % _TELL_EVERY == 0:
                tell(f"{number:,} folders")

        return find_crops(data, wanted=asked, on_note=notes.append, on_folder=on_folder)


def _split(
    found: Sequence[FoundCrop], asked: Sequence[str], fraction: float, seed: int, notes: list[str]
) -> tuple[tuple[str, ...], list[FoundCrop], tuple[FoundCrop, ...], CropSplit]:
    """Choose the classes, take the crops that annotate one of them, and split these by what they hold."""
    names = _choose_classes(asked, {name for crop in found for name in crop.classes})
    crops = [crop for crop in found if set(names) & set(crop.classes)]
    generator = np.random.default_rng(seed)
    with working(f"Splitting {counted(len(crops), 'crop')}"):
        held, is_complete = narrow_to_positives(crops, names)
        if not is_complete:
            notes.append(UNSEEN)
        return names, crops, held, split_crops(held, names, fraction=fraction, generator=generator)


def _listed(crop_set: CropSet, notes: list[str]) -> tuple[ListedCrop, ...]:
    """Describe the crops of a list that the user made."""
    found = find_positives([crop.labels for crop in crop_set.crops])
    if not found.is_complete:
        notes.append(UNSEEN)
    return tuple(
        ListedCrop(crop.split == "validate", frozenset(crop.labels), positive)
        for crop, positive in zip(crop_set.crops, found.classes, strict=True)
    )


def _with_voxels(crop_set: CropSet, asked: Sequence[str], notes: list[str]) -> tuple[str, ...]:
    """Leave out classes without a positive voxel in the train crops, unless they were asked for; say so."""
    found = find_empty_classes(crop_set)
    names = tuple(name for name in crop_set.classes if asked or name not in found.empty)
    if found.empty:
        done = "plan will refuse them" if asked else "left out"
        notes.append(f"no positive voxel in the train crops: {', '.join(found.empty)}; {done}")
    if found.unknown:
        notes.append(f"not looked at, as it takes long: whether there are voxels of {', '.join(found.unknown)}")
    if not 0 < len(names) <= MOST_CLASSES:
        raise ClassNameError(
            f"{counted(len(names), 'class')} found" if names else "no class has a positive voxel in the train crops",
            expected=f"at least one and at most {MOST_CLASSES} classes",
            found=", ".join(names or found.empty),
            remedy="name those you want with --classes A,B,...",
        )
    return names


def _free_datasplit(base: Path, stem: str, rows: tuple[CropRow, ...]) -> Path:
    """Name the list of crops: ``datasplit.csv``, or what follows, until one is free or holds just these crops."""
    numbered = (f"{stem}-datasplit-{number}.csv" for number in itertools.count(2))
    for name in itertools.chain(("datasplit.csv", f"{stem}-datasplit.csv"), numbered):
        file = base / name
        if not file.exists() or _lists(file, rows):
            return file
    raise AssertionError  # the numbers do not end


def _lists(file: Path, rows: tuple[CropRow, ...]) -> bool:
    try:
        return read_datasplit(file) == rows
    except DatasplitError:
        return False


def _make(
    own: Mapping[str, Any], voxel_size: Vector3 | None, overrides: Sequence[Override], crops: Sequence[Crop]
) -> tuple[Experiment, str]:
    """Make the configuration, and say which voxel size it has and why.

    What was asked for stays. The preset's size gives way to that of raw where a crop cannot be read at it, or where
    every crop is stored coarser: all voxels would be made up between sections.
    """

    def with_size(size: Vector3 | None) -> Experiment:
        chosen = () if size is None else (Override(_VOXEL_SIZE, list(size), ("--voxel-size", _as_option(size))),)
        return parse_experiment(tomli_w.dumps(own), name="the options of init", overrides=(*chosen, *overrides))

    experiment = with_size(voxel_size)
    asked = experiment.data.voxel_size_nm
    is_given = voxel_size is not None or any(override.path == _VOXEL_SIZE for override in overrides)
    sizes = [crop.raw.levels[0].grid.voxel_size_nm for crop in crops]
    factors = [max(size / wanted for size, wanted in zip(own_size, asked, strict=True)) for own_size in sizes]
    is_coarse = min(factors, default=1.0) > _MUCH_COARSER
    coarser = [crop.crop_id for crop, factor in zip(crops, factors, strict=True) if factor > _SAME_SIZE]
    unreadable = [] if is_given else [crop for crop in crops if not _can_be_read(crop, experiment)]
    said = f"voxel size {_as_option(asked)} nm"
    if unreadable or (is_coarse and not is_given):
        taken = unreadable[0].raw.levels[0].grid.voxel_size_nm if unreadable else Counter(sizes).most_common(1)[0][0]
        experiment = with_size(taken)
        why = f"{unreadable[0].crop_id} cannot be read at" if unreadable else "every crop is stored much coarser than"
        said = f"voxel size {_as_option(taken)} nm, that of raw ({why} {_as_option(asked)} nm)"
    elif coarser:
        enlarged = (
            f"{len(coarser)} of {counted(len(crops), 'crop')} stored coarser, enlarged up to {max(factors):.1f} x"
        )
        said += f" ({enlarged}: {coarser[0]}{', ...' if coarser[1:] else ''})"
    for crop in crops:
        fit_crop(crop, experiment.data.voxel_size_nm, max_upsampling=experiment.data.max_upsampling)
    return experiment, said


def _can_be_read(crop: Crop, experiment: Experiment) -> bool:
    try:
        fit_crop(crop, experiment.data.voxel_size_nm, max_upsampling=experiment.data.max_upsampling)
    except VoxelSizeError:
        return False
    return True


def _as_option(size: Vector3) -> str:
    return ",".join(f"{length:g}" for length in size)


def _header(experiment: Experiment, file: Path) -> str:
    hardware = find_hardware()
    plan = plan_machine(experiment, hardware, trials=len(experiment.arms.strategies) * len(experiment.arms.seeds))
    found = [gpu.name for gpu in hardware.gpus] or ["no GPU"]
    return "\n".join(
        [
            "An experiment: which class weighting gives the best Dice?",
            f"Run it with: counterpoise run {file.name}",
            "",
            f"Written for this machine: {', '.join(found)}, {counted(hardware.cores, 'core')}.",
            "What 'auto' means here:",
            *(f"  {reason}" for reason in plan.reasons),
            *offer_race(experiment),
        ]
    )
