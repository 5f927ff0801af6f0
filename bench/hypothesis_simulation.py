"""How often the outcome of a hypothesis is wrong, and whether the interval of a score holds the truth.

``python bench/hypothesis_simulation.py --out table.md`` makes tables of docs/verdict-simulations.md; ``--quick`` shows
in seconds that it runs. The worlds are those of `verdict_simulation.py`; every experiment goes through the functions
that users' experiments go through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from worlds import (
    ALPHA,
    MARGIN,
    Case,
    Simulator,
    Telling,
    World,
    as_table,
    draw_counts,
    judge_fast,
    percent,
    table_head,
    table_row,
)

from counterpoise.experiment.hypothesis import Hypothesis, parse_claim
from counterpoise.statistics.arm_score import arm_score
from counterpoise.statistics.hypotheses import judge_hypotheses
from counterpoise.statistics.hypothesis_types import Grounds, HypothesisOutcome, HypothesisVerdict
from counterpoise.statistics.measured import measure
from counterpoise.statistics.run_noise import fit_run_noise
from counterpoise.statistics.scores import effective_crops, scorable_classes
from counterpoise.statistics.verdict_types import Settings

ARMS = 6
WORLDS = {"default": World(), "seeds matter": replace(World(), seed=0.08)}
"""In the second, arms of one seed share most of the noise: what a difference does not see and a score does."""

DECIDED = (HypothesisOutcome.SUPPORTED, HypothesisOutcome.REFUTED)


# Scores ---------------------------------------------------------------------------------------------------------


def population(world: World, draws: int) -> np.ndarray:
    """Compute the expected Dice per class over endless crops and trainings: what a score estimates."""
    trainings, crops = 100, 1500
    dice = []
    for number in range(draws):
        rng = np.random.default_rng(10_000 + number)
        counts = draw_counts(world, rng, 1, trainings, crops, np.zeros((1, len(world.dice))))[0].sum(1)
        dice.append((2 * counts[..., 0] / (2 * counts[..., 0] + counts[..., 1] + counts[..., 2])).mean(0))
    mean: np.ndarray = np.mean(dice, 0)
    return mean


@dataclass
class Coverage:
    """Whether 95 % intervals held the truth, and their half-widths."""

    held: list[bool]
    half: list[float]


def cover(world: World, truth: np.ndarray, seeds: int, crops: int, rng: np.random.Generator, reps: int) -> Coverage:
    """Draw experiments, and look whether the interval of the first arm's score holds the truth for new crops."""
    tally = Coverage([], [])
    for _ in range(reps):
        counts = draw_counts(world, rng, ARMS, seeds, crops, np.zeros((ARMS, len(world.dice))))
        scored = scorable_classes(counts, 3)
        effective = float(effective_crops(counts)[scored].mean())
        found = measure(as_table(counts), scored, effective, Settings())
        assert found.noise is not None
        low, high = arm_score(found.theta, found.z, found.noise, effective, 0).interval(ALPHA)
        tally.held.append(bool(low <= truth[scored].mean() <= high))
        tally.half.append((high - low) / 2)
    return tally


def miss(seeds: int, shared: float, claims: int, rng: np.random.Generator, reps: int) -> list[float]:
    """Draw Gaussian scores, of whose variance a share is common to the arms of a seed; return the misses per draw.

    Crops are all alike, so that the seeds count; at the level of one claim of several, where degrees of freedom count.
    """
    every, misses = np.ones(2), []
    for _ in range(reps):
        common, own = rng.standard_normal((1, seeds)), rng.standard_normal((ARMS, seeds))
        theta = 0.5 + 0.01 * (np.sqrt(shared) * common + np.sqrt(1 - shared) * own)
        z = theta[:, :, None] * every
        noise = fit_run_noise(z)
        assert noise is not None
        intervals = [arm_score(theta, z, noise, 5, arm).interval(ALPHA / claims) for arm in range(ARMS)]
        misses.append(float(np.mean([not low <= 0.5 <= high for low, high in intervals])))
    return misses


# Outcomes -------------------------------------------------------------------------------------------------------


def claims(truth: float) -> tuple[str, ...]:
    """Write down one claim of each form; the last arm may be better, all others are equal."""
    return (
        "arm_1 > arm_0",
        "arm_2 != arm_0",
        "arm_5 = arm_0",
        f"arm_0 >= {truth:.6f}",
        "arm_4 best of all",
        "arm_5 best of arm_1, arm_2, arm_3",
        "arm_5[mito] < arm_0[mito]",
    )


def wrong_outcomes(gain: float) -> tuple[set[str], ...]:
    """List, claim by claim, the outcomes that are wrong; "refuted, same" is what an interval inside the margin says."""
    equal, matters = gain == 0, gain >= MARGIN
    either = {"supported", "refuted"}
    return (
        either,
        either,
        {"supported"} if matters else {"refuted"},
        {"refuted"},
        either if equal else {"supported"},
        either if equal else {"refuted"},
        (either if equal else {"supported"}) | ({"refuted, same"} if matters else set()),
    )


def outcome_of(result: HypothesisVerdict) -> str:
    """Name an outcome, and apart from the others a refutation that only says "same"."""
    is_same = result.outcome is HypothesisOutcome.REFUTED and result.finding is Grounds.SAME
    return "refuted, same" if is_same else str(result.outcome)


def judge_many(case: Case, truth: float, rng: np.random.Generator, reps: int) -> list[list[HypothesisVerdict]]:
    """Judge the claims in many experiments."""
    simulator = Simulator(WORLDS["default"], rng)
    hypotheses = [Hypothesis(claim=parse_claim(text)) for text in claims(truth)]
    results = []
    for _ in range(reps):
        table = as_table(simulator.draw(case))
        results.append(list(judge_hypotheses(hypotheses, table, judge_fast(table))))
    return results


# Tables ---------------------------------------------------------------------------------------------------------


def coverage_rows(telling: Telling, draws: int) -> Iterator[str]:
    """Write a row per world and size."""
    yield from table_head("noise", "seeds", "crops", "coverage %", "half-width")
    for name, world in WORLDS.items():
        truth = population(world, draws)
        for seeds, crops in sizes(telling):
            tally = cover(world, truth, seeds, crops, telling.rng(1, seeds, crops), telling.reps)
            yield table_row(name, seeds, crops, percent(tally.held), f"{np.median(tally.half):.4f}")


def miss_rows(telling: Telling) -> Iterator[str]:
    """Write a row per number of seeds and share of their variance."""
    yield from table_head("seeds", "shared by a seed", "95 %: missed %", "one of six claims, 99.17 %: missed %")
    for seeds in (3,) if telling.is_quick else (3, 5, 8):
        for shared in (0.5,) if telling.is_quick else (0.0, 0.5, 0.95):
            cells = [percent(miss(seeds, shared, n, telling.rng(2, seeds), 5 * telling.reps)) for n in (1, 6)]
            yield table_row(seeds, f"{shared:.0%}", *cells)


def outcome_rows(telling: Telling, draws: int) -> Iterator[str]:
    """Write a row per truth and size: any wrong outcome, and how often each claim is decided."""
    truth = float(population(WORLDS["default"], draws).mean())
    titles = (f"`{text}` decided %" for text in claims(truth))
    yield from table_head("truth", "seeds", "crops", "any outcome wrong %", *titles)
    for gain in (0.0, MARGIN, 0.03):
        for seeds, crops in sizes(telling):
            case = Case(ARMS, seeds, crops, gain=gain)
            results = judge_many(case, truth, telling.rng(3, seeds, crops), telling.reps)
            outcomes = wrong_outcomes(gain)
            wrong = [any(outcome_of(r) in bad for r, bad in zip(row, outcomes, strict=True)) for row in results]
            decided = np.array([[r.outcome in DECIDED for r in row] for row in results]).mean(0)
            yield table_row(case.truth, seeds, crops, percent(wrong), *(f"{100 * share:.0f}" for share in decided))


def sizes(telling: Telling) -> list[tuple[int, int]]:
    """List numbers of seeds and crops."""
    return [(3, 12)] if telling.is_quick else [(3, 12), (3, 40), (5, 40), (8, 12), (8, 40)]


def main() -> None:
    """Run the simulations and write their tables."""
    telling = Telling(__doc__, reps=400, quick=20)
    draws = 1 if telling.is_quick else 60
    for rows in (coverage_rows(telling, draws), miss_rows(telling), outcome_rows(telling, draws)):
        for line in rows:
            telling.say(line)
        telling.say("")
    telling.finish()


if __name__ == "__main__":
    main()
