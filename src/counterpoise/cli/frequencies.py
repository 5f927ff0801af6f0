"""``frequencies`` and ``weights``: exact counts, and what each strategy makes of them."""

from __future__ import annotations

import json
import math
from pathlib import Path

from counterpoise.cli.python_path import find_own_modules
from counterpoise.cli.screen import number, print_notes, print_table, progress_bar, side
from counterpoise.data.crops import CropSet, load_crops
from counterpoise.experiment.arms import Arm, find_arms
from counterpoise.frequencies.count import count_crops
from counterpoise.frequencies.table import FrequencyTable
from counterpoise.scheduling.hardware import find_hardware
from counterpoise.scheduling.prepare import class_statistics, reference_weights
from counterpoise.weights import CLASSIC, derive_weights, find_strategy

__all__ = ["print_arms", "print_frequencies", "show_frequencies", "show_weights"]

_BASELINE = "weight_uniform"


def show_frequencies(datasplit: Path, classes: tuple[str, ...], *, as_json: bool) -> None:
    """Count and print."""
    crop_set, table = _count(datasplit, classes)
    if as_json:
        statistics = class_statistics(table, {})
        print(json.dumps(table.to_json(reference_weights(CLASSIC, statistics)), indent=1))
    else:
        print_frequencies(table)
    print_notes(crop_set.notes, to=side)
    for name in table.empty_classes("train"):
        side.print(
            f"warning: {name} has no positive voxel in the train crops; leave it out before training",
            markup=False,
            soft_wrap=True,
        )


def show_weights(datasplit: Path, classes: tuple[str, ...], strategies: tuple[str, ...], *, as_json: bool) -> None:
    """Count, derive and print; an arm is compared with uniform weights, whether they are asked for or not."""
    find_own_modules(Path.cwd())
    names = strategies or CLASSIC
    for name in names:
        find_strategy(name)  # a misspelt name is refused before anything is counted
    _, table = _count(datasplit, classes)
    statistics = class_statistics(table, {})
    derived, left_out = derive_weights(dict.fromkeys((_BASELINE, *names)), statistics)
    arms, notes = find_arms(derived, baseline=_BASELINE, duplicates="once")
    if as_json:
        document = {arm.name: {"weights": dict(arm.weights.weights), "same_as": arm.same_as} for arm in arms}
        print(json.dumps({"weights": document, "notes": [*left_out, *notes]}, indent=1))
        return
    print_arms(arms, classes)
    print_notes((*left_out, *notes), to=side)


def print_frequencies(table: FrequencyTable) -> None:
    """Print counts and frequencies, class by class, a table per split."""
    for split in ("train", "validate"):
        rows = [("class", "present", "known voxels", "frequency", "crops")]
        for name in table.classes:
            total, frequency = table.total(name, split), table.frequency(name, split)
            share = "–" if math.isnan(frequency) else f"{100 * frequency:.3f} %"
            rows.append((name, f"{total.present:,}", f"{total.known:,}", share, str(len(table.counts(name, split)))))
        title = f"Exact class frequencies, {split} (present / known volume, at the finest stored level)"
        print_table(list(zip(*rows, strict=True)), title=title)


def print_arms(arms: tuple[Arm, ...], classes: tuple[str, ...]) -> None:
    """Print the weights of every arm; a clamped weight has a star."""
    columns = [["strategy", *(arm.name for arm in arms)]]
    for name in classes:
        cells = [
            number(arm.weights.weights[name], ".3f") + ("*" if name in arm.weights.clamped else " ") for arm in arms
        ]
        columns.append([name, *cells])
    print_table(columns, title="Class weights (* clamped)")


def _count(datasplit: Path, classes: tuple[str, ...]) -> tuple[CropSet, FrequencyTable]:
    crop_set = load_crops(datasplit, classes)
    voxels = sum(levels[0].level.whole().voxels for crop in crop_set.crops for levels in crop.labels.values())
    with progress_bar("Counting", voxels) as advance:
        return crop_set, count_crops(crop_set, workers=find_hardware().cores, on_array=advance)
