"""What a weighting strategy is, and the register of those there are."""

from __future__ import annotations

import importlib
import math
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

from counterpoise.arrays import Frequencies
from counterpoise.errors import ConfigError, suggest
from counterpoise.frequencies.table import FrequencyTable

__all__ = [
    "ClassStatistics",
    "DerivedWeights",
    "NotApplicableError",
    "Strategy",
    "derive_weights",
    "find_strategy",
    "register_strategy",
]


@dataclass(frozen=True)
class ClassStatistics:
    """What strategies may look at: the train split, class by class.

    Parameters
    ----------
    classes : tuple of str
        Names, in the order of the arrays.
    frequencies : float64 array, shape (classes,)
        Present / known volume, in [0, 1].
    positives : int64 array, shape (classes,)
        Present voxels.
    manual : mapping
        Weights chosen by hand, from the configuration.
    """

    classes: tuple[str, ...]
    frequencies: Frequencies
    positives: Int[np.ndarray, " class_"]
    manual: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, table: FrequencyTable, manual: Mapping[str, float] | None = None) -> ClassStatistics:
        """Take what strategies may use from exact counts; a class annotated nowhere in train has frequency 0."""
        return cls(
            table.classes,
            np.nan_to_num(table.frequencies("train"), nan=0.0),
            np.array([table.total(name, "train").present for name in table.classes], dtype=np.int64),
            manual or {},
        )


class NotApplicableError(Exception):
    """A strategy has no weights for these classes; the text says why. The arm is left out, with this reason."""


Rule = Callable[[ClassStatistics], Float[np.ndarray, " class_"]]


@dataclass(frozen=True)
class Strategy:
    """One weighting strategy: a rule and the range its weights are clamped to.

    Parameters
    ----------
    name : str
        Name of the arm.
    reference_key : str
        Key under which ``class_frequencies.json`` holds its weights.
    bounds : (float, float)
        Inclusive clamp on the weights.
    rule : callable
        Unclamped weights from the class statistics.
    uses_frequencies : bool
        Whether the weights follow from how frequent classes are: what a hypothesis calls data-driven.
    """

    name: str
    reference_key: str
    bounds: tuple[float, float]
    rule: Rule
    uses_frequencies: bool = True

    @property
    def summary(self) -> str:
        """Return the first line of the rule's docstring."""
        return (self.rule.__doc__ or self.name).strip().splitlines()[0]


@dataclass(frozen=True)
class DerivedWeights:
    """The weights of one strategy for one set of classes, and the classes whose weight was clamped."""

    strategy: str
    weights: Mapping[str, float]
    clamped: tuple[str, ...]


_REGISTER: dict[str, Strategy] = {}


def register_strategy(
    name: str,
    *,
    reference_key: str | None = None,
    bounds: tuple[float, float] = (0.0, math.inf),
    uses_frequencies: bool = True,
) -> Callable[[Rule], Rule]:
    """Put a rule into the register (decorator).

    Parameters
    ----------
    name : str
        Name of the arm.
    reference_key : str, optional
        Key in ``class_frequencies.json``; the name itself by default.
    bounds : (float, float)
        Inclusive clamp.
    uses_frequencies : bool
        Whether the rule looks at how frequent classes are.
    """

    def put(rule: Rule) -> Rule:
        _REGISTER[name] = Strategy(name, reference_key or name, bounds, rule, uses_frequencies)
        return rule

    return put


def known_strategies() -> tuple[str, ...]:
    """Name the registered strategies, in the order of their registration."""
    return tuple(_REGISTER)


def find_strategy(name: str) -> Strategy:
    """Look a strategy up by name, or import it by ``module:function``.

    Raises
    ------
    ConfigError
        If there is no such strategy; the error lists the known ones.
    """
    if name in _REGISTER:
        return _REGISTER[name]
    module, _, function = name.partition(":")
    if function:
        try:
            rule = _import_rule(module, function)
        except (ImportError, AttributeError, TypeError, ValueError, SyntaxError) as error:
            raise ConfigError(
                f"strategy {name!r} cannot be imported",
                expected="module:function, importable from where you run",
                found=str(error),
                remedy="check the spelling, and that the module is on PYTHONPATH",
            ) from error
        return Strategy(function, function, (0.0, math.inf), rule)
    raise ConfigError(
        f"unknown strategy {name!r}",
        expected="a registered strategy, or module:function",
        found=repr(name),
        remedy=suggest(name, known_strategies()),
    )


def _import_rule(module: str, function: str) -> Rule:
    rule: Rule = getattr(importlib.import_module(module), function)
    if not callable(rule):
        raise TypeError(f"{function} is {type(rule).__name__}, not a function")
    return rule


def derive_weights(
    names: Iterable[str], statistics: ClassStatistics
) -> tuple[tuple[DerivedWeights, ...], tuple[str, ...]]:
    """Compute the weights of several strategies.

    Parameters
    ----------
    names : iterable of str
        Strategies, registered or ``module:function``.
    statistics : ClassStatistics
        The train split.

    Returns
    -------
    derived : tuple of DerivedWeights
        One per strategy that applies, in the order asked for.
    notes : tuple of str
        One sentence per strategy that does not apply and is left out.

    Raises
    ------
    ConfigError
        If a strategy is unknown, has the name of another, or returns something other than one number per class, none
        negative and not all 0.
    """
    derived: list[DerivedWeights] = []
    notes: list[str] = []
    for name in names:
        strategy = find_strategy(name)
        if any(strategy.name == other.strategy for other in derived):
            raise ConfigError(
                f"two strategies are called {strategy.name}",
                expected="a different name for every arm: the folder of its trials has that name",
                found=f"{strategy.name} again in {name}",
                remedy="rename one of the functions",
            )
        try:
            returned = strategy.rule(statistics)
        except NotApplicableError as reason:
            notes.append(f"{strategy.name} is left out: {reason}")
            continue
        except Exception as error:  # a user's own code may raise anything; whose it is and where is what helps
            place = traceback.extract_tb(error.__traceback__)[-1]
            raise ConfigError(
                f"strategy {name} failed",
                expected="one number per class",
                found=f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})",
                remedy="correct the function; it is called with a ClassStatistics",
            ) from error
        raw = _as_numbers(returned)
        low, high = strategy.bounds
        weights = np.clip(raw, low, high)
        usable = np.all(np.isfinite(weights) & (raw >= 0)) and np.any(weights > 0)
        if weights.shape != (len(statistics.classes),) or not usable:
            raise ConfigError(
                f"strategy {strategy.name} does not return weights",
                expected=f"{len(statistics.classes)} finite numbers, none negative and not all 0",
                found=str(returned),
                remedy="correct the strategy's rule",
            )
        clamped = tuple(c for c, r in zip(statistics.classes, raw, strict=True) if not low <= r <= high or np.isnan(r))
        named = dict(zip(statistics.classes, weights.tolist(), strict=True))
        derived.append(DerivedWeights(strategy.name, named, clamped))
    return tuple(derived), tuple(notes)


def _as_numbers(returned: object) -> Float[np.ndarray, "*shape"]:
    """Read what a rule returned as an array; what is not numbers becomes one NaN."""
    try:
        numbers: np.ndarray = np.asarray(returned, dtype=np.float64)
    except (TypeError, ValueError):
        return np.array(np.nan)
    return numbers
