"""Class weighting strategies: a rule each, from exact frequencies to one factor per class."""

from counterpoise.weights.classic import CLASSIC, MANUAL_WEIGHTS
from counterpoise.weights.strategy import (
    ClassStatistics,
    DerivedWeights,
    NotApplicableError,
    Strategy,
    derive_weights,
    find_strategy,
    known_strategies,
    register_strategy,
)

__all__ = [
    "CLASSIC",
    "MANUAL_WEIGHTS",
    "ClassStatistics",
    "DerivedWeights",
    "NotApplicableError",
    "Strategy",
    "derive_weights",
    "find_strategy",
    "known_strategies",
    "register_strategy",
]
