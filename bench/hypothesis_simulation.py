"""How often the outcome of a hypothesis is wrong, and whether the interval of a score holds the truth.

``python bench/hypothesis_simulation.py --out table.md`` makes the tables of docs/verdict.md, section Hypotheses;
``--quick`` shows in seconds that it runs. The worlds are those of `verdict_simulation.py`; every experiment goes
through the functions that users' experiments go through.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from verdict_simulation import ALPHA, MARGIN, Case, Simulator, World, _draw, percent, table_head

from counterpoise.experiment.hypothesis import Hypothesis, parse_claim
from counterpoise.statistics.arm_score import arm_score
from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.hypotheses import judge_hypotheses
from counterpoise.statistics.hypothesis_types import Grounds, HypothesisOutcome, HypothesisVerdict
from counterpoise.statistics.inference import Scope
from counterpoise.statistics.run_noise import fit_run_noise
from counterpoise.statistics.scores import effective_crops, pooled_scores, pseudo_values, scorable_classes
from counterpoise.statistics.verdict import judge

ARMS = 6
WORLDS = {"default": World(), "seeds matter": replace(World(), seed=0.08)}
"""In the second, arms of one seed share most of the noise: what a difference does not see and a score does."""

DECIDED = (HypothesisOutcome.SUPPORTED, HypothesisOutcome.REFUTED)


# Scores ---------------------------------------------------------------------------------------------------------


def population(world: World, draws: int) -> np.ndarray:
    """Compute the expected Dice per class over endless crops and trainings: what a score estimates in scope new."""
    trainings, crops = 100, 1500
    dice = []
    for number in range(draws):
        rng = np.random.default_rng(10_000 + number)
        counts = _draw(world, rng, 1, trainings, crops, np.zeros((1, len(world.dice))))[0].sum(1)
        dice.append((2 * counts[..., 0] / (2 * counts[..., 0] + counts[..., 1] + counts[..., 2])).mean(0))
    mean: np.ndarray = np.mean(dice, 0)
    return mean


@dataclass
class Coverage:
    """Whether 95 % intervals held the truth, and their half-widths."""

    new: list[bool]
    this: list[bool]
    half_new: list[float]
    half_this: list[float]


def cover(world: World, truth: np.ndarray, seeds: int, crops: int, reps: int) -> Coverage:
    """Draw experiments; in scope this, the truth is the mean of 200 more trainings scored on the same crops."""
    rng, more = np.random.default_rng(5), 200
    tally = Coverage([], [], [], [])
    for _ in range(reps):
        drawn = _draw(world, rng, ARMS, seeds + more, crops, np.zeros((ARMS, len(world.dice))))
        counts, again = drawn[:, :seeds], drawn[:1, seeds:]
        scored = scorable_classes(counts, 3)
        theta, z = pooled_scores(counts, scored), pseudo_values(counts, scored)
        noise = fit_run_noise(z)
        assert noise is not None
        g_eff = float(effective_crops(counts)[scored].mean())
        for scope, true, held, half in (
            (Scope.NEW, truth[scored].mean(), tally.new, tally.half_new),
            (Scope.THIS, pooled_scores(again, scored).mean(), tally.this, tally.half_this),
        ):
            low, high = arm_score(theta, z, noise, g_eff, 0, scope=scope).interval(ALPHA)
            held.append(bool(low <= true <= high))
            half.append((high - low) / 2)
    return tally


def miss(seeds: int, shared: float, claims: int, reps: int) -> list[float]:
    """Draw Gaussian scores, of whose variance a share is common to the arms of a seed; return the misses per draw.

    In scope this, where the seeds count; at the level of one claim of several, where degrees of freedom count.
    """
    rng, every = np.random.default_rng(7), np.ones(2)
    misses = []
    for _ in range(reps):
        common, own = rng.standard_normal((1, seeds)), rng.standard_normal((ARMS, seeds))
        theta = 0.5 + 0.01 * (np.sqrt(shared) * common + np.sqrt(1 - shared) * own)
        z = theta[:, :, None] * every
        noise = fit_run_noise(z)
        assert noise is not None
        intervals = [
            arm_score(theta, z, noise, 5, arm, scope=Scope.THIS).interval(ALPHA / claims) for arm in range(ARMS)
        ]
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


def as_table(counts: np.ndarray) -> CountTable:
    """Make the table that reading a run folder gives."""
    arms, seeds, crops = counts.shape[:3]
    names = tuple(f"arm_{a}" for a in range(arms))
    cells = tuple(tuple(RunCell(name, s, RunState.FINISHED) for s in range(seeds)) for name in names)
    crop_names = tuple(f"set/{g}" for g in range(crops))
    return CountTable(
        names, names[0], tuple(range(seeds)), crop_names, ("nuc", "mito", "er", "pm", "golgi"), counts, cells
    )


def judge_many(case: Case, truth: float, reps: int) -> list[list[HypothesisVerdict]]:
    """Judge the claims in many experiments."""
    simulator = Simulator(WORLDS["default"], np.random.default_rng(17))
    hypotheses = [Hypothesis(claim=parse_claim(text)) for text in claims(truth)]
    results = []
    for _ in range(reps):
        table = as_table(simulator.draw(case))
        results.append(list(judge_hypotheses(hypotheses, table, judge(table))))
    return results


# Tables ---------------------------------------------------------------------------------------------------------


def coverage_rows(sizes: list[tuple[int, int]], reps: int, draws: int) -> list[str]:
    """Write a row per world and size."""
    lines = table_head(
        "noise", "seeds", "crops", "new crops: coverage %", "half-width", "these crops: coverage %", "half-width"
    )
    for name, world in WORLDS.items():
        truth = population(world, draws)
        for seeds, crops in sizes:
            tally = cover(world, truth, seeds, crops, reps)
            cells = [percent(tally.new), f"{np.median(tally.half_new):.4f}"]
            cells += [percent(tally.this), f"{np.median(tally.half_this):.4f}"]
            lines.append(f"| {name} | {seeds} | {crops} | " + " | ".join(cells) + " |")
            print(lines[-1], flush=True)
    return lines


def miss_rows(sizes: list[tuple[int, float]], reps: int) -> list[str]:
    """Write a row per number of seeds and share of their variance."""
    lines = table_head("seeds", "shared by a seed", "95 %: missed %", "one of six claims, 99.17 %: missed %")
    for seeds, shared in sizes:
        cells = [percent(miss(seeds, shared, claims, reps)) for claims in (1, 6)]
        lines.append(f"| {seeds} | {shared:.0%} | " + " | ".join(cells) + " |")
        print(lines[-1], flush=True)
    return lines


def outcome_rows(sizes: list[tuple[int, int]], reps: int, draws: int) -> list[str]:
    """Write a row per truth and size: any wrong outcome, and how often each claim is decided."""
    truth = float(population(WORLDS["default"], draws).mean())
    lines = table_head(
        "truth", "seeds", "crops", "any outcome wrong %", *(f"`{text}` decided %" for text in claims(truth))
    )
    for gain in (0.0, MARGIN, 0.03):
        for seeds, crops in sizes:
            case = Case(ARMS, seeds, crops, gain=gain)
            results = judge_many(case, truth, reps)
            outcomes = wrong_outcomes(gain)
            wrong = [any(outcome_of(r) in bad for r, bad in zip(row, outcomes, strict=True)) for row in results]
            decided = [
                f"{100 * np.mean([row[n].outcome in DECIDED for row in results]):.0f}" for n in range(len(results[0]))
            ]
            lines.append(f"| {case.truth} | {seeds} | {crops} | " + " | ".join([percent(wrong), *decided]) + " |")
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Run both simulations and write their tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reps", type=int, default=400, help="experiments per line")
    parser.add_argument("--out", type=Path, help="write the tables here, as markdown")
    parser.add_argument("--quick", action="store_true", help="one small case, to see that it runs")
    options = parser.parse_args()
    sizes = [(3, 12)] if options.quick else [(s, g) for s in (3, 5, 8) for g in (12, 40)]
    shares = [(3, 0.5)] if options.quick else [(s, r) for s in (3, 5, 8) for r in (0.0, 0.5, 0.75, 0.95)]
    started, draws = time.perf_counter(), 1 if options.quick else 60
    rows = [*coverage_rows(sizes, options.reps, draws), "", *miss_rows(shares, 10 * options.reps), ""]
    rows += outcome_rows(sizes, options.reps, draws)
    text = "\n".join([f"{options.reps} experiments per line, {time.perf_counter() - started:.0f} s.", "", *rows]) + "\n"
    print("\n" + text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
