"""The stages before the first trial, and the protocol of an observer that shows them."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from counterpoise.store import StoreRequest

__all__ = ["SILENT", "PreflightObserver", "Stage"]


class Stage(StrEnum):
    """What is being done before the first trial; the value is shown."""

    INPUTS = "reading the crops"
    STORE = "opening the voxel store"
    DESIGN = "deriving weights and validation tiles"
    FIRST_STEPS = "trying the first steps"
    SMALL_BATCH = "measuring steps of a small batch"
    MEASURING = "measuring training steps in every slot"


class PreflightObserver(Protocol):
    """Observer of what comes before the first trial; receives events."""

    def began(self, stage: Stage) -> None:
        """Receive the beginning of a stage; the one before has ended."""

    def building_store(self, request: StoreRequest) -> Callable[[int], object]:
        """Receive the request before a store is opened or built; return a function that receives decoded voxels."""

    def told(self, line: str) -> None:
        """Receive a line for the user."""


class _Silent:
    """An observer that shows nothing."""

    def began(self, stage: Stage) -> None:
        """Ignore it."""

    def building_store(self, request: StoreRequest) -> Callable[[int], object]:  # noqa: ARG002 - the protocol's
        """Ignore it, and what is decoded."""
        return lambda _: None

    def told(self, line: str) -> None:
        """Ignore it."""


SILENT: PreflightObserver = _Silent()
"""Shows nothing."""
