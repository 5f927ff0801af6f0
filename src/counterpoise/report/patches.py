"""Example patches for the page: the same validation patches as raw, truth and every arm's prediction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8

from counterpoise.report.images import (
    UNKNOWN,
    ClassColour,
    agreement_overlay,
    choose_patches,
    class_colours,
    class_overlay,
    fitting_step,
    grey_png,
)
from counterpoise.runs.npz import Examples
from counterpoise.runs.read import Unreadable
from counterpoise.statistics.results import ArmResult, Results

__all__ = ["ExamplePatches", "Patch", "PatchPrediction", "ScaleBar", "load_patches", "scale_bar"]

MOST_PATCHES = 4

NM_PER_UM = 1000
LONGEST_BAR = 0.4
"""Of the width of a patch."""


@dataclass(frozen=True)
class ScaleBar:
    """A round length along the rows of a patch: how many of its shown pixels, and in words."""

    columns: float
    label: str


@dataclass(frozen=True)
class PatchPrediction:
    """What one arm makes of a patch: its classes, and where they are right and wrong, as overlays."""

    arm: str
    seed: int
    overlay: str
    agreement: str


@dataclass(frozen=True)
class Patch:
    """One validation patch; images are data URIs of ``rows`` x ``columns`` pixels."""

    crop: str
    rows: int
    columns: int
    raw: str
    truth: str
    classes_shown: tuple[str, ...]
    classes_unknown: tuple[str, ...]
    predictions: tuple[PatchPrediction, ...]


@dataclass(frozen=True)
class ExamplePatches:
    """The patches, the colours of the classes in them, and the arms that have no prediction to show.

    ``problems`` name the files that are there and cannot be shown; without ``patches`` they are all there is to say.
    """

    patches: tuple[Patch, ...]
    colours: tuple[ClassColour, ...]
    missing: tuple[str, ...]
    every_pixel: int
    """1 if every pixel is shown, 2 if every second one, ..."""
    bar: ScaleBar | None
    """None if the voxel size is not known."""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Found:
    """The examples of one arm's first seed that has usable ones (None: no seed has); why others have not."""

    arm: str
    seed: int
    examples: Examples | None
    problems: tuple[str, ...]


@dataclass(frozen=True)
class _Prediction:
    """The chosen patches as one arm predicts them; True where a class is predicted."""

    arm: str
    seed: int
    masks: Bool[np.ndarray, "patch class_ row column"]


def load_patches(results: Results, voxel_size_nm: Sequence[float] | None = None) -> ExamplePatches | None:
    """Read the example patches of every trained arm's first finished seed; None if no trial left any.

    A file that is damaged, or of other classes than the run's, is passed over and named.

    Parameters
    ----------
    results : Results
        The arms and their trials.
    voxel_size_nm : sequence of float, optional
        Edge lengths of the patches' pixels in nm: z, y, x.
    """
    read = [_read_first(arm, results) for arm in results.trained]
    problems = tuple(problem for found in read for problem in found.problems)
    first = next((found.examples for found in read if found.examples), None)
    if first is None:
        return ExamplePatches((), (), (), 1, None, problems) if problems else None
    step = fitting_step(first)
    chosen = choose_patches(first, MOST_PATCHES)
    predictions = []
    for found in read:
        if found.examples is not None and _same_patches(found.examples, first):
            masks = found.examples.prediction[list(chosen), :, ::step, ::step] == 1
            predictions.append(_Prediction(found.arm, found.seed, masks))
    truth = first.truth[list(chosen), :, ::step, ::step]
    sizes = sum((p.masks.sum(axis=(0, 2, 3)) for p in predictions), start=(truth == 1).sum(axis=(0, 2, 3)))
    colours = class_colours(first.classes, sizes.tolist())
    return ExamplePatches(
        patches=tuple(
            _patch(
                first.crops[index],
                first.raw[index, ::step, ::step],
                truth[i],
                first.classes,
                colours,
                [(p, p.masks[i]) for p in predictions],
            )
            for i, index in enumerate(chosen)
        ),
        colours=tuple(sorted(colours, key=lambda c: c.class_index)),
        missing=tuple(found.arm for found in read if found.arm not in {p.arm for p in predictions}),
        every_pixel=step,
        bar=None if voxel_size_nm is None else scale_bar(first.raw.shape[2] / step, voxel_size_nm[2] * step),
        problems=problems,
    )


def scale_bar(columns: float, pixel_nm: float) -> ScaleBar:
    """Find the longest round length (1, 2 or 5 times a power of ten) that fits a patch.

    Parameters
    ----------
    columns : float
        Width of the patch in pixels.
    pixel_nm : float
        Width of a pixel in nm.

    Examples
    --------
    >>> scale_bar(256, 8.0)  # 2048 nm wide; two fifths are 819 nm
    ScaleBar(columns=62.5, label='500 nm')
    """
    longest_nm = LONGEST_BAR * columns * pixel_nm
    power = 10.0 ** math.floor(math.log10(longest_nm))
    length = max(m * power for m in (1, 2, 5) if m * power <= longest_nm)
    label = f"{length / NM_PER_UM:g} µm" if length >= NM_PER_UM else f"{length:g} nm"
    return ScaleBar(length / pixel_nm, label)


def _read_first(arm: ArmResult, results: Results) -> _Found:
    """Read the examples of the first finished seed that has usable ones, and name the files before that have not."""
    problems: list[str] = []
    for trial in arm.trials:
        found = trial.examples
        if isinstance(found, Unreadable):
            if not found.is_missing:
                problems.append(f"{arm.name}, seed {trial.seed}: {found.name}: {found.reason}")
        elif found.classes != tuple(results.classes):
            classes = f"{', '.join(map(str, found.classes))} instead of {', '.join(results.classes)}"
            problems.append(f"{arm.name}, seed {trial.seed}: {trial.folder.examples.name}: of the classes {classes}")
        elif found.raw.size:
            return _Found(arm.name, trial.seed, found, tuple(problems))
    return _Found(arm.name, 0, None, tuple(problems))


def _same_patches(examples: Examples, first: Examples) -> bool:
    return (
        examples.crops == first.crops
        and examples.classes == first.classes
        and np.array_equal(examples.raw, first.raw)
        and np.array_equal(examples.truth, first.truth)
    )


def _patch(
    crop: str,
    raw: UInt8[np.ndarray, "row column"],
    truth: UInt8[np.ndarray, "class_ row column"],
    classes: Sequence[str],
    colours: Sequence[ClassColour],
    predictions: Sequence[tuple[_Prediction, Bool[np.ndarray, "class_ row column"]]],
) -> Patch:
    unknown = np.all(truth == UNKNOWN, axis=0)
    shown = np.any(truth == 1, axis=(1, 2))
    never_known = np.all(truth == UNKNOWN, axis=(1, 2))
    return Patch(
        crop=crop,
        rows=raw.shape[0],
        columns=raw.shape[1],
        raw=grey_png(raw),
        truth=class_overlay(truth == 1, colours, unknown),
        classes_shown=tuple(name for name, there in zip(classes, shown, strict=True) if there),
        classes_unknown=tuple(name for name, there in zip(classes, never_known, strict=True) if there),
        predictions=tuple(
            PatchPrediction(
                p.arm,
                p.seed,
                class_overlay(masks, colours, np.zeros_like(unknown)),
                agreement_overlay(truth, masks),
            )
            for p, masks in predictions
        ),
    )
