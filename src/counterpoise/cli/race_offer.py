"""What ``init`` says of a race next to the fixed number of seeds that it writes."""

from __future__ import annotations

from collections.abc import Iterator

from counterpoise.experiment.config import Experiment
from counterpoise.statistics.precision import EQUAL_ARMS_SD, PlannedNoise
from counterpoise.statistics.race_cost import plan_race
from counterpoise.text import counted

__all__ = ["offer_race"]

_LOOKS = (3, 5, 7, 9)


def offer_race(experiment: Experiment) -> Iterator[str]:
    """Say what a race of these arms would cost, next to the fixed number of seeds."""
    arms, margin = len(experiment.arms.strategies), experiment.verdict.margin
    if arms < 2 or experiment.arms.design == "race":  # noqa: PLR2004 - it takes two to race
        return
    gains = [0.0, margin, 2 * margin, 3 * margin]
    race = plan_race(PlannedNoise(EQUAL_ARMS_SD), gains, arms=arms, looks=_LOOKS)
    low, high = race.expected_range
    yield ""
    yield f"Every arm with every seed: {counted(arms * len(experiment.arms.seeds), 'training')}. As a race"
    yield f"(counterpoise run --race --seeds 9): {low:.0f} to {high:.0f} expected, {race.worst} at most; arms that"
    yield "cannot win are dropped, and the rest are told apart as with eight seeds of each."
