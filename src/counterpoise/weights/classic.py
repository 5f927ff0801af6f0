"""The six classic strategies, under the reference experiment's names, formulas and clamps.

With f the frequency of a class (present / known volume) and m the median of f over the classes. A frequency may
be exactly 0 or exactly 1, and so may the median; every formula survives both.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float

from counterpoise.weights.strategy import ClassStatistics, NotApplicableError, register_strategy

__all__ = ["CLASSIC", "MANUAL_WEIGHTS"]

CLASSIC: Final = (
    "weight_uniform",
    "weight_manual",
    "weight_inv_freq",
    "weight_sqrt_inv",
    "weight_log_inv",
    "weight_effective_num",
)

MANUAL_WEIGHTS: Final = {"nuc": 1.8, "mito_mem": 1.3, "er_mem": 1.6, "pm": 1.6, "golgi_mem": 1.1}
"""Weights the reference experiment chose by hand for its five classes."""

SMALLEST_FREQUENCY: Final = 1e-8
"""Floor under a frequency before it divides (the reference's value)."""

EFFECTIVE_NUMBER_BETA: Final = 0.999

Weights = Float[np.ndarray, " class_"]


def _floored(statistics: ClassStatistics) -> tuple[Weights, float]:
    """Return the frequencies with the floor under them, and their median as it is."""
    f = statistics.frequencies
    return np.maximum(f, SMALLEST_FREQUENCY), float(np.median(f))


@register_strategy("weight_uniform", reference_key="uniform", uses_frequencies=False)
def uniform(statistics: ClassStatistics) -> Weights:
    """1 for every class: the baseline."""
    return np.ones(len(statistics.classes))


@register_strategy("weight_manual", reference_key="manual_current", uses_frequencies=False)
def manual(statistics: ClassStatistics) -> Weights:
    """Weights chosen by hand, from the configuration or the reference's own for its five classes."""
    table = {**MANUAL_WEIGHTS, **statistics.manual}
    missing = [name for name in statistics.classes if name not in table]
    if missing:
        raise NotApplicableError(f"no manual weight for {', '.join(missing)} (set arms.manual_weights to include it)")
    return np.array([table[name] for name in statistics.classes], dtype=np.float64)


@register_strategy("weight_inv_freq", reference_key="inverse_frequency", bounds=(0.5, 5.0))
def inverse_frequency(statistics: ClassStatistics) -> Weights:
    """Median frequency over frequency, m / f, clamped to 0.5 .. 5."""
    f, m = _floored(statistics)
    weights: Weights = m / f
    return weights


@register_strategy("weight_sqrt_inv", reference_key="sqrt_inverse_frequency", bounds=(0.5, 3.0))
def sqrt_inverse_frequency(statistics: ClassStatistics) -> Weights:
    """Square root of m / f, clamped to 0.5 .. 3."""
    f, m = _floored(statistics)
    return np.sqrt(m / f)


@register_strategy("weight_log_inv", reference_key="log_inverse_frequency", bounds=(0.5, 3.0))
def log_inverse_frequency(statistics: ClassStatistics) -> Weights:
    """log(1 + 1/f) / log(1 + 1/m), clamped to 0.5 .. 3; a median of 0 is floored like a frequency."""
    f, m = _floored(statistics)
    weights: Weights = np.log1p(1.0 / f) / np.log1p(1.0 / max(m, SMALLEST_FREQUENCY))
    return weights


@register_strategy("weight_effective_num", reference_key="effective_number", bounds=(0.5, 3.0))
def effective_number(statistics: ClassStatistics) -> Weights:
    r"""2 e / max(e) with e = (1 - b) / (1 - b^n), b = 0.999, n the positive voxels; clamped to 0.5 .. 3.

    A class without a positive voxel has e = 1. With thousands of voxels :math:`b^n` vanishes and every class has
    the same e, so this is uniform times 2 on any real volume: the duplicate guard says so.

    References
    ----------
    .. [1] Y. Cui, M. Jia, T.-Y. Lin, Y. Song, S. Belongie, "Class-balanced loss based on effective number of
       samples", CVPR 2019 (arXiv:1901.05555).
    """
    b, n = EFFECTIVE_NUMBER_BETA, statistics.positives.astype(np.float64)
    covered = 1.0 - np.power(b, n)
    e = np.where(n > 0, (1.0 - b) / np.where(n > 0, covered, 1.0), 1.0)
    weights: Weights = 2.0 * e / e.max()
    return weights
