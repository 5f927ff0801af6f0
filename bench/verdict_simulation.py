"""How often the verdict is wrong, and what it can see: simulated experiments with known truth.

``python bench/verdict_simulation.py --out table.md`` makes the table of docs/verdict.md; ``--quick`` shows in seconds
that it runs. Every experiment is a table of voxel counts (TP, FP, FN per arm, seed, crop and class) as a run folder
would give; it goes through the functions of `counterpoise.statistics` that users' experiments go through.

What varies, on the logit scale of a class's Dice: level of the class; crop; seed (all arms of a seed alike); run (one
arm, one seed); run x crop; arm x crop. Besides: crop sizes (skewed, capped), prevalence, which classes a crop
annotates, annotated crops without the class, whether errors are false positives or negatives.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.special import expit

from counterpoise.statistics.inference import Label, Scope, best_set, compare_pairs, intervals, label_interval
from counterpoise.statistics.run_noise import fit_run_noise
from counterpoise.statistics.scores import effective_crops, pooled_scores, pseudo_values, scorable_classes

ALPHA, MARGIN = 0.05, 0.01
BETTER = {Label.BETTER, Label.BETTER_BY_MARGIN}
VOXELS_PER_TILE = 256 * 256


@dataclass(frozen=True)
class World:
    """Everything random in a simulated experiment; five classes like nuc, mito, er, pm, golgi.

    Standard deviations are on the logit scale of a class's Dice (0.1 there is about 0.025 Dice).
    """

    dice: tuple[float, ...] = (0.75, 0.62, 0.55, 0.52, 0.35)
    prevalence: tuple[float, ...] = (0.12, 0.02, 0.018, 0.003, 0.002)
    annotated: tuple[float, ...] = (0.90, 0.95, 0.95, 0.85, 0.85)
    empty: tuple[float, ...] = (0.15, 0.05, 0.05, 0.10, 0.35)
    tiles: tuple[float, float] = (4.8, 0.9)
    """Log mean and log sd of tiles per crop; at most 64."""
    crop: float = 0.6
    seed: float = 0.015
    run_all: float = 0.023
    run_class: float = 0.057
    run_crop: float = 0.16
    arm_crop: float = 0.115
    log_prevalence: float = 0.25


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    arms: int
    seeds: int
    crops: int
    gain: float = 0.0
    same: bool = False
    """Whether arms are copies (A/A): no arm x crop heterogeneity."""

    @property
    def truth(self) -> str:
        """Describe what is true."""
        if self.gain:
            return f"one arm +{self.gain:.2f}"
        return "identical arms" if self.same else "equal on average"


class Simulator:
    """Draws experiments from a world.

    The better arm (the last) gains the same Dice in every class: the shift on the logit scale that does this is
    found once, on a large population of crops.
    """

    def __init__(self, world: World, rng: np.random.Generator) -> None:
        self.world, self.rng = world, rng
        self._shift: dict[float, np.ndarray] = {0.0: np.zeros(len(world.dice))}

    def draw(self, case: Case) -> np.ndarray:
        """Draw counts[arm, seed, crop, class, 3]."""
        world = replace(self.world, arm_crop=0.0) if case.same else self.world
        shift = np.zeros((case.arms, len(world.dice)))
        shift[-1] = self.shift(case.gain)
        return _draw(world, self.rng, case.arms, case.seeds, case.crops, shift)

    def shift(self, gain: float) -> np.ndarray:
        """Find the logit shift per class that raises the expected pooled Dice by ``gain``."""
        if gain not in self._shift:
            low, high = np.zeros(len(self.world.dice)), np.full(len(self.world.dice), 1.0)

            def population(shift: np.ndarray) -> np.ndarray:
                same_crops = np.random.default_rng(2024)
                counts = _draw(self.world, same_crops, 1, 1, 20_000, shift[None]).sum((0, 1, 2))
                dice: np.ndarray = 2 * counts[:, 0] / (2 * counts[:, 0] + counts[:, 1] + counts[:, 2])
                return dice

            start = population(low)
            for _ in range(25):
                middle = (low + high) / 2
                above = population(middle) - start > gain
                low, high = np.where(above, low, middle), np.where(above, middle, high)
            self._shift[gain] = (low + high) / 2
        return self._shift[gain]


def _draw(world: World, rng: np.random.Generator, arms: int, seeds: int, crops: int, shift: np.ndarray) -> np.ndarray:
    classes = len(world.dice)
    level = np.log(np.array(world.dice) / (1 - np.array(world.dice)))
    tiles = np.clip(np.ceil(rng.lognormal(*world.tiles, crops)), 1, 64)
    voxels = tiles[:, None] * VOXELS_PER_TILE * np.ones(classes)
    annotated = rng.random((crops, classes)) < np.array(world.annotated)
    present = annotated & (rng.random((crops, classes)) >= np.array(world.empty))
    share = np.minimum(np.array(world.prevalence) * rng.lognormal(0, world.log_prevalence, (crops, classes)), 0.6)
    positives = np.rint(np.where(present, share * voxels, 0))

    normal = rng.standard_normal
    logit = (
        level
        + shift[:, None, None, :]
        + world.crop * normal((crops, classes))
        + world.seed * normal((1, seeds, 1, 1))
        + world.run_all * normal((arms, seeds, 1, 1))
        + world.run_class * normal((arms, seeds, 1, classes))
        + world.run_crop * normal((arms, seeds, crops, classes))
        + world.arm_crop * normal((arms, 1, crops, classes))
    )
    dice = expit(logit)
    # Dice d from precision d / (1 + tilt) and recall d / (1 - tilt), |tilt| <= 1 - d.
    tilt = (1 - dice) * np.tanh(
        0.5 * normal((crops, classes)) + 0.2 * normal((arms, seeds, 1, classes)) + 0.1 * normal(dice.shape)
    )
    hits = np.rint(positives * dice / (1 - tilt))
    found = np.where(positives > 0, hits * (1 + tilt) / dice, 0.0)
    false = np.rint(np.maximum(found - hits, 0))
    # Where the class is annotated as absent, a little is predicted all the same.
    stray = 0.02 * np.array(world.prevalence) * voxels * np.exp(normal((crops, classes)) - 3 * (logit - level) / 2)
    false = np.where(annotated & ~present, np.rint(stray), false)
    counts = np.stack([hits, false, positives - hits], axis=-1)
    counts *= annotated[..., None]
    np.maximum(counts, 0, out=counts)
    return counts


@dataclass
class Tally:
    """What happened in the experiments of a case, one entry each."""

    claims: list[bool] = field(default_factory=list)
    """Any arm called better or worse although it is not."""
    covered: list[float] = field(default_factory=list)
    """Share of single 95 % intervals against the baseline that hold the truth."""
    half_width: list[float] = field(default_factory=list)
    run_sd: list[float] = field(default_factory=list)
    found: list[bool] = field(default_factory=list)
    """The best arm is called better."""
    excluded: list[bool] = field(default_factory=list)
    """The baseline has left the set."""
    kept: list[bool] = field(default_factory=list)
    """The best arm is in the set."""
    size: list[float] = field(default_factory=list)
    usual_claims: list[bool] = field(default_factory=list)
    usual_corrected: list[bool] = field(default_factory=list)
    usual_covered: list[float] = field(default_factory=list)
    effective: list[float] = field(default_factory=list)


def verdict(case: Case, counts: np.ndarray, tally: Tally) -> None:
    """Judge an experiment as the package does; the first arm is the baseline, the last may be better."""
    scored = scorable_classes(counts, 3)
    theta, z = pooled_scores(counts, scored), pseudo_values(counts, scored)
    noise = fit_run_noise(z)
    assert noise is not None
    g_eff = float(effective_crops(counts)[scored].mean())
    pairs = compare_pairs(theta, z, noise, g_eff, scope=Scope.NEW if g_eff >= 5 else Scope.THIS)
    k = case.arms - 1
    low, high = intervals(pairs, 0, alpha=ALPHA, comparisons=k)
    labels = [label_interval(float(a), float(b), MARGIN) for a, b in zip(low, high, strict=True)]
    others = labels[1:-1] if case.gain else labels[1:]
    inside = best_set(pairs, np.ones(case.arms, bool), alpha=ALPHA, comparisons=k)
    truth = np.zeros(case.arms)
    truth[-1] = case.gain
    single_low, single_high = intervals(pairs, 0, alpha=ALPHA, comparisons=1)
    tally.claims.append(any(label in {*BETTER, Label.WORSE} for label in others) or labels[-1] is Label.WORSE)
    tally.covered.append(float(((single_low <= truth) & (truth <= single_high))[1:].mean()))
    tally.half_width.append(float(np.median((high - low)[1:] / 2)))
    tally.run_sd.append(noise.sd)
    tally.found.append(labels[-1] in BETTER)
    tally.excluded.append(not inside[0])
    tally.kept.append(bool(inside[-1]))
    tally.size.append(float(inside.sum()))
    tally.effective.append(g_eff)


def usual_practice(counts: np.ndarray, tally: Tally) -> None:
    """Judge by one run per arm: paired t test over crops of the crop's mean Dice, each arm against the baseline."""
    hits = 2 * counts[:, 0, :, :, 0]
    size = hits + counts[:, 0, :, :, 1] + counts[:, 0, :, :, 2]
    present = counts[0, 0, :, :, 0] + counts[0, 0, :, :, 2] > 0
    dice = np.divide(hits, size, out=np.zeros_like(hits), where=size > 0)
    there = present.any(1)
    by_crop = ((dice * present).sum(-1) / np.maximum(present.sum(-1), 1))[:, there]
    p = stats.ttest_rel(by_crop[1:], by_crop[:1], axis=1).pvalue
    tally.usual_claims.append(bool((p < ALPHA).any()))
    tally.usual_corrected.append(bool((p < ALPHA / len(p)).any()))
    tally.usual_covered.append(float((p >= ALPHA).mean()))


def simulate(case: Case, simulator: Simulator, reps: int) -> Tally:
    """Repeat one case."""
    tally = Tally()
    for _ in range(reps):
        counts = simulator.draw(case)
        verdict(case, counts, tally)
        if not case.gain:
            usual_practice(counts, tally)
    return tally


def cases(*, quick: bool) -> Iterator[Case]:
    """List the cases: equal arms first, then one better arm."""
    sizes = [(6, 3, 12)] if quick else [(a, s, g) for a in (6, 12) for s in (3, 5, 8) for g in (12, 40)]
    for same in (True, False):
        for size in sizes:
            yield Case(*size, same=same)
    for gain in (0.03,) if quick else (0.01, 0.02, 0.03):
        for size in sizes:
            yield Case(*size, gain=gain)


def percent(values: list[bool] | list[float]) -> str:
    """Write a rate with its Monte Carlo standard error, in per cent."""
    array = np.array(values, float)
    return f"{100 * array.mean():.1f} ± {100 * array.std() / len(array) ** 0.5:.1f}"


def table_head(*titles: str) -> list[str]:
    """Write the head of a markdown table."""
    return [f"| {' | '.join(titles)} |", "| " + " | ".join("---" for _ in titles) + " |"]


def as_markdown(tallies: dict[Case, Tally]) -> str:
    """Write the two tables: equal arms with the usual practice next to them, and one better arm."""
    lines = table_head(
        *("truth", "arms", "seeds", "crops (effective)", "run sd", "half-width", "false claim %", "coverage %"),
        *("a best arm kept %", "usual practice: false claim %", "same, Bonferroni %", "its coverage %"),
    )
    for case, t in tallies.items():
        if not case.gain:
            head = f"| {case.truth} | {case.arms} | {case.seeds} | {case.crops} ({np.mean(t.effective):.0f}) "
            cells = [f"{np.mean(t.run_sd):.4f}", f"{np.median(t.half_width):.4f}", percent(t.claims)]
            cells += [percent(t.covered), percent(t.kept), percent(t.usual_claims), percent(t.usual_corrected)]
            lines.append(head + "| " + " | ".join([*cells, percent(t.usual_covered)]) + " |")
    lines += [
        "",
        *table_head(
            *("truth", "arms", "seeds", "crops", "half-width", "called better %", "baseline left the set %"),
            *("arms in the set", "best arm kept %", "coverage %", "false claim about another arm %"),
        ),
    ]
    for case, t in tallies.items():
        if case.gain:
            head = f"| {case.truth} | {case.arms} | {case.seeds} | {case.crops} "
            cells = [f"{np.median(t.half_width):.4f}", percent(t.found), percent(t.excluded), f"{np.mean(t.size):.1f}"]
            lines.append(
                head + "| " + " | ".join([*cells, percent(t.kept), percent(t.covered), percent(t.claims)]) + " |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the simulation and write its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, help="experiments per line (default 400; 40 with --quick)")
    parser.add_argument("--quick", action="store_true", help="three small lines only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    options = parser.parse_args()
    reps = options.reps or (40 if options.quick else 400)
    started = time.perf_counter()
    tallies = {}
    for number, case in enumerate(cases(quick=options.quick)):
        began = time.perf_counter()
        simulator = Simulator(World(), np.random.default_rng([options.seed, number]))
        tallies[case] = simulate(case, simulator, reps)
        print(
            f"{case.truth}, {case.arms} arms, {case.seeds} seeds, {case.crops} crops: "
            f"{time.perf_counter() - began:.1f} s",
            flush=True,
        )
    text = (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}, "
        f"NumPy {np.__version__}, {reps} experiments per line, seed {options.seed}, "
        f"{time.perf_counter() - started:.0f} s on one core. After ±: Monte Carlo standard error.\n\n"
        + as_markdown(tallies)
    )
    print("\n" + text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
