"""Sums and gradient of the Tversky loss on the CPU: compiled loops over label words, no planes in between.

A patch is cut into blocks of pixels, and every block has sums of its own that are added in a fixed order: the result
has the same bits whatever the number of threads. Inside a block a chunk of one class at a time is copied to where it
stays in the first cache; from there on the memory layout of the logits no longer matters.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from counterpoise.compiled import compiled

__all__ = ["LogitLayout", "gradient_of_words", "sums_of_words"]

Array = np.ndarray[Any, Any]
Scalar = Any
"""A NumPy scalar of 32 bits, or Python's number for it."""

_BLOCK = 16_384
"""Pixels that share a sum: few enough that a single large patch still keeps every thread busy."""

_CHUNK = 1024
"""Pixels at a time: scratch of 12 KiB; so few terms in float32 that rounding stays below 1e-6 of the sum."""

_WORTH_A_THREAD = 1 << 18
"""Logits below which handing work to threads costs more than it saves."""

# With fused multiply-adds; the second lets a sum be split over vector lanes. NaN and infinity stay.
# numpy's error model: no test for a division by zero, which would keep loops from being vectorised.
_compiled = compiled(fastmath={"contract", "nsz"}, error_model="numpy")
_compiled_reordered = compiled(fastmath={"contract", "nsz", "reassoc"}, error_model="numpy")


@dataclass(frozen=True)
class LogitLayout:
    """Where the logit of (patch, class, pixel) stands in flat memory: the sum of index times step.

    Parameters
    ----------
    patches, classes, pixels : int
        Shape, space flattened.
    patch_step, class_step, pixel_step : int
        Distance in elements between neighbours.
    """

    patches: int
    classes: int
    pixels: int
    patch_step: int
    class_step: int
    pixel_step: int

    @property
    def blocks(self) -> int:
        """Parts that are computed independently."""
        return self.patches * -(-self.pixels // _BLOCK)

    def steps(self) -> tuple[int, int, int]:
        """Return the three distances."""
        return self.patch_step, self.class_step, self.pixel_step


def sums_of_words(logits: Array, present: Array, known: Array, layout: LogitLayout, *, threads: int) -> Array:
    """Sum probabilities over all pixels where a class is known.

    Parameters
    ----------
    logits : float32 array, flat
        In the order that ``layout`` says.
    present, known : integer array, shape (patches, pixels)
        Label words: bit c is set where class c is present / known.
    layout : LogitLayout
        Shape and steps of the logits.
    threads : int
        At most this many; the result does not depend on it.

    Returns
    -------
    float64 array, shape (3, classes)
        True positive, false positive, false negative: p where present, p where absent, 1 - p where present.
    """
    sums = np.zeros((layout.blocks, layout.classes, 3))

    def part(first: int, last: int) -> None:
        _sum_blocks(logits, present, known, layout.steps(), first, last, sums)

    _in_parts(part, layout, threads)
    total: Array = sums.sum(axis=0).T
    return total


def gradient_of_words(
    logits: Array,
    present: Array,
    known: Array,
    layout: LogitLayout,
    by_absent: Array,
    by_present: Array,
    out: Array,
    *,
    threads: int,
) -> None:
    """Write the derivative by every logit.

    Parameters
    ----------
    logits, present, known, layout, threads
        As for :func:`sums_of_words`.
    by_absent, by_present : float32 array, shape (classes,)
        Derivative of the loss by the probability at a pixel where the class is absent, where it is present.
    out : float32 array, flat
        Written in the order of the logits; 0 where the class is unknown.
    """

    def part(first: int, last: int) -> None:
        _differentiate_blocks(logits, present, known, layout.steps(), by_absent, by_present, first, last, out)

    _in_parts(part, layout, threads)


def _in_parts(part: Callable[[int, int], None], layout: LogitLayout, threads: int) -> None:
    """Call ``part(first, last)`` so that every block is done once."""
    if threads == 1 or layout.patches * layout.classes * layout.pixels < _WORTH_A_THREAD:
        part(0, layout.blocks)
        return
    edges = [layout.blocks * k // threads for k in range(threads + 1)]
    for done in [_pool(threads).submit(part, first, last) for first, last in itertools.pairwise(edges)]:
        done.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="loss")


@_compiled
def _sum_blocks(
    logits: Array, present: Array, known: Array, steps: tuple[int, int, int], first: int, last: int, out: Array
) -> None:
    """Fill ``out[first:last]``, shape (blocks, classes, 3); it holds zeros."""
    classes, pixels = out.shape[1], known.shape[1]
    per_patch = (pixels + _BLOCK - 1) // _BLOCK
    x = np.empty(_CHUNK, np.float32)
    absent_bits, present_bits = np.empty(_CHUNK, np.int32), np.empty(_CHUNK, np.int32)
    for block in range(first, last):
        patch, begin = block // per_patch, block % per_patch * _BLOCK
        for start in range(begin, min(begin + _BLOCK, pixels), _CHUNK):
            count = min(_CHUNK, begin + _BLOCK - start, pixels - start)
            for base in range(0, classes, 32):
                _load_words(present, known, patch, start, base, count, absent_bits, present_bits)
                for c in range(base, min(base + 32, classes)):
                    origin = patch * steps[0] + c * steps[1] + start * steps[2]
                    for i in range(count):
                        x[i] = logits[origin + i * steps[2]]
                    true_pos, false_pos, false_neg = _sum_chunk(
                        x, absent_bits, present_bits, np.int32(1 << (c - base)), count
                    )
                    out[block, c, 0] += true_pos
                    out[block, c, 1] += false_pos
                    out[block, c, 2] += false_neg


@_compiled
def _differentiate_blocks(
    logits: Array,
    present: Array,
    known: Array,
    steps: tuple[int, int, int],
    by_absent: Array,
    by_present: Array,
    first: int,
    last: int,
    out: Array,
) -> None:
    """Write the derivative by the logits of blocks ``first`` to ``last``."""
    classes, pixels = by_present.size, known.shape[1]
    per_patch = (pixels + _BLOCK - 1) // _BLOCK
    x = np.empty(_CHUNK, np.float32)
    absent_bits, present_bits = np.empty(_CHUNK, np.int32), np.empty(_CHUNK, np.int32)
    for block in range(first, last):
        patch, begin = block // per_patch, block % per_patch * _BLOCK
        for start in range(begin, min(begin + _BLOCK, pixels), _CHUNK):
            count = min(_CHUNK, begin + _BLOCK - start, pixels - start)
            for base in range(0, classes, 32):
                _load_words(present, known, patch, start, base, count, absent_bits, present_bits)
                for c in range(base, min(base + 32, classes)):
                    origin = patch * steps[0] + c * steps[1] + start * steps[2]
                    for i in range(count):
                        x[i] = logits[origin + i * steps[2]]
                    _differentiate_chunk(
                        x, absent_bits, present_bits, np.int32(1 << (c - base)), count, by_absent[c], by_present[c]
                    )
                    for i in range(count):
                        out[origin + i * steps[2]] = x[i]


@_compiled
def _load_words(
    present: Array,
    known: Array,
    patch: int,
    start: int,
    base: int,
    count: int,
    absent_bits: Array,
    present_bits: Array,
) -> None:
    """Copy the bits of classes ``base`` to ``base + 31``: known to be absent, known to be present."""
    for i in range(count):
        known_word, present_word = known[patch, start + i], present[patch, start + i]
        absent_bits[i] = np.int32((known_word & ~present_word) >> base)
        present_bits[i] = np.int32((known_word & present_word) >> base)


@_compiled_reordered
def _sum_chunk(
    x: Array, absent_bits: Array, present_bits: Array, bit: Scalar, count: int
) -> tuple[Scalar, Scalar, Scalar]:
    """Sum over one class of a chunk; unknown pixels are multiplied by 0, so that only a logit that is NaN shows."""
    zero, one = np.float32(0.0), np.float32(1.0)
    true_pos, false_pos, false_neg = zero, zero, zero
    for i in range(count):
        absent = one if absent_bits[i] & bit else zero
        present = one if present_bits[i] & bit else zero
        e = _exp_of_minus_abs(x[i])
        larger = one / (one + e)
        smaller = e * larger
        p, q = (larger, smaller) if x[i] >= 0 else (smaller, larger)  # q is 1 - p without cancellation
        true_pos += p * present
        false_pos += p * absent
        false_neg += q * present
    return true_pos, false_pos, false_neg


@_compiled
def _differentiate_chunk(
    x: Array, absent_bits: Array, present_bits: Array, bit: Scalar, count: int, by_absent: Scalar, by_present: Scalar
) -> None:
    """Replace logits by derivatives: of the loss by p, times that of the sigmoid, p (1 - p)."""
    zero, one = np.float32(0.0), np.float32(1.0)
    for i in range(count):
        absent = one if absent_bits[i] & bit else zero
        present = one if present_bits[i] & bit else zero
        e = _exp_of_minus_abs(x[i])
        x[i] = (by_absent * absent + by_present * present) * (e / ((one + e) * (one + e)))


@_compiled
def _exp_of_minus_abs(x: Scalar) -> Scalar:
    """Compute exp(-|x|) in float32 to 1e-7 of its value, without a branch or a call; 0 below exp(-87.7).

    Range reduction x = n ln 2 + r with ln 2 in two parts, and the polynomial of Cephes' ``expf`` for exp(r) [1]_.

    References
    ----------
    .. [1] S. L. Moshier, Cephes mathematical library, single precision, ``expf`` (netlib).
    """
    y = -abs(x)
    y = np.float32(-88.0) if y < np.float32(-88.0) else y  # noqa: FURB136 - in this order, and no other, a NaN stays
    # Added to 1.5 * 2^23 a small number is rounded to an integer, which then stands in the lowest bits.
    shifted = y * np.float32(1.4426950408889634) + np.float32(12582912.0)
    n = shifted - np.float32(12582912.0)
    r = y - n * np.float32(0.693359375)
    r -= n * np.float32(-2.12194440e-4)
    q = np.float32(1.9875691500e-4)
    q = q * r + np.float32(1.3981999507e-3)
    q = q * r + np.float32(8.3334519073e-3)
    q = q * r + np.float32(4.1665795894e-2)
    q = q * r + np.float32(1.6666665459e-1)
    q = q * r + np.float32(5.0000001201e-1)
    q = q * (r * r) + r + np.float32(1.0)
    power = np.int32((np.float32(shifted).view(np.int32) + np.int32(127)) << np.int32(23)).view(np.float32)
    return q * power
