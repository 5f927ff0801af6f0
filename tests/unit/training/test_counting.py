"""Counts of outcomes and of probabilities against loops in NumPy, and the memory that they take."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from counterpoise.metrics.thresholds import BINS, HALF, counts_by_threshold
from counterpoise.training.counting import count_by_probability, count_outcomes

WORDS = {1: torch.uint8, 8: torch.uint8, 9: torch.int16, 16: torch.int16, 32: torch.int32, 64: torch.int64}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def example(classes: int, seed: int, shape: tuple[int, int, int] = (3, 7, 5)) -> tuple[Tensor, Tensor, Tensor]:
    """Draw logits, some at a threshold or not a number at all, and words in which every bit is set somewhere."""
    generator = np.random.default_rng([classes, seed])
    batch, rows, columns = shape
    logits = generator.normal(0.0, 3.0, (batch, classes, rows, columns)).astype(np.float32)
    odd = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, math.log(3.0), -math.log(3.0)], dtype=np.float32)
    chosen = generator.random(logits.shape) < 0.3
    logits[chosen] = generator.choice(odd, int(chosen.sum()))
    words = [
        torch.from_numpy(generator.integers(0, 1 << min(classes, 63), shape, dtype=np.uint64, endpoint=True).view("i8"))
        for _ in range(2)
    ]
    if classes == 64:
        words = [word * 2 + torch.from_numpy(generator.integers(0, 2, shape)) for word in words]
    present, known = (word.to(WORDS[classes]) for word in words)
    return torch.from_numpy(logits), present, known


def bit(words: Tensor, c: int) -> np.ndarray:
    """Return where bit c of a word is set, by Python's own integers."""
    found = [(int(word) >> c) & 1 == 1 for word in words.flatten().tolist()]
    return np.array(found).reshape(words.shape)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("classes", WORDS)
def test_outcomes_are_those_of_a_loop_over_classes(classes: int, layout: torch.memory_format) -> None:
    logits, present, known = example(classes, 0)
    found = count_outcomes(logits.contiguous(memory_format=layout), present, known)
    assert found.dtype == torch.int64
    for c in range(classes):
        predicted, truth, certain = logits[:, c].numpy() > 0, bit(present, c), bit(known, c)
        expected = [
            (predicted & truth & certain).sum((1, 2)),
            (predicted & ~truth & certain).sum((1, 2)),
            (~predicted & truth & certain).sum((1, 2)),
        ]
        assert np.array_equal(found[:, c].numpy(), np.stack(expected, axis=1)), c
        assert np.all(certain.any((1, 2)))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("classes", WORDS)
def test_probabilities_are_counted_as_by_comparing_with_every_threshold(
    classes: int, layout: torch.memory_format
) -> None:
    logits, present, known = example(classes, 1)
    found = count_by_probability(logits.contiguous(memory_format=layout), present, known)
    thresholds = np.array([math.log(k / (BINS - k)) for k in range(1, BINS)]).astype(np.float32)
    for c in range(classes):
        values = logits[:, c].numpy()
        bins = (values[..., None] > thresholds).sum(-1)  # NaN is above none
        truth, certain = bit(present, c), bit(known, c)
        for b in range(len(values)):
            expected = np.zeros((2, BINS), dtype=np.int64)
            np.add.at(expected, (truth[b][certain[b]].astype(int), bins[b][certain[b]]), 1)
            assert np.array_equal(found[b, c].view(2, BINS).numpy(), expected), (b, c)


def test_both_agree_at_one_half() -> None:
    logits, present, known = example(9, 2)
    histogram = count_by_probability(logits, present, known).view(3, 9, 2, BINS).numpy()
    assert np.array_equal(counts_by_threshold(histogram)[HALF], count_outcomes(logits, present, known).numpy())


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remember the bytes of the largest tensor that an operator has made."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and not any(
            isinstance(arg, Tensor) and arg.untyped_storage().data_ptr() == out.untyped_storage().data_ptr()
            for arg in args
        ):
            self.bytes = max(self.bytes, out.untyped_storage().nbytes())
        return out


@pytest.mark.parametrize("count", [count_outcomes, count_by_probability])
def test_no_number_is_kept_per_pixel_and_class(count: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    logits, present, known = example(64, 3, shape=(2, 100, 120))
    with _Largest() as largest:
        count(logits, present, known)
    assert 0 < largest.bytes <= 8 * 2 * 100 * 120
