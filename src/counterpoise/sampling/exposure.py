"""The exposure ledger: exact counts of what the batches of an epoch show, class by class."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int, Integer
from torch import Tensor

from counterpoise.compiled import compiled
from counterpoise.frequencies.exposure import ClassExposure, Exposure

__all__ = ["ExposureLedger", "count_pixels"]


class ExposureLedger:
    """Adds up batch after batch where the batches lie; nothing leaves a device before :meth:`total` is asked for.

    Parameters
    ----------
    classes : tuple of str
        Names, in the order of the bits of a label word.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self._classes = classes
        self._patches = 0
        self._sums: Tensor | None = None

    def add(self, present: Integer[Tensor, "batch row column"], known: Integer[Tensor, "batch row column"]) -> None:
        """Count one batch; its words may be overwritten afterwards."""
        pixels = count_pixels(present, known, len(self._classes))
        sums = torch.cat([(pixels > 0).sum(dim=0), pixels.sum(dim=0)], dim=1)
        self._patches += len(pixels)
        self._sums = sums if self._sums is None else self._sums + sums

    def total(self) -> Exposure:
        """Return what was shown so far."""
        rows = [(0, 0, 0, 0)] * len(self._classes) if self._sums is None else self._sums.tolist()
        return Exposure(
            self._patches, {name: ClassExposure(*row) for name, row in zip(self._classes, rows, strict=True)}
        )


def count_pixels(
    present: Integer[Tensor, "batch row column"], known: Integer[Tensor, "batch row column"], classes: int
) -> Int[Tensor, "batch class_ 2"]:
    """Count known and positive pixels of every patch and class; a pixel is positive where it is present and known.

    Parameters
    ----------
    present, known : integer tensor, shape (batch, rows, columns)
        Label words: bit c belongs to class c.
    classes : int
        Bits to look at.

    Returns
    -------
    int64 tensor, shape (batch, classes, 2), on the device of the words
        Known pixels, positive pixels. In host memory a compiled loop counts, elsewhere torch; both are exact.
    """
    if present.device.type == "cpu":
        pixels = np.empty((len(present), classes, 2), dtype=np.int64)
        _count_words(present.numpy(), known.numpy(), pixels)
        return torch.from_numpy(pixels)
    return _count_with_torch(present, known, classes)


def _count_with_torch(present: Tensor, known: Tensor, classes: int) -> Tensor:
    positive = present & known
    columns = [
        torch.stack([((words >> c) & 1).sum(dim=(1, 2), dtype=torch.int64) for words in (known, positive)], dim=1)
        for c in range(classes)
    ]
    return torch.stack(columns, dim=1)


@compiled()
def _count_words(present: np.ndarray, known: np.ndarray, pixels: np.ndarray) -> None:
    """Count bit by bit: the inner loop has no branch, so that it runs over many words at once."""
    for b in range(present.shape[0]):
        present_words, known_words = present[b].ravel(), known[b].ravel()
        for c in range(pixels.shape[1]):
            count_known, count_positive = 0, 0
            for i in range(known_words.size):
                bit = (known_words[i] >> c) & 1
                count_known += bit
                count_positive += bit & (present_words[i] >> c)
            pixels[b, c, 0] = count_known
            pixels[b, c, 1] = count_positive
