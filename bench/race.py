"""What a race costs and finds, beside the full grid and fewer fixed seeds: the same draws, the package's own decisions.

``python bench/race.py --out table.md`` makes a table of docs/verdict-simulations.md; ``--quick`` shows in seconds
that it runs. Cost is trainings in per cent of a full grid of eight seeds; power is how often the last arm, which alone
is better, is called so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from worlds import (
    BETTER,
    CLAIMS,
    Noise,
    ScoreWorld,
    Telling,
    first_seeds,
    judge_fast,
    labels,
    percent,
    table_head,
    table_row,
)

from counterpoise.runs.looks import LookRecord, RaceLook
from counterpoise.statistics.counts import CountTable
from counterpoise.statistics.looks import LookHistory
from counterpoise.statistics.race import decide_look, runs_wanted
from counterpoise.statistics.verdict_types import Settings, Verdict

GRID, FIXED = 8, 5
RACES = ((3, 5, 8), (3, 5, 7, 9))
"""Looks: at most the seeds of the grid, and at most one more."""
WORLD = ScoreWorld(seeds=9, run=0.0085, run_crop=0.02, arm_crop=0.007)
"""A full grid finds +0.02 in about three experiments of four."""


def race(table: CountTable, looks: tuple[int, ...]) -> tuple[Verdict, list[LookRecord]]:
    """Race the arms of an experiment whose results are all there; see only what has been trained by then."""
    settings, records, decided = Settings(), list[LookRecord](), list[RaceLook]()
    trained: set[tuple[str, int]] = set()
    while wanted := runs_wanted(table.arms, table.seeds, looks, decided):
        trained |= set(wanted)
        runs = {arm: tuple(s for name, s in sorted(trained) if name == arm) for arm in table.arms}
        seeds = looks[len(records)]
        look = decide_look(table.seen_at(runs, seeds), settings, looks, records)
        records.append(LookRecord(runs, looks[-1], race=look))
        decided.append(look)
    dropped = {drop.arm for look in decided for drop in look.dropped}
    seen = table.seen_at(records[-1].runs, decided[-1].seeds, dropped=dropped, is_over=True)
    return judge_fast(seen, settings, LookHistory(tuple(records[:-1]))), records


@dataclass
class Tally:
    """What happened, one entry per experiment."""

    cost: list[float] = field(default_factory=list)
    found: list[bool] = field(default_factory=list)
    false: list[bool] = field(default_factory=list)

    def add(self, world: ScoreWorld, verdict: Verdict, cost: float) -> None:
        """Count a verdict."""
        said = labels(verdict)
        best = said.pop(f"arm_{world.arms - 1}") if world.gain else None
        self.cost.append(cost)
        self.found.append(best in BETTER)
        self.false.append(bool(CLAIMS & set(said.values())) or (best in CLAIMS - BETTER))


def compare(world: ScoreWorld, rng: np.random.Generator, reps: int) -> dict[str, Tally]:
    """Judge the same experiments as a full grid, at few fixed seeds, and raced."""
    tallies = {name: Tally() for name in ("grid", "fixed", *map(str, RACES))}
    for _ in range(reps):
        table = world.draw(rng)
        for name, seeds in (("grid", GRID), ("fixed", FIXED)):
            tallies[name].add(world, judge_fast(first_seeds(table, seeds)), seeds / GRID)
        for looks in RACES:
            verdict, records = race(first_seeds(table, looks[-1]), looks)
            trained = sum(map(len, records[-1].runs.values()))
            tallies[str(looks)].add(world, verdict, trained / (world.arms * GRID))
    return tallies


def worlds(*, quick: bool) -> Iterator[tuple[int, str, ScoreWorld]]:
    """Name arms, truth and world."""
    for arms in (6,) if quick else (6, 12):
        for gain in (0.0, 0.01) if quick else (0.0, 0.01, 0.02, 0.03):
            yield arms, f"one arm +{gain:.2f}" if gain else "null", replace(WORLD, arms=arms, gain=gain)
    if not quick:
        yield 6, "null, t with 3 df", replace(WORLD, noise=Noise.T3)
        yield 6, "null, baseline with 3 x the sd", replace(WORLD, baseline_noise=3.0)
        yield 6, "one arm +0.02, run sd 0.0127", replace(WORLD, run=0.0117, gain=0.02)


def power(world: ScoreWorld, tally: Tally, beside: Tally | None = None) -> list[str]:
    """Write how often the better arm was found, and the difference to another design; nothing where none is better."""
    if not world.gain:
        return ["-"] * (1 if beside is None else 2)
    less = np.array(tally.found, float) - np.array(tally.found if beside is None else beside.found, float)
    apart = f"{100 * less.mean():+.1f} ± {100 * less.std() / len(less) ** 0.5:.1f}"
    return [percent(tally.found), *([] if beside is None else [apart])]


def main() -> None:
    """Write the table."""
    telling = Telling(__doc__, reps=1000, quick=10)
    races = [f"race, looks at {', '.join(map(str, looks))}" for looks in RACES]
    names = ("power: grid %", "false", "power: 5 seeds %", "false")
    raced = [f"{race}: {what}" for race in races for what in ("cost %", "power %", "less the grid's", "false %")]
    telling.say(*table_head("arms", "truth", *names, *raced))
    for number, (arms, truth, world) in enumerate(worlds(quick=telling.is_quick)):
        grid, fixed, *others = compare(world, telling.rng(number), telling.reps).values()
        cells = [*power(world, grid), percent(grid.false), *power(world, fixed), percent(fixed.false)]
        for tally in others:
            cells += [f"{100 * np.mean(tally.cost):.0f}", *power(world, tally, grid), percent(tally.false)]
        telling.say(table_row(arms, truth, *cells))
    telling.finish()


if __name__ == "__main__":
    main()
