"""What a race costs and finds, beside the full grid and fewer fixed seeds: the same draws, the package's own decisions.

``python bench/race.py --out table.md`` makes the tables of docs/verdict-simulations.md; ``--quick`` shows in seconds
that it runs. Cost is trainings in per cent of the full grid; power is how often the last arm, which alone is better, is
called so.
"""

from __future__ import annotations

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

LOOKS = (3, 5, 8)
FIXED = 5
WORLD = ScoreWorld(seeds=LOOKS[-1], run=0.0085, run_crop=0.02, arm_crop=0.007)
"""A full grid finds +0.02 in about four experiments of five."""


def race(table: CountTable, looks: tuple[int, ...] = LOOKS) -> tuple[Verdict, list[LookRecord]]:
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

    def cells(self) -> tuple[str, str, str]:
        """Write cost, power and false claims."""
        return f"{100 * np.mean(self.cost):.0f}", percent(self.found), percent(self.false)


def compare(world: ScoreWorld, rng: np.random.Generator, reps: int) -> tuple[Tally, Tally, Tally, list[int]]:
    """Judge the same experiments as a full grid, at few fixed seeds, and raced; also return where races ended."""
    grid, fixed, raced, ends = Tally(), Tally(), Tally(), []
    for _ in range(reps):
        table = world.draw(rng)
        grid.add(world, judge_fast(table), 1.0)
        fixed.add(world, judge_fast(first_seeds(table, FIXED)), FIXED / world.seeds)
        verdict, records = race(table)
        raced.add(world, verdict, sum(map(len, records[-1].runs.values())) / (world.arms * world.seeds))
        ends.append(records[-1].race.seeds if records[-1].race else 0)
    return grid, fixed, raced, ends


def worlds(*, quick: bool) -> dict[str, ScoreWorld]:
    """Name the worlds."""
    named = {
        f"{'null' if not gain else f'one arm +{gain:.2f}'}": replace(WORLD, gain=gain) for gain in (0, 0.01, 0.02, 0.03)
    }
    many = {f"12 arms, {name}": replace(world, arms=12) for name, world in named.items()}
    odd = {
        "null, t with 3 df": replace(WORLD, noise=Noise.T3),
        "null, baseline with 3 x the sd": replace(WORLD, baseline_noise=3.0),
    }
    six = {f"6 arms, {name}": world for name, world in (named | odd).items()}
    return dict(list(six.items())[:2]) if quick else six | many


def main() -> None:
    """Write the table."""
    telling = Telling(__doc__, reps=1000, quick=10)
    columns = [f"{what}: {name}" for what in ("grid", "fixed", "race") for name in ("cost %", "power %", "false %")]
    telling.say(*table_head("world", *columns, "power: race less grid", "ended at seeds (mean)"))
    for number, (name, world) in enumerate(worlds(quick=telling.is_quick).items()):
        reps = telling.reps if world.gain else telling.reps // 2
        *tallies, ends = compare(world, telling.rng(number), reps)
        less = np.array(tallies[2].found, float) - np.array(tallies[0].found, float)
        cells = [cell for tally in tallies for cell in tally.cells()]
        apart = f"{100 * less.mean():+.1f} ± {100 * less.std() / len(less) ** 0.5:.1f}" if world.gain else "-"
        telling.say(table_row(name, *cells, apart, f"{np.mean(ends):.1f}"))
    telling.finish()


if __name__ == "__main__":
    main()
