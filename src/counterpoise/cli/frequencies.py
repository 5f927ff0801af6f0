"""``frequencies``: exact counts, and what a run's networks were shown of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from counterpoise.cli.class_tables import count, counted_classes, percent, print_frequencies
from counterpoise.cli.options import (
    Classes,
    DataRoot,
    Datasplit,
    ExperimentPlace,
    Format,
    Json,
    SetKeys,
    TextOrJson,
    is_json,
    split_names,
)
from counterpoise.cli.places import find_run
from counterpoise.cli.screen import console, print_lines, print_notes, print_table, side
from counterpoise.frequencies.table import FrequencyTable
from counterpoise.preflight.design import reference_weights
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.read import read_run
from counterpoise.statistics.exposure import (
    WEIGHED_BY_FREQUENCY,
    ClassShift,
    ExposureComparison,
    RunExposure,
    compare_with_shown,
    counted_frequencies,
    sum_exposure,
)
from counterpoise.text import counted, finite, fixed
from counterpoise.weights import CLASSIC, ClassStatistics

__all__ = ["frequencies", "show_exposure"]


def frequencies(
    experiment: ExperimentPlace = None,
    datasplit: Datasplit = None,
    classes: Classes = None,
    data_root: DataRoot = None,
    settings: SetKeys = None,
    exposure: Annotated[
        bool, typer.Option("--exposure", help="Of a run: also the frequencies that its sampler showed.")
    ] = False,
    output: TextOrJson = Format.text,
    as_json: Json = False,
) -> None:
    """Count the voxels of every class exactly.

    Of a run, the counts that its weights were made from are shown. JSON has the format of class_frequencies.json.

    --set data.labels.er.present=255 says what stored values mean, of a list (--datasplit), too.

    Example: counterpoise frequencies experiment.toml
    """
    form = is_json(output, as_json)
    if not exposure:
        _show_frequencies(experiment, datasplit, classes, data_root, settings, as_json=form)
    elif classes and datasplit is None:
        raise typer.BadParameter("--classes goes with --datasplit; without, the run's classes are compared.")
    else:
        show_exposure(find_run(experiment), datasplit, split_names(classes), root=data_root, as_json=form)


def _show_frequencies(
    place: Path | None,
    datasplit: Path | None,
    classes: str | None,
    root: Path | None,
    settings: list[str] | None,
    *,
    as_json: bool,
) -> None:
    found = counted_classes(place, datasplit, classes, root, settings)
    if as_json:
        print(json.dumps(_with_weights(found.table), indent=1))
    else:
        print_frequencies(found.table)
    print_notes(found.notes, to=side)
    for name in found.table.empty_classes("train"):
        side.print(
            f"warning: {name} has no positive voxel in the train crops; exclude it before training",
            soft_wrap=True,
        )


def show_exposure(
    run: RunFolder,
    datasplit: Path | None,
    classes: tuple[str, ...],
    *,
    root: Path | None = None,
    as_json: bool,
) -> None:
    """Print exact frequencies next to what a run's networks were shown.

    Parameters
    ----------
    run : RunFolder
        The run.
    datasplit : Path or None
        Crops to count; None for the exact counts that the run's weights were made from.
    classes : tuple of str
        Classes to count; none for those of the run.
    root : Path or None
        Where the data of that list are.
    as_json : bool
        Whether to print JSON.
    """
    opened = read_run(run)
    found = sum_exposure(opened)
    if datasplit is None:
        table = counted_frequencies(opened)
    else:
        table, _ = count(datasplit, classes or tuple(found.exposure.classes), root)
    comparison = compare_with_shown(table, found.exposure, found.arms)
    if as_json:
        print(json.dumps({**_with_weights(table), "exposure": _exposure_as_json(found, comparison)}, indent=1))
    else:
        _print_exposure(found, comparison)
    print_lines(found.notes, to=side)
    for shift in comparison.corrected_twice:
        side.print(_warning(shift), style="yellow", soft_wrap=True)
    if comparison.corrected_twice:
        arms = ", ".join(comparison.arms) or "none"
        side.print(f"arms of this run with weights from the exact frequencies: {arms}", soft_wrap=True)


def _with_weights(table: FrequencyTable) -> dict[str, Any]:
    return table.to_json(reference_weights(CLASSIC, ClassStatistics.of(table)))


def _print_exposure(found: RunExposure, comparison: ExposureComparison) -> None:
    shown = found.exposure
    rows = [("class", "exact", "shown", "shown/exact", "annotated in", "positive in")]
    for shift in comparison.classes:
        patches = shown.classes[shift.name].patches_known / shown.patches
        rows.append(
            (
                shift.name,
                percent(shift.exact, ".3f"),
                percent(shift.shown, ".3f"),
                fixed(shift.ratio, 2),
                percent(patches, ".1f"),
                percent(shown.positive_share(shift.name), ".1f"),
            )
        )
    print_table(list(zip(*rows, strict=True)), title="Class frequencies in the train crops, and as shown in training")
    trials = ", ".join(f"{trial.arm} seed {trial.seed}" for trial in found.trials)
    console.print(
        f"{shown.patches:,} patches in {counted(found.epochs, 'epoch')} of {trials}; the other arms of a seed were "
        "shown the same. annotated in, positive in: shares of these patches.",
        style="dim",
    )
    console.print()
    weights: list[tuple[str, ...]] = [("class", "towards balance", *WEIGHED_BY_FREQUENCY)]
    for shift in comparison.classes:
        pairs = (f"{exact:.3f} / {seen:.3f}" for exact, seen in shift.weights.values())
        weights.append((shift.name, fixed(shift.towards_balance, 2), *pairs))
    print_table(list(zip(*weights, strict=True)), title="Class weights: from exact / from shown frequencies")
    console.print(
        "towards balance: how far the sampler moved the class's frequency towards the median of the classes; below 1 "
        "it moved it away.",
        style="dim",
    )


def _warning(shift: ClassShift) -> str:
    weights = ", ".join(
        f"{name} {exact:.3f} instead of {seen:.3f}" for name, (exact, seen) in shift.weights.items() if exact != seen
    )
    return (
        f"warning: {shift.name} is corrected twice: the sampler moves it {shift.towards_balance:.2f} x towards "
        f"balance, and weights from the exact frequencies do it again ({weights or 'clamped to the same weights'})"
    )


def _exposure_as_json(found: RunExposure, comparison: ExposureComparison) -> dict[str, Any]:
    return {
        "patches": found.exposure.patches,
        "epochs": found.epochs,
        "trials": [f"{trial.arm}/seed-{trial.seed}" for trial in found.trials],
        "classes": {
            shift.name: {
                **found.exposure.to_json()["classes"][shift.name],
                "exact_frequency": finite(shift.exact),
                "shown_frequency": finite(shift.shown),
                "ratio": finite(shift.ratio),
                "positive_share": finite(found.exposure.positive_share(shift.name)),
                "towards_balance": finite(shift.towards_balance),
                "is_corrected_twice": shift.is_corrected_twice,
                "weights": {name: {"exact": a, "shown": b} for name, (a, b) in shift.weights.items()},
            }
            for shift in comparison.classes
        },
        "arms_by_exact_frequency": list(comparison.arms),
        "notes": list(found.notes),
    }
