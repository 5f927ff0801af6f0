"""Tables of classes: exact frequencies and weights, as ``run`` shows them too."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import tomli_w
import typer

from counterpoise.cli.options import read_overrides, split_names
from counterpoise.cli.places import find_source
from counterpoise.cli.python_path import find_own_modules
from counterpoise.cli.screen import print_table, progress_bar, working
from counterpoise.experiment.arms import Arm
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.load import load_experiment, parse_experiment
from counterpoise.experiment.overrides import Override
from counterpoise.frequencies.count import count_crops
from counterpoise.frequencies.table import FrequencyTable
from counterpoise.machine.hardware import usable_cores
from counterpoise.notes import Note
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.read import read_run
from counterpoise.statistics.exposure import counted_frequencies
from counterpoise.text import DASH, fixed
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.encoding import StatedValues

__all__ = ["CountedClasses", "count", "counted_classes", "percent", "print_arms", "print_frequencies", "values_set"]


@dataclass(frozen=True)
class CountedClasses:
    """Exact counts, notes on the crops, and the experiment that names them, if one does."""

    table: FrequencyTable
    notes: tuple[Note, ...]
    experiment: Experiment | None


def counted_classes(
    place: Path | None,
    datasplit: Path | None,
    classes: str | None,
    root: Path | None = None,
    settings: list[str] | None = None,
) -> CountedClasses:
    """Count the classes of an experiment, or of a list of crops; a run has the counts in its folder.

    Parameters
    ----------
    place : Path or None
        The experiment or its run, as for :func:`~counterpoise.cli.places.find_source`.
    datasplit, classes : Path, str or None
        A list of crops and class names with commas instead.
    root : Path or None
        Where the data of that list are, or those of the experiment.
    settings : list of str, optional
        Keys of the experiment that are set on the command line, as ``data.labels``, which holds for a list, too.

    Raises
    ------
    typer.BadParameter
        If both are named, or half of the second, or a key is set that has no meaning for a list.
    """
    names, overrides = split_names(classes), read_overrides(settings, None)
    if datasplit is not None or names:
        if datasplit is None or not names or place is not None:
            raise typer.BadParameter("Name an experiment or its run, or --datasplit and --classes.")
        if ignored := [override for override in overrides if override.path[:2] != ("data", "labels")]:
            raise typer.BadParameter(f"{ignored[0].shown} changes nothing about a list: --set data.labels does.")
        return CountedClasses(*count(datasplit, names, root, values_set(datasplit, names, overrides)), None)
    source = find_source(place, overrides)
    find_own_modules(source.folder, Path.cwd())
    experiment = load_experiment(source)
    if source.run is not None:
        return CountedClasses(counted_frequencies(read_run(RunFolder(source.run))), (), experiment)
    data = experiment.data
    return CountedClasses(
        *count(data.datasplit, data.classes, root or data.root_folder, data.stated_values()), experiment
    )


def values_set(datasplit: Path, classes: tuple[str, ...], overrides: Sequence[Override]) -> Mapping[str, StatedValues]:
    """Return what ``--set data.labels...`` says about the values of a list's classes."""
    overrides = [override for override in overrides if override.path[:2] == ("data", "labels")]
    if not overrides:
        return {}
    text = tomli_w.dumps({"data": {"datasplit": str(datasplit), "classes": list(classes)}})
    return parse_experiment(text, name="--set", overrides=overrides).data.stated_values()


def count(
    datasplit: Path,
    classes: tuple[str, ...],
    root: Path | None = None,
    values: Mapping[str, StatedValues] = MappingProxyType({}),
) -> tuple[FrequencyTable, tuple[Note, ...]]:
    """Count every voxel of some classes, with a progress bar; return the counts and notes on the crops."""
    with working(f"Opening the crops of {datasplit}"):
        crop_set = load_crops(datasplit, classes, root=root, values=values)
    voxels = sum(levels[0].level.whole().voxels for crop in crop_set.crops for levels in crop.labels.values())
    notes = [*crop_set.notes]
    with progress_bar("Counting", voxels) as advance:
        table = count_crops(crop_set, workers=usable_cores(), on_array=advance, on_note=notes.append)
    return table, tuple(notes)


def print_frequencies(table: FrequencyTable) -> None:
    """Print counts and frequencies, class by class, a table per split."""
    for split in ("train", "validate"):
        rows = [("class", "present", "known voxels", "frequency", "crops")]
        for name in table.classes:
            total, frequency = table.total(name, split), table.frequency(name, split)
            crops = str(len(table.counts(name, split)))
            rows.append((name, f"{total.present:,}", f"{total.known:,}", percent(frequency, ".3f"), crops))
        title = f"Exact class frequencies, {split} crops, at the finest stored level"
        print_table(list(zip(*rows, strict=True)), title=title)


def print_arms(arms: tuple[Arm, ...], classes: tuple[str, ...]) -> None:
    """Print the weights of every arm; a clamped weight has a star."""
    columns = [["strategy", *(arm.name for arm in arms)]]
    for name in classes:
        cells = [fixed(arm.weights.weights[name]) + ("*" if name in arm.weights.clamped else " ") for arm in arms]
        columns.append([name, *cells])
    print_table(columns, title="Class weights (* clamped)")


def percent(share: float, form: str) -> str:
    """Write a share, which may be NaN, in percent."""
    return DASH if math.isnan(share) else f"{100 * share:{form}} %"
