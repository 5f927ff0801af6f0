"""Simulated experiments with known truth, as the tables of counts that run folders give; and how they are told.

Two kinds of worlds. `Simulator` draws voxel counts of five classes on the logit scale of Dice, with the sizes, gaps and
errors of real crops; its noise was tuned (docs/verdict-simulations.md). `ScoreWorld` draws Dice itself, additively,
with whatever a sceptic thinks of; nothing about it was tuned.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from unittest.mock import patch

import numpy as np
from scipy.special import expit

from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.inference import Label
from counterpoise.statistics.looks import NO_LOOKS, LookHistory
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import Settings, Verdict

ALPHA, MARGIN = 0.05, 0.01
BETTER = {Label.BETTER, Label.BETTER_BY_MARGIN}
CLAIMS = {*BETTER, Label.WORSE}
CLASSES = ("nuc", "mito", "er", "pm", "golgi")
VOXELS_PER_TILE = 256 * 256


# Counts of voxels, after real crops ---------------------------------------------------------------------------------


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
        return draw_counts(world, self.rng, case.arms, case.seeds, case.crops, shift)

    def shift(self, gain: float) -> np.ndarray:
        """Find the logit shift per class that raises the expected pooled Dice by ``gain``."""
        if gain not in self._shift:
            low, high = np.zeros(len(self.world.dice)), np.full(len(self.world.dice), 1.0)

            def population(shift: np.ndarray) -> np.ndarray:
                same_crops = np.random.default_rng(2024)
                counts = draw_counts(self.world, same_crops, 1, 1, 20_000, shift[None]).sum((0, 1, 2))
                dice: np.ndarray = 2 * counts[:, 0] / (2 * counts[:, 0] + counts[:, 1] + counts[:, 2])
                return dice

            start = population(low)
            for _ in range(25):
                middle = (low + high) / 2
                above = population(middle) - start > gain
                low, high = np.where(above, low, middle), np.where(above, middle, high)
            self._shift[gain] = (low + high) / 2
        return self._shift[gain]


def draw_counts(
    world: World, rng: np.random.Generator, arms: int, seeds: int, crops: int, shift: np.ndarray
) -> np.ndarray:
    """Draw counts[arm, seed, crop, class, 3]; ``shift`` moves arms and classes on the logit scale."""
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


# Scores that nobody tuned ---------------------------------------------------------------------------------------


class Noise(StrEnum):
    """Distribution of what training again does to a score; mean 0, standard deviation 1."""

    GAUSSIAN = "Gaussian"
    T3 = "t with 3 df"
    SKEWED = "skewed"
    BIMODAL = "bimodal"

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Draw it."""
        match self:
            case Noise.GAUSSIAN:
                return rng.standard_normal(shape)
            case Noise.T3:
                return rng.standard_t(3, shape) / 3**0.5
            case Noise.SKEWED:
                return 1 - rng.standard_exponential(shape)
            case Noise.BIMODAL:
                return 0.95 * rng.choice((-1.0, 1.0), shape) + (1 - 0.95**2) ** 0.5 * rng.standard_normal(shape)


@dataclass(frozen=True)
class ScoreWorld:
    """Experiments whose Dice is a sum of effects; standard deviations are in Dice.

    The first arm is the baseline, the last is better by ``gain``, all others are equal to the baseline on average.
    """

    arms: int = 6
    seeds: int = 5
    crops: int = 20
    sets: int = 1
    """Data sets that the crops come from, in turn."""
    gain: float = 0.0
    noise: Noise = Noise.GAUSSIAN
    run: float = 0.010
    seed: float = 0.005
    crop: float = 0.08
    run_crop: float = 0.03
    arm_crop: float = 0.015
    arm_set: float = 0.0
    sizes: float = 0.5
    """Log sd of voxels per crop: what makes few crops count."""
    present: tuple[float, ...] = (1.0,)
    """Share of crops with a class, class by class; three crops at least."""
    baseline_noise: float = 1.0
    """Run sd of the baseline, in those of the others."""
    failing: tuple[int, ...] = ()
    """Arms of which a run in ten fails unseen: 20 standard deviations below."""
    missing: float = 0.0
    """Share of runs that are not there."""
    is_control: bool = False
    """Whether the second arm is the first, trained again with other seeds."""

    def draw(self, rng: np.random.Generator) -> CountTable:
        """Draw an experiment."""
        arms, seeds, crops, classes = self.arms, self.seeds, self.crops, len(self.present)
        normal = rng.standard_normal
        there = rng.random((crops, classes)).argsort(0) < np.maximum(np.rint(np.array(self.present) * crops), 3)
        size = np.rint(1e6 * rng.lognormal(0, self.sizes, (crops, 1))) * there
        run = self.run * self.noise.draw(rng, (arms, seeds, 1, classes))
        run[0] *= self.baseline_noise
        run[list(self.failing)] -= 20 * self.run * (rng.random((len(self.failing), seeds, 1, 1)) < 0.1)
        of_seed = self.seed * np.repeat(normal((1, seeds, 1, 1)), arms, 0)
        of_arm = self.arm_crop * normal((arms, 1, crops, classes))
        of_arm += self.arm_set * normal((arms, 1, self.sets, classes))[:, :, np.arange(crops) % self.sets]
        of_arm[-1] += self.gain
        if self.is_control:
            of_seed[1], of_arm[1] = self.seed * normal((seeds, 1, 1)), of_arm[0]
        dice = 0.55 + self.crop * normal((crops, classes)) + of_seed + of_arm + run
        dice = np.clip(dice + self.run_crop * normal((*dice.shape[:2], crops, classes)), 0.001, 1)
        hits = np.rint(size * dice)
        counts = np.stack([hits, size - hits, size - hits], -1)  # Dice is hits / size
        return as_table(counts, rng.random((arms, seeds)) >= self.missing, sets=self.sets, is_control=self.is_control)


# Tables ---------------------------------------------------------------------------------------------------------


def as_table(
    counts: np.ndarray, finished: np.ndarray | None = None, *, sets: int = 1, is_control: bool = False
) -> CountTable:
    """Make the table that reading a run folder gives."""
    arms, seeds, crops, classes, _ = counts.shape
    finished = np.ones((arms, seeds), bool) if finished is None else finished
    names = tuple(f"arm_{a}" for a in range(arms))
    state = {True: RunState.FINISHED, False: RunState.FAILED}
    return CountTable(
        names,
        names[0],
        tuple(range(seeds)),
        tuple(f"set_{g % sets}/{g}" for g in range(crops)),
        CLASSES[:classes],
        np.where(finished[..., None, None, None], counts, np.nan),
        tuple(
            tuple(RunCell(name, s, state[bool(finished[a, s])]) for s in range(seeds)) for a, name in enumerate(names)
        ),
        controls={names[1]: names[0]} if is_control else {},
    )


def first_seeds(table: CountTable, seeds: int) -> CountTable:
    """Return the table of an experiment with so many seeds."""
    return replace(
        table,
        seeds=table.seeds[:seeds],
        counts=table.counts[:, :seeds],
        cells=tuple(row[:seeds] for row in table.cells),
    )


def judge_fast(table: CountTable, settings: Settings | None = None, history: LookHistory = NO_LOOKS) -> Verdict:
    """Judge without what takes most of the time and claims nothing: tables per class, seeds that would be needed."""
    left_out = {"seeds_to_decide": lambda *_, **__: None, "_ClassTables": _NoTables}
    with patch.multiple("counterpoise.statistics.verdict", **left_out):
        return judge(table, settings, history)


class _NoTables:
    def __init__(self, _: object) -> None: ...

    def of(self, _: int) -> tuple[()]:
        """Return no class."""
        return ()


def labels(verdict: Verdict) -> dict[str, Label]:
    """Return the label of every compared arm."""
    return {arm.name: arm.comparison.label for arm in verdict.arms if arm.comparison is not None}


# Telling --------------------------------------------------------------------------------------------------------


def percent(values: Sequence[bool] | Sequence[float]) -> str:
    """Write a rate with its Monte Carlo standard error, in per cent."""
    array = np.array(values, float)
    return f"{100 * array.mean():.1f} ± {100 * array.std() / len(array) ** 0.5:.1f}" if len(array) else "-"


def table_head(*titles: str) -> list[str]:
    """Write the head of a markdown table."""
    return [table_row(*titles), table_row(*("---" for _ in titles))]


def table_row(*cells: object) -> str:
    """Write a row of a markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


class Telling:
    """Options, clock and output that the simulations have in common."""

    def __init__(self, doc: str | None, *, reps: int, quick: int) -> None:
        parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--reps", type=int, help=f"experiments per line (default {reps}; {quick} with --quick)")
        parser.add_argument("--quick", action="store_true", help="a few small lines only, to see that it runs")
        parser.add_argument("--seed", type=int, default=1)
        parser.add_argument("--out", type=Path, help="also write the tables to this file, as markdown")
        options = parser.parse_args()
        self.is_quick, self.seed, self._out = options.quick, options.seed, options.out
        self.reps: int = options.reps or (quick if options.quick else reps)
        self._lines: list[str] = []

    def rng(self, *key: int) -> np.random.Generator:
        """Return random numbers of a line's own."""
        return np.random.default_rng([self.seed, *key])

    def say(self, *lines: str) -> None:
        """Add lines to the tables."""
        self._lines += lines
        print("\n".join(lines), flush=True)

    def finish(self) -> None:
        """Say how the tables were made, and write them."""
        text = (
            f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, Python {platform.python_version()}, NumPy "
            f"{np.__version__}, {self.reps} experiments per line unless said, seed {self.seed}, "
            f"{time.process_time():.0f} s of one core. After ±: Monte Carlo standard error."
        )
        print("\n" + text)
        if self._out:
            self._out.write_text("\n".join([text, "", *self._lines]) + "\n", encoding="utf-8")
