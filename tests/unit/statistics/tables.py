"""Tables of counts that several test files judge."""

from __future__ import annotations

import numpy as np

from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.inference import Label
from counterpoise.statistics.verdict_types import Verdict

CLASSES = ("nuc", "mito_mem", "pm")


def make_table(
    gains: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0),
    *,
    seeds: int = 5,
    crops: int = 20,
    noise: float = 0.006,
    by_crop: float = 0.02,
    missing: dict[tuple[int, int], RunState] | None = None,
    seed: int = 1,
) -> CountTable:
    """Make arms whose Dice of every class is 0.6 plus a gain, with run noise and arm x crop heterogeneity."""
    rng = np.random.default_rng(seed)
    arms = len(gains)
    dice = (
        0.6
        + np.array(gains)[:, None, None, None]
        + rng.normal(0, 0.08, (crops, 3))
        + rng.normal(0, noise, (arms, seeds, 1, 1))
        + rng.normal(0, by_crop, (arms, 1, crops, 3))
        + rng.normal(0, 0.01, (arms, seeds, crops, 3))
    )
    positives = np.full((crops, 3), 100_000.0)
    hits = np.rint(np.clip(dice, 0, 1) * positives)
    counts = np.stack([hits, positives - hits, positives - hits], -1)
    states = missing or {}
    names = tuple(f"arm_{a}" for a in range(arms))
    for cell in states:
        counts[cell] = np.nan
    return CountTable(
        arms=names,
        baseline="arm_0",
        seeds=tuple(range(1, seeds + 1)),
        crops=tuple(f"set_{g % 4}/crop{g}" for g in range(crops)),
        classes=CLASSES,
        counts=counts,
        cells=tuple(
            tuple(
                RunCell(names[a], s + 1, states.get((a, s), RunState.FINISHED), "why" if (a, s) in states else "")
                for s in range(seeds)
            )
            for a in range(arms)
        ),
    )


def number(value: float | None) -> float:
    assert value is not None
    return value


def labels(verdict: Verdict) -> dict[str, Label]:
    return {arm.name: arm.comparison.label for arm in verdict.arms if arm.comparison}
