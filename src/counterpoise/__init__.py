"""Find out which class weighting gives the best Dice on annotated EM volumes, and whether the data can tell.

The public names that compute with torch are imported on first use, so that ``import counterpoise`` stays quick.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from counterpoise.losses.tversky import TverskyLoss
    from counterpoise.models.unet import UNet2D

__all__ = ["TverskyLoss", "UNet2D", "__version__"]

__version__ = "0.1.0"

OWN_MODULES = "COUNTERPOISE_MODULES"
"""Environment variable with the folders of a user's own modules. They are searched last, so that a file of theirs that
is called like a module of the standard library is not imported in its place."""

if _own := os.environ.get(OWN_MODULES, "").split(os.pathsep):
    sys.path.sort(key=_own.__contains__)  # stable: False before True


def __getattr__(name: str) -> object:
    if name == "TverskyLoss":
        from counterpoise.losses.tversky import TverskyLoss

        return TverskyLoss
    if name == "UNet2D":
        from counterpoise.models.unet import UNet2D

        return UNet2D
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
