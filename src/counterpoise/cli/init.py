"""``init``: a commented configuration that fits the data and the machine."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import numpy as np

from counterpoise.cli.screen import console
from counterpoise.data.datasplit import read_datasplit, write_datasplit
from counterpoise.data.discover import FoundCrop, datasplit_rows, find_crops, split_crops
from counterpoise.errors import ConfigError
from counterpoise.experiment.config import Experiment, parse_experiment
from counterpoise.experiment.template import as_toml
from counterpoise.records.atomic import write_text
from counterpoise.scheduling.hardware import find_hardware
from counterpoise.scheduling.plan import plan_machine
from counterpoise.weights import MANUAL_WEIGHTS

__all__ = ["write_experiment"]


def write_experiment(
    file: Path,
    *,
    data: Path | None,
    datasplit: Path | None,
    classes: str | None,
    voxel_size: str,
    preset: str,
    validation_fraction: float,
    seed: int,
    force: bool,
) -> None:
    """Find crops or read their list, write datasplit.csv where it is missing, write the configuration."""
    _require_one_source(file, data, datasplit)
    _require_free(file, force=force)
    base = file.resolve().parent
    base.mkdir(parents=True, exist_ok=True)
    if data is not None:
        datasplit = base / "datasplit.csv"
        _require_free(datasplit, force=force)
        crops = find_crops(data)
        names = _names(classes) or _default_classes(crops)
        generator = np.random.default_rng(seed)
        split = split_crops(crops, names, fraction=validation_fraction, generator=generator)
        rows = list(datasplit_rows(crops, split.splits, names, base))
        write_datasplit(datasplit, rows)
        usages = [row[0] for row in rows]
        apart = f"{split.gap_nm:g} nm or more apart" if split.gap_nm else "apart, some of them side by side"
        console.print(
            f"{datasplit}: {usages.count('train')} train and {usages.count('validate')} validate crops, {apart}",
            markup=False,
            soft_wrap=True,
        )
    else:
        assert datasplit is not None  # noqa: S101 - _require_one_source saw to it
        listed = read_datasplit(datasplit)
        names = _names(classes) or sorted({name for row in listed for name in row.classes})
    experiment = _make(os.path.relpath(datasplit, base), names, voxel_size, preset)
    hardware = find_hardware()
    plan = plan_machine(experiment, hardware, trials=len(experiment.arms.strategies) * len(experiment.arms.seeds))
    found = [f"{gpu.name}" for gpu in hardware.gpus] or ["no GPU"]
    header = "\n".join(
        [
            "An experiment: which class weighting gives the best Dice?",
            f"Run it with: counterpoise run {file.name}",
            "",
            f"Written for this machine: {', '.join(found)}, {hardware.cores} cores.",
            "What 'auto' means here:",
            *(f"  {reason}" for reason in plan.reasons),
        ]
    )
    text = as_toml(experiment, header=header)
    write_text(file, text)
    console.print(f"{file}: preset {preset}, classes {', '.join(names)}", markup=False, soft_wrap=True)
    for name in names:
        if name not in MANUAL_WEIGHTS:
            console.print(
                "note: weight_manual needs a weight for every class: set arms.manual_weights, or it is left out",
                markup=False,
                soft_wrap=True,
            )
            break
    console.print(f"next: counterpoise run {file}", markup=False, soft_wrap=True)


def _make(datasplit: str, classes: list[str], voxel_size: str, preset: str) -> Experiment:
    sizes = [part.strip() for part in voxel_size.split(",")]
    listed = ", ".join(f'"{name}"' for name in classes)
    stem = Path(datasplit).stem if Path(datasplit).stem != "datasplit" else preset
    text = (
        f'preset = "{preset}"\n[data]\ndatasplit = "{datasplit}"\nclasses = [{listed}]\n'
        f"voxel_size_nm = [{', '.join(sizes)}]\n"
        f'[run]\nfolder = "runs/{stem}"\n'
    )
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise ConfigError(
            "--voxel-size cannot be used",
            expected="three numbers with commas between them: z,y,x in nm",
            found=voxel_size,
            remedy="write it like 8,8,8",
        ) from None
    return parse_experiment(text, name="the options of init")


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _default_classes(crops: tuple[FoundCrop, ...]) -> list[str]:
    """Take the reference's five classes where they are all there, else every class that was found."""
    found = {name for crop in crops for name in crop.classes}
    return list(MANUAL_WEIGHTS) if set(MANUAL_WEIGHTS) <= found else sorted(found)


def _require_one_source(file: Path, data: Path | None, datasplit: Path | None) -> None:
    if (data is None) == (datasplit is None):
        raise ConfigError(
            f"{file} needs data",
            expected="one of --data FOLDER and --datasplit FILE",
            found="neither" if data is None else "both",
            remedy="counterpoise init --data FOLDER finds the crops below a folder",
        )


def _require_free(file: Path, *, force: bool) -> None:
    if file.exists() and not force:
        raise ConfigError(
            f"{file} exists",
            expected="a new file",
            found="one that may hold your work",
            remedy="name another file, or overwrite it with --force",
        )
