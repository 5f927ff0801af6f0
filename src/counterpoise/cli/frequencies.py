"""``frequencies`` and ``weights``: exact counts, what was shown of them, and what each strategy makes of them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from counterpoise.cli.python_path import find_own_modules
from counterpoise.cli.screen import console, counted, number, print_notes, print_table, progress_bar, side
from counterpoise.experiment.arms import Arm, find_arms
from counterpoise.frequencies.count import count_crops
from counterpoise.frequencies.table import FrequencyTable
from counterpoise.machine.hardware import find_processors
from counterpoise.preflight.design import class_statistics, reference_weights
from counterpoise.runs.layout import RunFolder
from counterpoise.statistics.exposure import (
    WEIGHED_BY_FREQUENCY,
    ClassShift,
    Comparison,
    RunExposure,
    compare_with_shown,
    load_exposure,
    load_frequencies,
)
from counterpoise.volumes.crops import CropSet, load_crops
from counterpoise.weights import CLASSIC, derive_weights, find_strategy

__all__ = ["print_arms", "print_frequencies", "show_exposure", "show_frequencies", "show_weights"]

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


def show_exposure(run: Path, datasplit: Path | None, classes: tuple[str, ...], *, as_json: bool) -> None:
    """Print exact frequencies beside what a run's networks were shown.

    Parameters
    ----------
    run : Path
        The run's folder.
    datasplit : Path or None
        Crops to count; None for the exact counts that the run's weights were made from.
    classes : tuple of str
        Classes to count; none for those of the run.
    as_json : bool
        Whether to print JSON.
    """
    found = load_exposure(RunFolder(run))
    if datasplit is None:
        table = load_frequencies(RunFolder(run))
    else:
        _, table = _count(datasplit, classes or tuple(found.exposure.classes))
    comparison = compare_with_shown(table, found.exposure, found.arms)
    if as_json:
        document = table.to_json(reference_weights(CLASSIC, class_statistics(table, {})))
        print(json.dumps({**document, "exposure": _exposure_as_json(found, comparison)}, indent=1))
    else:
        _print_exposure(found, comparison)
    print_notes(found.notes, to=side)
    for shift in comparison.corrected_twice:
        side.print(_warning(shift), style="yellow", markup=False, soft_wrap=True)
    if comparison.corrected_twice:
        arms = ", ".join(comparison.arms) or "none"
        side.print(f"arms of this run with weights from the exact frequencies: {arms}", markup=False, soft_wrap=True)


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
            crops = str(len(table.counts(name, split)))
            rows.append((name, f"{total.present:,}", f"{total.known:,}", _percent(frequency, ".3f"), crops))
        title = f"Exact class frequencies, {split} (present / known volume, at the finest stored level)"
        print_table(list(zip(*rows, strict=True)), title=title)


def _percent(share: float, form: str) -> str:
    return "–" if math.isnan(share) else f"{100 * share:{form}} %"


def _print_exposure(found: RunExposure, comparison: Comparison) -> None:
    shown = found.exposure
    rows = [("class", "exact", "shown", "shown/exact", "annotated in", "positive in")]
    for shift in comparison.classes:
        patches = shown.classes[shift.name].patches_known / shown.patches
        rows.append(
            (
                shift.name,
                _percent(shift.exact, ".3f"),
                _percent(shift.shown, ".3f"),
                number(shift.ratio, ".2f"),
                _percent(patches, ".1f"),
                _percent(shown.positive_share(shift.name), ".1f"),
            )
        )
    print_table(list(zip(*rows, strict=True)), title="Class frequencies in the train crops, and as shown in training")
    trials = ", ".join(f"{trial.arm} seed {trial.seed}" for trial in found.trials)
    console.print(
        f"{shown.patches:,} patches in {counted(found.epochs, 'epoch')} of {trials}; the other arms of a seed were "
        "shown the same. annotated in, positive in: shares of these patches.",
        style="dim",
        markup=False,
    )
    console.print()
    weights: list[tuple[str, ...]] = [("class", "towards balance", *WEIGHED_BY_FREQUENCY)]
    for shift in comparison.classes:
        pairs = (f"{exact:.3f} / {seen:.3f}" for exact, seen in shift.weights.values())
        weights.append((shift.name, number(shift.towards_balance, ".2f"), *pairs))
    print_table(list(zip(*weights, strict=True)), title="Class weights: from exact / from shown frequencies")
    console.print(
        "towards balance: how far the sampler moved the class's frequency towards the median of the classes; below 1 "
        "it moved it away.",
        style="dim",
        markup=False,
    )


def _warning(shift: ClassShift) -> str:
    weights = ", ".join(
        f"{name} {exact:.3f} instead of {seen:.3f}" for name, (exact, seen) in shift.weights.items() if exact != seen
    )
    return (
        f"warning: {shift.name} is corrected twice: the sampler moves it {shift.towards_balance:.2f} x towards "
        f"balance, and weights from the exact frequencies do it again ({weights or 'clamped to the same weights'})"
    )


def _exposure_as_json(found: RunExposure, comparison: Comparison) -> dict[str, Any]:
    return {
        "patches": found.exposure.patches,
        "epochs": found.epochs,
        "trials": [f"{trial.arm}/seed-{trial.seed}" for trial in found.trials],
        "classes": {
            shift.name: {
                **found.exposure.to_json()["classes"][shift.name],
                "exact_frequency": _finite(shift.exact),
                "shown_frequency": _finite(shift.shown),
                "ratio": _finite(shift.ratio),
                "positive_share": _finite(found.exposure.positive_share(shift.name)),
                "towards_balance": _finite(shift.towards_balance),
                "is_corrected_twice": shift.is_corrected_twice,
                "weights": {name: {"exact": a, "shown": b} for name, (a, b) in shift.weights.items()},
            }
            for shift in comparison.classes
        },
        "arms_by_exact_frequency": list(comparison.arms),
        "notes": list(found.notes),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


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
        return crop_set, count_crops(crop_set, workers=find_processors().cores, on_array=advance)
