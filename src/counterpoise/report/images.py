"""Example patches as small palette images that lie over the raw one: truth, predictions, agreement."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from counterpoise.runs.npz import Examples

__all__ = [
    "AGREEMENT",
    "ClassColour",
    "agreement_overlay",
    "choose_patches",
    "class_colours",
    "class_overlay",
    "fitting_step",
    "grey_jpeg",
    "grey_png",
]

UNKNOWN = 255
"""Stored in ``Examples.truth`` where it is not known whether the class is present."""

LONGEST_SIDE = 256
"""Larger patches are thinned to this, in pixels, to keep the page small."""

Colour = tuple[int, int, int]
Rgba = tuple[int, int, int, int]

# Okabe and Ito, "Color Universal Design", 2008, in an order in which neighbours are far apart.
CLASS_PALETTE: tuple[Colour, ...] = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
)
TEXTURES = 3
"""Plain, striped, dotted: tells classes apart that share a colour, 21 looks in all."""

AGREEMENT: dict[str, Colour] = {
    "right: predicted and present": (0, 158, 115),
    "too much: predicted, not present (FP)": (230, 159, 0),
    "missed: present, not predicted (FN)": (86, 180, 233),
    "too much of one class, another missed": (240, 228, 66),
}
"""What the colours of an agreement image mean, in their order."""

CLEAR: Rgba = (0, 0, 0, 0)
DIMMED: Rgba = (0, 0, 0, 130)
HATCHED: Rgba = (255, 255, 255, 110)
COMPRESSION = 6
"""Of the PNGs: the highest level takes five times as long and makes the page 1 % smaller."""

QUALITY = 75
"""Of the JPEGs."""

HATCH_PERIOD, HATCH_WIDTH = 8, 2
STRIPE_PERIOD, STRIPE_WIDTH = 7, 3
DOT_PERIOD, DOT_WIDTH = 5, 2
PLAIN_ALPHA, FAINT_ALPHA, STRONG_ALPHA = 105, 45, 190

Image2D = UInt8[np.ndarray, "row column"]
Masks = Bool[np.ndarray, "class_ row column"]


@dataclass(frozen=True)
class ClassColour:
    """Look of one class in the images: a colour, and a texture (0 plain, 1 striped, 2 dotted).

    Classes that never occur have none.
    """

    class_index: int
    name: str
    colour: Colour
    texture: int = 0


def choose_patches(examples: Examples, most: int) -> tuple[int, ...]:
    """Choose the patches whose truth shows most classes, in their own order; predictions play no part."""
    shown = (examples.truth == 1).any(axis=(2, 3)).sum(axis=1)
    richest = sorted(range(len(shown)), key=lambda i: (-int(shown[i]), i))[:most]
    return tuple(sorted(richest))


def fitting_step(examples: Examples) -> int:
    """Return every how many pixels to keep so that no side is longer than ``LONGEST_SIDE``."""
    longest: int = max(examples.raw.shape[1:])
    return max(1, -(-longest // LONGEST_SIDE))


def class_colours(classes: Sequence[str], sizes: Sequence[int]) -> tuple[ClassColour, ...]:
    """Give a look to every class that has a pixel, the largest first; no two of the first 21 are the same."""
    there = [i for i in range(len(classes)) if sizes[i] > 0]
    count = len(CLASS_PALETTE)
    looks = {i: (CLASS_PALETTE[n % count], n // count % TEXTURES) for n, i in enumerate(there)}
    order = sorted(there, key=lambda i: (-sizes[i], i))
    return tuple(ClassColour(i, classes[i], *looks[i]) for i in order)


def grey_png(image: Image2D) -> str:
    """Return a grey image as a data URI."""
    return _data_uri(Image.fromarray(np.ascontiguousarray(image)), compress_level=COMPRESSION)


def grey_jpeg(image: Image2D) -> str:
    """Return a grey image as a data URI a quarter as long, for pages with hundreds of them; the eye sees no loss."""
    return _data_uri(Image.fromarray(np.ascontiguousarray(image)), kind="jpeg", quality=QUALITY)


def class_overlay(masks: Masks, colours: Sequence[ClassColour], unknown: Bool[np.ndarray, "row column"]) -> str:
    """Draw classes as tinted, striped or dotted areas with outlines, small over large ones; unknown area hatched.

    Parameters
    ----------
    masks : bool array, shape (classes, rows, columns)
        Where each class is; they may overlap.
    colours : sequence of ClassColour
        The classes to draw, the bottom one first.
    unknown : bool array, shape (rows, columns)
        Where no class is known.

    Returns
    -------
    str
        A palette PNG with transparency, as a data URI.
    """
    palette: list[Rgba] = [CLEAR, DIMMED, HATCHED]
    indices = _hatch(unknown)
    textures = _textures(unknown.shape)
    for entry in colours:
        mask = masks[entry.class_index]
        if entry.texture == 0:
            indices[mask] = len(palette)
            palette.append((*entry.colour, PLAIN_ALPHA))
            continue
        indices[mask] = len(palette)
        indices[mask & textures[entry.texture - 1]] = len(palette) + 1
        palette += [(*entry.colour, FAINT_ALPHA), (*entry.colour, STRONG_ALPHA)]
    for entry in colours:
        indices[_outline(masks[entry.class_index])] = len(palette)
        palette.append((*entry.colour, 255))
    return _palette_png(indices, palette)


def agreement_overlay(truth: UInt8[np.ndarray, "class_ row column"], predicted: Masks) -> str:
    """Draw where the known classes are right, too much, missed, or both; unknown area hatched."""
    known, present = truth != UNKNOWN, truth == 1
    right = (predicted & present).any(axis=0)
    too_much = (predicted & known & ~present).any(axis=0)
    missed = (~predicted & present).any(axis=0)
    indices = _hatch(~known.any(axis=0))
    for number, mask in enumerate((right, too_much, missed, too_much & missed), start=3):
        indices[mask] = number
    right_colour, *wrong_colours = AGREEMENT.values()
    palette: list[Rgba] = [CLEAR, DIMMED, HATCHED, (*right_colour, 110)]
    palette += [(*colour, 235) for colour in wrong_colours]
    return _palette_png(indices, palette)


def _hatch(unknown: Bool[np.ndarray, "row column"]) -> Image2D:
    rows, columns = np.indices(unknown.shape)
    stripes = (rows + columns) % HATCH_PERIOD < HATCH_WIDTH
    return np.where(unknown, np.where(stripes, 2, 1), 0).astype(np.uint8)


def _textures(shape: tuple[int, ...]) -> tuple[Bool[np.ndarray, "row column"], Bool[np.ndarray, "row column"]]:
    """Return stripes, which lean against those of unannotated area, and dots."""
    rows, columns = np.indices(shape)
    stripes = (rows - columns) % STRIPE_PERIOD < STRIPE_WIDTH
    dots = (rows % DOT_PERIOD < DOT_WIDTH) & (columns % DOT_PERIOD < DOT_WIDTH)
    return stripes, dots


def _outline(mask: Bool[np.ndarray, "row column"]) -> Bool[np.ndarray, "row column"]:
    """Return the pixels of a mask that touch its outside; the border of the image is not outside."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    outline: Bool[np.ndarray, "row column"] = mask & ~inner
    return outline


def _palette_png(indices: Image2D, palette: Sequence[Rgba]) -> str:
    image = Image.fromarray(indices)
    image.putpalette([value for entry in palette for value in entry[:3]])
    transparency = bytes(entry[3] for entry in palette)
    return _data_uri(image, compress_level=COMPRESSION, transparency=transparency)


def _data_uri(image: Image.Image, kind: str = "png", **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
