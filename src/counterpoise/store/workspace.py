"""Memory of one thread that decodes crops, and the words of a bar in it."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

__all__ = ["BarWords", "Workspace"]


class Workspace:
    """Memory that one thread uses again and again: asking the system for pages costs as much as filling them."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, np.dtype[Any]], np.ndarray] = {}

    def empty(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Return an array for one purpose, its content undefined; the one returned before is overwritten."""
        size = math.prod(shape)
        kept = self._kept.get((name, dtype))
        if kept is None or kept.size < size:
            kept = self._kept[name, dtype] = np.empty(size, dtype)
        return kept[:size].reshape(shape)

    def zeros(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Return an array for one purpose, full of zeros."""
        array = self.empty(name, shape, dtype)
        array[...] = 0
        return array


class BarWords:
    """The words of a bar or chunk; those of what is unknown are made when something is (which is rare).

    ``present`` is undefined until it is written.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], workspace: Workspace, name: str = "bar") -> None:
        self._memory = partial(workspace.zeros, f"{name} of unknown", shape, dtype)
        self._unknown: np.ndarray | None = None
        self.present = workspace.empty(f"{name} of present", shape, dtype)

    @property
    def has_unknown(self) -> bool:
        """Return whether something is unknown, or may be."""
        return self._unknown is not None

    @property
    def unknown(self) -> np.ndarray:
        """Return the words of what is unknown, zeros at first."""
        if self._unknown is None:
            self._unknown = self._memory()
        return self._unknown
