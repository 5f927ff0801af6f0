r"""What every look at a growing experiment may cost: alpha, spent look by look (docs/verdict.md, looks).

Whoever looks at a verdict while seeds are added, and stops when he likes it, claims too much: each look is one more
chance to be wrong. Here a look spends a part of alpha by the function of Lan and DeMets [1]_ after O'Brien and Fleming
[2]_, very little early and nearly all at the planned end:

.. math:: \alpha^*(t) = 4 - 4 \Phi(z_{\alpha / 4} / \sqrt t), \qquad t = \mathrm{seeds} / \mathrm{planned\ maximum}

The level of a look follows from what was spent before it, by numerical integration over the scores that have crossed
no bound yet [3]_. How many looks there will be need not be known.

References
----------
.. [1] K. K. G. Lan and D. L. DeMets, "Discrete sequential boundaries for clinical trials", Biometrika 70, 1983.
.. [2] P. C. O'Brien and T. R. Fleming, "A multiple testing procedure for clinical trials", Biometrics 35, 1979.
.. [3] P. Armitage, C. K. McPherson and B. C. Rowe, "Repeated significance tests on accumulating data",
   J. R. Stat. Soc. A 132, 1969.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import scipy

__all__ = ["LookAt", "Spent", "drop_levels", "spend_alpha"]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(160)
_LEAST = 1e-12
"""Smallest level: what is left to spend may be nothing."""


class LookAt(NamedTuple):
    """What a look saw of a comparison: seeds both arms had finished, and the most that were planned at that time."""

    seeds: int
    planned: int


@dataclass(frozen=True)
class Spent:
    """What looks at one comparison cost.

    Parameters
    ----------
    level : float
        Nominal two-sided level of the last look: what its interval is made with.
    overall : float
        Chance that any of the looks makes a false claim; more than alpha only where seeds were added after all of
        alpha was spent.
    """

    level: float
    overall: float


def spend_alpha(looks: tuple[LookAt, ...], alpha: float) -> Spent:
    """Return the level of the last of some looks at a comparison.

    A look that sees no more seeds than one before it is the same look. One at more seeds than were ever planned, after
    all of alpha was spent, has the level it would have had if it had been planned; the overall error is then larger
    than alpha, and said.

    Parameters
    ----------
    looks : tuple of LookAt
        In the order they were taken; without any, nothing is spent.
    alpha : float
        Chance of any false claim about this comparison, in (0, 1).
    """
    growing: list[LookAt] = []
    for look in looks:
        if not growing or look.seeds > growing[-1].seeds:
            growing.append(look)
    return _spend(tuple(growing), alpha)


@lru_cache(maxsize=4096)
def _spend(looks: tuple[LookAt, ...], alpha: float) -> Spent:
    walk, spent, level = _Walk.start(two_sided=True), 0.0, alpha
    for number, look in enumerate(looks):
        target = _obrien_fleming(min(look.seeds / max(look.planned, look.seeds), 1.0), alpha)
        if target > spent + _LEAST:
            level = walk.level_of(look.seeds, target - spent)
        else:  # nothing is left
            level = _as_planned(tuple(at.seeds for at in looks[: number + 1]), look.planned, alpha)
        crossed, walk = walk.go_on(look.seeds, level)
        spent += crossed
    return Spent(level, spent)


def _as_planned(seeds: tuple[int, ...], planned: int, alpha: float) -> float:
    """Return the last level of looks all of which knew the maximum that is planned now."""
    return _levels(seeds, max(planned, seeds[-1]), alpha, _obrien_fleming, two_sided=True)[-1]


def drop_levels(seeds: tuple[int, ...], planned: int, alpha: float) -> tuple[float, ...]:
    r"""Return the one-sided levels at which a race drops arms: Pocock's, nearly the same at every look.

    .. math:: \alpha^*(t) = \alpha \log(1 + (e - 1) t)

    Parameters
    ----------
    seeds : tuple of int
        Seeds at the looks, ascending.
    planned : int
        The most seeds.
    alpha : float
        Chance that any of the looks drops an arm that is as good as the one that beats it.
    """
    return _levels(seeds, planned, alpha, _pocock, two_sided=False)


@lru_cache(maxsize=1024)
def _levels(
    seeds: tuple[int, ...], planned: int, alpha: float, function: Callable[[float, float], float], *, two_sided: bool
) -> tuple[float, ...]:
    walk, spent, levels = _Walk.start(two_sided=two_sided), 0.0, []
    for number in seeds:
        target = function(min(number / planned, 1.0), alpha)
        levels.append(walk.level_of(number, max(target - spent, _LEAST)))
        crossed, walk = walk.go_on(number, levels[-1])
        spent += crossed
    return tuple(levels)


def _obrien_fleming(fraction: float, alpha: float) -> float:
    return float(4 * scipy.stats.norm.sf(scipy.stats.norm.isf(alpha / 4) / math.sqrt(fraction)))


def _pocock(fraction: float, alpha: float) -> float:
    return alpha * math.log1p((math.e - 1) * fraction)


@dataclass(frozen=True, eq=False)
class _Walk:
    """A sum of standard normal differences, one per seed, that has crossed no bound so far.

    ``at`` and ``density`` are nodes and the density at them, times their quadrature weights.
    """

    seeds: int
    at: np.ndarray
    density: np.ndarray
    two_sided: bool

    @classmethod
    def start(cls, *, two_sided: bool) -> _Walk:
        """Return the walk before the first seed: at 0 for certain."""
        return cls(0, np.zeros(1), np.ones(1), two_sided)

    def level_of(self, seeds: int, crossing: float) -> float:
        """Find the nominal level at which the walk crosses a bound at so many seeds with this chance."""
        if self.seeds == 0:
            return crossing

        def excess(bound: float) -> float:
            return self._crossing(seeds, bound) - crossing

        highest = 12.0
        bound = highest if excess(highest) >= 0 else float(scipy.optimize.brentq(excess, 0.0, highest, xtol=1e-10))
        return max(self._level(bound), _LEAST)

    def go_on(self, seeds: int, level: float) -> tuple[float, _Walk]:
        """Return the chance of crossing the bound of a level, and the walk where it is not crossed."""
        bound = float(scipy.stats.norm.isf(level / 2 if self.two_sided else level))
        high = bound * math.sqrt(seeds)
        low = -high if self.two_sided else min(-8.0 * math.sqrt(seeds), -high)
        at = low + (_NODES + 1) * (high - low) / 2
        step = math.sqrt(seeds - self.seeds)
        density = scipy.stats.norm.pdf((at[:, None] - self.at) / step) @ self.density / step
        return self._crossing(seeds, bound), _Walk(seeds, at, density * _WEIGHTS * (high - low) / 2, self.two_sided)

    def _crossing(self, seeds: int, bound: float) -> float:
        high, step = bound * math.sqrt(seeds), math.sqrt(seeds - self.seeds)
        beyond = scipy.stats.norm.sf((high - self.at) / step)
        if self.two_sided:
            beyond = beyond + scipy.stats.norm.cdf((-high - self.at) / step)
        return float(beyond @ self.density)

    def _level(self, bound: float) -> float:
        return float(scipy.stats.norm.sf(bound)) * (2 if self.two_sided else 1)
