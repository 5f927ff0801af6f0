"""Cut patches out of the store in host memory: compiled loops over rows of pixels, all crops the same code.

Raw is interpolated linearly (in the plane always, along z where a section lies between two), labels take the nearest
voxel. Raw outside its block is the store's mean: black would be something to look at. A label position outside the crop
is unknown. Patches whose samples are voxel centres are copied.

A row of a patch crosses a block in one piece: where that piece begins and ends is found once per row, and
the loops over its pixels have no branches. Positions are float64; they become 32-bit places and float32 shares
in a loop of their own, because a loop either computes (and is vectorised) or looks up voxels (and cannot be).
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from counterpoise.arrays import Vector3
from counterpoise.compiled import compiled
from counterpoise.sampling.crop_table import EDGE, NEAREST, CropTable, PatchArrays, PatchGeometry
from counterpoise.sampling.patches import Patches
from counterpoise.store import VoxelStore

__all__ = ["gather_patches"]

Array = np.ndarray[Any, Any]

_BLOCK = 8
"""Columns transposed at a time: as many lines of voxels stay in the fastest cache, and one store writes 8 bytes."""

_LEAST_STEP = 1e-12
"""A row that moves less than this per pixel is inside from end to end, or outside (and still tested)."""

_HALF = 0.5
_TO_UNIT = np.float32(1.0 / 255.0)

_compiled = compiled(error_model="numpy")  # a division by zero gives infinity, with no test for it in the loops


def gather_patches(
    store: VoxelStore,
    table: CropTable,
    patches: Patches,
    voxel_size_nm: Vector3,
    out: PatchArrays,
    *,
    pool: ThreadPoolExecutor | None = None,
    threads: int = 1,
) -> None:
    """Fill ``out`` with the voxels of a batch.

    Parameters
    ----------
    store : VoxelStore
        Raw and label words.
    table : CropTable
        The crops that ``patches.crop`` indexes.
    patches : Patches
        As many as ``out`` can hold.
    voxel_size_nm : (z, y, x)
        Distance between samples: sections of the stack, rows, columns.
    out : PatchArrays
        Written in place.
    pool, threads
        Where to run, and into how many parts to cut the batch; the compiled loops hold no lock.
    """
    crop = patches.crop
    unknown = store.unknown if store.unknown.size else store.present[:0]  # one type of array, compiled once
    geometry = PatchGeometry.of(table, patches, voxel_size_nm, out.present.shape[1:], out.images.shape[1])
    raw, label, sections = geometry.raw, geometry.label, geometry.sections

    def part(first: int, last: int) -> None:
        _gather_raw(
            store.raw, table.raw_offset[crop], table.raw_shape[crop], sections.below, sections.part,
            raw.start, raw.by_row, raw.by_column, raw.on_grid, store.raw_mean, out.images, first, last,
        )  # fmt: skip
        _gather_labels(
            store.present, unknown, table.label_offset[crop], table.label_shape[crop], patches.section,
            table.known_word[crop], table.has_unknown[crop],
            label.start, label.by_row, label.by_column, label.on_grid, out.present, out.known, first, last,
        )  # fmt: skip
        if patches.counted is not None:
            _forget_outside(patches.counted, out.known, first, last)

    if pool is None or threads == 1:
        part(0, len(patches))
        return
    edges = [len(patches) * k // threads for k in range(threads + 1)]
    for done in [pool.submit(part, first, last) for first, last in itertools.pairwise(edges)]:
        done.result()


@_compiled
def _gather_raw(
    raw: Array,
    offset: Array,
    shape: Array,
    below: Array,
    part: Array,
    start: Array,
    by_row: Array,
    by_column: Array,
    on_grid: Array,
    mean: int,
    out: Array,
    first: int,
    last: int,
) -> None:
    """Fill the images of patches ``first`` to ``last``."""
    slices, rows, columns = out.shape[1:]
    copied = np.empty((rows, columns), dtype=np.uint8)
    for b in range(first, last):
        height, width = shape[b, 1], shape[b, 2]
        block = raw[offset[b] : offset[b] + shape[b, 0] * height * width]
        blended = False
        for s in range(slices):
            blended |= part[b, s] > 0.0
        if blended or not on_grid[b]:
            _turn_raw(block, height, width, below[b], part[b], start[b], by_row[b], by_column[b], mean, out[b])
            continue
        for s in range(slices):
            _fill(copied, mean)
            if below[b, s] >= 0:
                begin = below[b, s] * height * width
                plane = block[begin : begin + height * width].reshape((height, width))
                _copy_plane(plane, start[b], by_row[b], by_column[b], copied)
            for r in range(rows):
                for c in range(columns):
                    out[b, s, r, c] = np.float32(copied[r, c]) * _TO_UNIT


@_compiled
def _turn_raw(
    block: Array,
    height: int,
    width: int,
    below: Array,
    part: Array,
    start: Array,
    by_row: Array,
    by_column: Array,
    mean: int,
    out: Array,
) -> None:
    """Interpolate one patch: linear in the plane, and along z where a section lies between two."""
    slices, rows, columns = out.shape
    numbers = np.arange(columns).astype(np.float64)
    place, words = np.empty(columns, dtype=np.int32), np.empty(columns, dtype=np.uint32)
    share_y, share_x = np.empty(columns, dtype=np.float32), np.empty(columns, dtype=np.float32)
    right, down = min(width - 1, 1), (width if height > 1 else 0)
    for s in range(slices):
        _fill(out[s], float(np.float32(mean) * _TO_UNIT))
    for r in range(rows):
        y, x = start[0] + r * by_row[0], start[1] + r * by_row[1]
        a, e = _span(y + EDGE, by_column[0], height - 1.0 + 2.0 * EDGE, 0, columns)
        a, e = _span(x + EDGE, by_column[1], width - 1.0 + 2.0 * EDGE, a, e)
        _place(y, x, by_column, height, width, numbers[a:e], place[a:e], share_y[a:e], share_x[a:e])
        for s in range(slices):
            weight = 1.0
            if below[s] >= 0:
                out[s, r, a:e] = 0.0  # what is blended in first stands there exactly
            for z in range(max(below[s], 0), below[s] + (2 if part[s] > 0.0 else 1)):
                plane = block[z * height * width : (z + 1) * height * width]
                _neighbours(plane, right, down, place[a:e], words[a:e])
                _blend(words[a:e], share_y[a:e], share_x[a:e], weight, out[s, r, a:e])
                weight = part[s]


@_compiled
def _span(start: float, step: float, length: float, first: int, last: int) -> tuple[int, int]:
    """Find the columns c of ``first`` to ``last`` for which ``0 <= start + c * step < length``: one piece."""
    rises = step >= 0.0
    a = _crossing(start, step, 0.0 if rises else length, rises, first, last)
    return a, _crossing(start, step, length if rises else 0.0, rises, a, last)


@_compiled
def _crossing(start: float, step: float, bound: float, rises: bool, first: int, last: int) -> int:
    """Find the first column at or above the bound (falling: below it), exactly as a test of each column would."""
    if abs(step) <= _LEAST_STEP:
        column = first if (start + first * step >= bound) == rises else last
    else:
        column = int(min(max((bound - start) / step, float(first)), float(last)))
    while column > first and (start + (column - 1) * step >= bound) == rises:
        column -= 1
    while column < last and (start + column * step >= bound) != rises:
        column += 1
    return column


@_compiled
def _place(
    y: float,
    x: float,
    step: Array,
    height: int,
    width: int,
    numbers: Array,
    place: Array,
    share_y: Array,
    share_x: Array,
) -> None:
    """Turn positions into the place of the upper left of four voxels and the shares of the lower and right ones.

    Within half a voxel of the border the border's value holds: positions there are moved onto the border.
    """
    bottom, edge, row_length = height - 1.0, width - 1.0, np.int32(width)
    last_row, last_column = np.int32(max(height - 2, 0)), np.int32(max(width - 2, 0))
    for c in range(len(numbers)):
        at_y = min(max(y + numbers[c] * step[0], 0.0), bottom)
        at_x = min(max(x + numbers[c] * step[1], 0.0), edge)
        row, column = min(np.int32(at_y), last_row), min(np.int32(at_x), last_column)
        place[c] = np.int32(np.int32(row * row_length) + column)
        share_y[c] = np.float32(at_y - row)
        share_x[c] = np.float32(at_x - column)


@_compiled
def _neighbours(plane: Array, right: int, down: int, place: Array, words: Array) -> None:
    """Look up four voxels for every place: upper left, upper right, lower left, lower right, 8 bits each."""
    to_right, to_down = np.uint32(right), np.uint32(down)
    for c in range(len(place)):
        at = np.uint32(place[c])
        words[c] = (
            np.uint32(plane[at])
            | np.uint32(plane[at + to_right]) << np.uint32(8)
            | np.uint32(plane[at + to_down]) << np.uint32(16)
            | np.uint32(plane[at + to_down + to_right]) << np.uint32(24)
        )


@_compiled
def _blend(words: Array, share_y: Array, share_x: Array, weight: float, out: Array) -> None:
    """Interpolate between four voxels, scale to [0, 1], and move ``out`` there by ``weight`` of the way."""
    byte, step = np.uint32(255), np.float32(weight)
    for c in range(len(words)):
        four = words[c]  # signed 32-bit numbers: processors without AVX-512 convert no others to float32
        upper_left = np.float32(np.int32(four & byte))
        upper_right = np.float32(np.int32((four >> np.uint32(8)) & byte))
        lower_left = np.float32(np.int32((four >> np.uint32(16)) & byte))
        lower_right = np.float32(np.int32(four >> np.uint32(24)))
        top = upper_left + share_x[c] * (upper_right - upper_left)
        bottom = lower_left + share_x[c] * (lower_right - lower_left)
        out[c] += step * ((top + share_y[c] * (bottom - top)) * _TO_UNIT - out[c])


@_compiled
def _gather_labels(
    present: Array,
    unknown: Array,
    offset: Array,
    shape: Array,
    section: Array,
    known_word: Array,
    has_unknown: Array,
    start: Array,
    by_row: Array,
    by_column: Array,
    on_grid: Array,
    present_out: Array,
    known_out: Array,
    first: int,
    last: int,
) -> None:
    """Fill the label words of patches ``first`` to ``last``."""
    for b in range(first, last):
        height, width = shape[b, 1], shape[b, 2]
        begin = offset[b] + section[b] * height * width
        end = begin + height * width
        words, hidden = present[begin:end], (unknown if has_unknown[b] else present)[begin:end]
        _fill(present_out[b], 0)
        _fill(known_out[b], 0)
        if not on_grid[b]:
            _turn_labels(
                words, hidden, has_unknown[b], known_word[b], height, width,
                start[b], by_row[b], by_column[b], present_out[b], known_out[b],
            )  # fmt: skip
            continue
        inside = (0, 0, 0, 0)
        for pair in range(2 if has_unknown[b] else 1):
            plane, out = (words, present_out[b]) if pair == 0 else (hidden, known_out[b])
            inside = _copy_plane(plane.reshape((height, width)), start[b], by_row[b], by_column[b], out)
        word = known_word[b]
        for r in range(inside[0], inside[1]):
            row = known_out[b, r, inside[2] : inside[3]]
            for c in range(len(row)):
                row[c] = word & ~row[c]


@_compiled
def _turn_labels(
    words: Array,
    hidden: Array,
    has_unknown: bool,
    known_word: int,
    height: int,
    width: int,
    start: Array,
    by_row: Array,
    by_column: Array,
    present: Array,
    known: Array,
) -> None:
    """Take the nearest words for every pixel of one patch."""
    rows, columns = present.shape
    row_length = np.int32(width)
    numbers, place = np.arange(columns).astype(np.float64), np.empty(columns, dtype=np.int32)
    for r in range(rows):
        y, x = start[0] + r * by_row[0] + NEAREST, start[1] + r * by_row[1] + NEAREST
        a, e = _span(y, by_column[0], float(height), 0, columns)
        a, e = _span(x, by_column[1], float(width), a, e)
        at, number, present_row, known_row = place[a:e], numbers[a:e], present[r, a:e], known[r, a:e]
        for c in range(len(at)):
            row, column = np.int32(y + number[c] * by_column[0]), np.int32(x + number[c] * by_column[1])
            at[c] = np.int32(np.int32(row * row_length) + column)
        for c in range(len(at)):
            present_row[c] = words[np.uint32(at[c])]
        if has_unknown:
            for c in range(len(at)):
                known_row[c] = known_word & ~hidden[np.uint32(at[c])]
        else:
            for c in range(len(at)):
                known_row[c] = known_word


@_compiled
def _forget_outside(counted: Array, known: Array, first: int, last: int) -> None:
    """Make the pixels that do not count unknown."""
    for b in range(first, last):
        top, bottom, left, right = counted[b]
        for r in range(known.shape[1]):
            if top <= r < bottom:
                known[b, r, :left] = 0
                known[b, r, right:] = 0
            else:
                known[b, r] = 0


@_compiled
def _fill(out: Array, value: float) -> None:
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[r, c] = value


@_compiled
def _copy_plane(plane: Array, start: Array, by_row: Array, by_column: Array, out: Array) -> tuple[int, int, int, int]:
    """Copy a patch whose samples are voxels, mirrored and transposed as its steps say; return what is inside.

    That is the first row, the one after the last, the first column and the one after the last; the rest is left alone.
    """
    y, x = int(np.rint(start[0])), int(np.rint(start[1]))
    if abs(by_column[1]) > _HALF:
        row_step, column_step = int(np.rint(by_row[0])), int(np.rint(by_column[1]))
        top, bottom = _whole_span(y, row_step, plane.shape[0], out.shape[0])
        left, right = _whole_span(x, column_step, plane.shape[1], out.shape[1])
        for r in range(top, bottom):
            _copy_row(plane[y + r * row_step], x + left * column_step, column_step, out[r, left:right])
    else:
        row_step, column_step = int(np.rint(by_row[1])), int(np.rint(by_column[0]))
        top, bottom = _whole_span(x, row_step, plane.shape[1], out.shape[0])
        left, right = _whole_span(y, column_step, plane.shape[0], out.shape[1])
        _copy_columns(plane, y, x, column_step, row_step, (top, bottom), (left, right), out)
    return top, bottom, left, right


@_compiled
def _whole_span(start: int, step: int, length: int, count: int) -> tuple[int, int]:
    """Find the samples i of ``count`` for which ``0 <= start + i * step < length``; the step is 1 or -1."""
    first, last = (-start, length - start) if step > 0 else (start - length + 1, start + 1)
    first = min(max(first, 0), count)
    return first, max(min(last, count), first)


@_compiled
def _copy_row(line: Array, begin: int, step: int, row: Array) -> None:
    if step > 0:
        for c in range(len(row)):
            row[c] = line[np.uint64(begin + c)]
    else:
        for c in range(len(row)):
            row[c] = line[np.uint64(begin - c)]


@_compiled
def _copy_columns(
    plane: Array, y: int, x: int, y_step: int, x_step: int, rows: tuple[int, int], columns: tuple[int, int], out: Array
) -> None:
    """Transpose: rows of ``out`` lie along y. A fixed number of columns at a time is unrolled by the compiler."""
    whole = columns[0] + (columns[1] - columns[0]) // _BLOCK * _BLOCK
    for block in range(columns[0], whole, _BLOCK):
        for r in range(rows[0], rows[1]):
            at, row = np.uint64(x + r * x_step), out[r]
            for c in range(_BLOCK):
                row[np.uint64(block + c)] = plane[np.uint64(y + (block + c) * y_step), at]
    for r in range(rows[0], rows[1]):
        for c in range(whole, columns[1]):
            out[r, c] = plane[y + c * y_step, x + r * x_step]
