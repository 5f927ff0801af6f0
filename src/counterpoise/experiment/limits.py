"""What no experiment means: paths that no system takes, patches that no memory holds. Slips of the pen, found early."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from counterpoise.experiment.explain import broken
from counterpoise.text import counted

__all__ = ["MOST_PATCH_VALUES", "Count", "NonNegative", "Positive", "UsablePath", "require_possible_patch"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]

MOST_PATCH_VALUES = 2**26
"""Of one patch with all its sections: 8192 x 8192 pixels. The network's first layer makes 64 times as many."""

_LONGEST_NAME, _LONGEST_PATH = 255, 4000
"""Bytes; Linux's limits are 255 and 4096, and names are added to these paths."""


def _require_usable(path: Path) -> Path:
    name = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if "\0" in str(path) or name > _LONGEST_NAME or len(os.fsencode(path)) > _LONGEST_PATH:
        rule = (
            f"a path without null characters, of at most {_LONGEST_PATH} bytes with at most {_LONGEST_NAME} in each "
            "of its parts"
        )
        raise broken(rule, str(path))
    return path


UsablePath = Annotated[Path, AfterValidator(_require_usable)]
"""A path that a file system can be asked about."""


def require_possible_patch(patch_shape: Sequence[int], slices: int) -> None:
    """Refuse a patch of more values than any memory holds.

    Raises
    ------
    PydanticCustomError
        To be raised in a validator of the configuration.
    """
    if math.prod(patch_shape) * slices > MOST_PATCH_VALUES:
        rule = f"at most {MOST_PATCH_VALUES} pixels in all sections of a patch together"
        found = f"{' x '.join(map(str, patch_shape))} pixels in {counted(slices, 'section')}"
        raise broken(rule, found, remedy="lower sampling.patch_shape or sampling.slices", key="sampling.patch_shape")
