"""What a race will cost: simulated from the planned noise, by the rules of :mod:`counterpoise.statistics.race`.

For plans only: noise is drawn as normal, and of its estimate only the pooled variance varies. What races do cost,
through the rules themselves, is in docs/verdict-simulations.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from counterpoise.statistics.precision import PlannedNoise, pair_df
from counterpoise.statistics.race import DROP_ALPHA, FUTILITY
from counterpoise.statistics.spending import LookAt, drop_levels, spend_alpha

__all__ = ["RaceCost", "plan_race"]

_REPETITIONS = 1000
_SEED = 20261128


@dataclass(frozen=True)
class RaceCost:
    """Trainings of a race.

    Parameters
    ----------
    worst : int
        All arms with all seeds.
    expected : tuple of (float, float)
        Pairs: by how much one arm is better than all others, which are equal, and the mean number of trainings.
    """

    worst: int
    expected: tuple[tuple[float, float], ...]

    @property
    def expected_range(self) -> tuple[float, float]:
        """Return the smallest and the largest expected number of trainings."""
        trainings = [number for _, number in self.expected]
        return min(trainings), max(trainings)


def plan_race(
    noise: PlannedNoise,
    gains: Sequence[float],
    *,
    arms: int,
    looks: Sequence[int],
    crops: float = math.inf,
    alpha: float = 0.05,
) -> RaceCost:
    """Say how many trainings a race takes.

    Parameters
    ----------
    noise : PlannedNoise
        What makes scores differ.
    gains : sequence of float
        Differences of one arm to all others for which the cost is worked out.
    arms : int
        At least two, the baseline among them.
    looks : sequence of int
        Seeds after which there is a look.
    crops : float
        Effective number of validation crops.
    """
    rules = _Rules.of(arms, tuple(looks), alpha)
    expected = tuple((gain, _trainings(noise, gain, arms, rules, crops)) for gain in gains)
    return RaceCost(arms * looks[-1], expected)


@dataclass(frozen=True)
class _Rules:
    """Levels by look: of claims, of dropping; and of claims at the last look."""

    looks: tuple[int, ...]
    claim: tuple[float, ...]
    drop: tuple[float, ...]

    @classmethod
    def of(cls, arms: int, looks: tuple[int, ...], alpha: float) -> _Rules:
        last, k = looks[-1], arms - 1
        plan = tuple(LookAt(seeds, last) for seeds in looks)
        claim = tuple(spend_alpha(plan[: n + 1], alpha / k).level for n in range(len(looks)))
        return cls(looks, claim, drop_levels(looks, last, DROP_ALPHA / k))


def _trainings(noise: PlannedNoise, gain: float, arms: int, rules: _Rules, crops: float) -> float:
    """Return the mean number of trainings of races in which the last arm is better by ``gain``."""
    rng, last = np.random.default_rng(_SEED), rules.looks[-1]
    own = noise.run_sd**2 * (1 - noise.seed_share)
    h = noise.crop_sd**2 / crops
    scores = math.sqrt(own) * rng.standard_normal((_REPETITIONS, arms, last))
    scores[:, -1] += gain
    scores += math.sqrt(h / 2) * rng.standard_normal((_REPETITIONS, arms, 1))
    alive = np.ones((_REPETITIONS, arms), bool)
    going = np.ones(_REPETITIONS, bool)
    used = np.zeros((_REPETITIONS, arms), int)
    for number, seeds in enumerate(rules.looks):
        used[going] = np.where(alive[going], seeds, used[going])
        if seeds == last:
            break
        mean = scores[:, :, :seeds].mean(2)
        df = pair_df(arms, seeds)
        v = 2 * own * rng.chisquare(df, (_REPETITIONS, 1)) / df
        se, difference = np.sqrt(v / seeds + h), mean - mean[:, :1]
        top = np.where(alive, mean, -np.inf)
        leader = top.argmax(1)
        beaten = alive & (top.max(1, keepdims=True) - mean > scipy.stats.t.isf(rules.drop[number], df) * se)
        need = scipy.stats.t.isf(rules.claim[-1] / 2, df * (last - 1) / (seeds - 1)) * np.sqrt(v / last + h)
        chance = scipy.stats.norm.sf((need - difference) / np.sqrt(v * (1 / seeds - 1 / last)))
        dropped = beaten | (chance < FUTILITY)
        dropped[:, 0] = False
        alive &= ~dropped
        others = alive[:, 1:].sum(1)
        decided = np.abs(difference) > scipy.stats.t.isf(rules.claim[number] / 2, df) * se
        told = (others == 1) & (alive & decided)[:, 1:].any(1) & (leader > 0)
        going &= (others > 0) & ~told
        alive &= going[:, None]
    return float(used.sum(1).mean())
