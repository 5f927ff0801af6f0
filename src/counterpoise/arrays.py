"""Names for the arrays that pass between modules.

Axes: ``epoch``, ``crop``, ``class_`` (the requested classes, in their order), ``count`` (TP, FP, FN),
``z y x`` (voxels), ``batch``, ``row column`` (pixels of a patch).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

__all__ = ["ClassWeights", "CropCounts", "Frequencies", "Scores", "Vector3"]

Vector3 = tuple[float, float, float]
"""A position or size along z, y, x; the unit is in the name of the variable."""

CropCounts = Int[np.ndarray, "crop class_ 3"]
"""True positive, false positive and false negative voxels, counted where the class is known."""

Frequencies = Float[np.ndarray, " class_"]
"""Present over known volume, in [0, 1]; NaN where the class is annotated nowhere."""

Scores = Float[np.ndarray, "*batch class_"]
"""A score in [0, 1] per class, higher is better; NaN where there is none."""

ClassWeights = Mapping[str, float]
"""Class name to the factor of its loss."""
