"""The verdict in worlds that nobody tuned to: how often it claims what is false, and whether it warns.

``python bench/sceptics.py --out table.md`` makes tables of docs/verdict-simulations.md; ``--quick`` shows in seconds
that it runs. Experiments are judged by the package's own `judge` and `judge_hypotheses`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from scipy import stats
from worlds import (
    ALPHA,
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

from counterpoise.experiment.hypothesis import Hypothesis, parse_claim
from counterpoise.runs.looks import LookRecord
from counterpoise.statistics.arm_verdict import ArmVerdict
from counterpoise.statistics.counts import CountTable
from counterpoise.statistics.hypotheses import judge_hypotheses
from counterpoise.statistics.hypothesis_types import HypothesisOutcome
from counterpoise.statistics.looks import LookHistory
from counterpoise.statistics.scores import pooled_scores
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import Settings, Unit, Verdict

DATA_SETS = Settings(unit=Unit.DATA_SET)


# One look ---------------------------------------------------------------------------------------------------------


def worlds() -> Iterator[tuple[str, ScoreWorld]]:
    """Name worlds in which all arms are equal for what is claimed; with one data set, crops are the clusters."""
    for noise in Noise:
        yield str(noise), ScoreWorld(seeds=3, noise=noise)
        yield str(noise), ScoreWorld(noise=noise)
    yield "12 arms", ScoreWorld(arms=12, seeds=3)
    yield "12 arms", ScoreWorld(arms=12)
    rare = ScoreWorld(present=(1.0, 1.0, 0.9, 0.2, 0.15))
    yield "5 classes, two of them in 4 and 3 crops", replace(rare, seeds=3)
    yield "5 classes, two of them in 4 and 3 crops", rare
    six = ScoreWorld(arm_crop=0.09)
    yield "arm x crop effects six times as large", six
    yield "the same, 8 seeds", replace(six, seeds=8)
    for crops, sizes in ((12, 1.0), (8, 1.2), (5, 1.2), (4, 2.0), (3, 3.0)):
        yield "few effective crops", ScoreWorld(crops=crops, sizes=sizes, arm_crop=0.03)
    for sets in (3, 4, 5):
        yield (
            "unit = data set, arms differ from crop to crop",
            ScoreWorld(crops=24, sets=sets, sizes=1.0, arm_crop=0.03),
        )
    for sets in (3, 4, 5):
        yield "unit = data set, arms differ from set to set", ScoreWorld(crops=24, sets=sets, sizes=1.0, arm_set=0.03)
    yield "a fifth of the runs missing", ScoreWorld(missing=0.2)
    yield "a fifth of the runs missing", ScoreWorld(missing=0.2, seeds=8, seed=0.02)


@dataclass
class Tally:
    """What happened in the experiments that had a verdict, one entry each."""

    effective: list[float] = field(default_factory=list)
    claims: list[bool] = field(default_factory=list)
    covered: list[float] = field(default_factory=list)
    """Share of single 95 % intervals that hold the truth."""
    half: list[float] = field(default_factory=list)
    contradicts: list[bool] = field(default_factory=list)
    """Some arm's Dice less the baseline's has not the sign of its difference."""
    noisy: list[bool] = field(default_factory=list)
    stray: list[bool] = field(default_factory=list)
    recommends: list[bool] = field(default_factory=list)
    """An arm that is no better than the baseline."""
    named: list[bool] = field(default_factory=list)
    """Whether that is so, of the experiments that name an arm."""

    def add(self, world: ScoreWorld, verdict: Verdict) -> None:
        """Count a verdict; the better arm's own label is no false claim unless it is "worse"."""
        if verdict.recommendation.arm is None:
            return
        base, best = verdict.arm(verdict.baseline), f"arm_{world.arms - 1}" if world.gain else ""
        arms = [arm for arm in verdict.arms if arm.comparison and arm.comparison.se and not arm.control_of]
        truth = {arm.name: world.gain if arm.name == best else 0.0 for arm in arms}
        self.effective.append(verdict.effective_crops or np.nan)
        self.claims.append(any(_is_false(arm, truth[arm.name]) for arm in arms))
        self.covered.append(float(np.mean([_misses(arm, truth[arm.name]) <= 1 for arm in arms])))
        self.half.append(verdict.visible_difference or np.nan)
        self.contradicts.append(any(_contradicts(arm, base) for arm in arms))
        self.noisy.append(verdict.baseline_is_noisy)
        self.stray.append(any(arm.stray for arm in verdict.arms))
        chosen = verdict.recommendation.arm
        self.recommends.append(chosen not in {verdict.baseline, best})
        if chosen != verdict.baseline:
            self.named.append(chosen != best)


def _is_false(arm: ArmVerdict, truth: float) -> bool:
    assert arm.comparison is not None
    return arm.comparison.label in CLAIMS and not (truth > 0 and arm.comparison.label.startswith("better"))


def _misses(arm: ArmVerdict, truth: float, level: float = ALPHA) -> float:
    """Return the distance to the truth in half-widths of a single interval."""
    found = arm.comparison
    assert found is not None
    if found.difference is None or found.se is None:
        return 0.0
    return abs(found.difference - truth) / (found.se * float(stats.t.isf(level / 2, found.df)))


def _contradicts(arm: ArmVerdict, base: ArmVerdict) -> bool:
    assert arm.comparison is not None
    if arm.score is None or base.score is None or arm.comparison.difference is None:
        return False
    return (arm.score - base.score) * arm.comparison.difference < 0


def simulate(world: ScoreWorld, rng: np.random.Generator, reps: int) -> Tally:
    """Judge experiments of a world; with several data sets, these are the unit."""
    tally = Tally()
    for _ in range(reps):
        table = world.draw(rng)
        tally.add(world, judge_fast(table.by_data_set(), DATA_SETS) if world.sets > 1 else judge_fast(table))
    return tally


def world_rows(telling: Telling) -> Iterator[str]:
    """Write a row per world: what is claimed, and false alarms of the warnings."""
    flags = ("signs contradict %", "baseline called noisy %", "a run called stray %")
    names = ("world", "arms x seeds", "crops or sets (effective)")
    yield from table_head(*names, "false claims %", "coverage %", "half-width", *flags)
    for number, (name, world) in enumerate(list(worlds())[:: 8 if telling.is_quick else 1]):
        t = simulate(world, telling.rng(1, number), telling.reps)
        clusters = f"{world.sets if world.sets > 1 else world.crops} ({np.mean(t.effective):.1f})"
        cells = (percent(t.claims), percent(t.covered), f"{np.median(t.half):.4f}")
        more = map(percent, (t.contradicts, t.noisy, t.stray))
        yield table_row(name, f"{world.arms} x {world.seeds}", clusters, *cells, *more)


# What is wrong with an arm, and is said ---------------------------------------------------------------------------


def noisy_rows(telling: Telling) -> Iterator[str]:
    """Write a row per noise of the baseline and number of seeds."""
    yield from table_head(
        "baseline's run sd", "arms x seeds", "false claims %", "half-width", "baseline called noisy %"
    )
    for number, noise in enumerate((1.0, 2.0, 3.0)):
        for seeds in (3,) if telling.is_quick else (3, 5, 8):
            world = ScoreWorld(seeds=seeds, baseline_noise=noise)
            t = simulate(world, telling.rng(2, number, seeds), telling.reps)
            cells = (percent(t.claims), f"{np.median(t.half):.4f}", percent(t.noisy))
            yield table_row(f"{noise:g} x", f"{world.arms} x {seeds}", *cells)


@dataclass
class Failures:
    """How runs that failed unseen were dealt with."""

    claims: list[bool] = field(default_factory=list)
    """Of experiments with a failed run."""
    silent: list[bool] = field(default_factory=list)
    """A claim although no run was called stray."""
    recommends: list[bool] = field(default_factory=list)
    hit: list[bool] = field(default_factory=list)
    """Whether a failed run is called stray, run by run."""
    alarm: list[bool] = field(default_factory=list)
    """Whether a sound one is."""


def fail(world: ScoreWorld, rng: np.random.Generator, reps: int) -> Failures:
    """Judge experiments in which a run in ten of one arm fails."""
    tally = Failures()
    for _ in range(reps):
        table = world.draw(rng)
        theta = pooled_scores(table.counts, np.ones(len(table.classes), bool))
        failed = theta < np.median(theta) - 10 * world.run
        verdict = judge_fast(table)
        stray = np.array([[s in verdict.arm(name).stray for s in table.seeds] for name in table.arms])
        tally.hit += stray[failed].tolist()
        tally.alarm += stray[~failed].tolist()
        if failed.any():
            claims = bool(CLAIMS & set(labels(verdict).values()))
            tally.claims.append(claims)
            tally.silent.append(claims and not stray.any())
            tally.recommends.append(verdict.recommendation.arm != verdict.baseline)
    return tally


def failing_rows(telling: Telling) -> Iterator[str]:
    """Write a row per failing arm and number of seeds."""
    claims = ("any claim %", "a claim, and no run called stray %", "another arm than the baseline recommended %")
    yield from table_head("failing", "arms x seeds", *claims, "failed runs called stray %", "sound runs called stray %")
    for name, arm in (("another arm", 5), ("the baseline", 0)):
        for seeds in (5,) if telling.is_quick else (3, 5, 8):
            world = ScoreWorld(seeds=seeds, failing=(arm,))
            t = fail(world, telling.rng(3, arm, seeds), telling.reps)
            cells = map(percent, (t.claims, t.silent, t.recommends, t.hit, t.alarm))
            yield table_row(name, f"{world.arms} x {seeds}", *cells)


def control_rows(telling: Telling) -> Iterator[str]:
    """Write a row per number of seeds: an A/A control beside one arm that is really compared."""
    titles = ("false claims about the other arm %", "its coverage %", "half-width", "the control called different %")
    yield from table_head("arms x seeds", *titles)
    for seeds in (3,) if telling.is_quick else (3, 5, 8):
        world, rng, t = ScoreWorld(arms=3, seeds=seeds, is_control=True), telling.rng(4, seeds), Tally()
        different = []
        for _ in range(telling.reps):
            verdict = judge_fast(world.draw(rng))
            t.add(world, verdict)
            different.append(labels(verdict)["arm_1"] in CLAIMS)
        cells = (percent(t.claims), percent(t.covered), f"{np.median(t.half):.4f}", percent(different))
        yield table_row(f"3 x {seeds}", *cells)


def recommendation_rows(telling: Telling) -> Iterator[str]:
    """Write a row per gain: how often another arm than the baseline is named, and how often a wrong one."""
    titles = ('says "Use X" %', "of these: X is no better than the baseline %", "of all %")
    yield from table_head("one arm better by", "arms x seeds", *titles)
    for number, gain in enumerate((0.0, 0.01, 0.02)):
        world = ScoreWorld(gain=gain)
        t = simulate(world, telling.rng(5, number), 3 * telling.reps)
        used = [True] * len(t.named) + [False] * (len(t.claims) - len(t.named))
        cells = (percent(used), percent(t.named), percent(t.recommends))
        yield table_row(f"+{gain:.2f}", f"{world.arms} x {world.seeds}", *cells)


# Several looks ----------------------------------------------------------------------------------------------------

LOOKS = {
    "one look, as planned": ((5, 5),),
    "two looks, as planned": ((4, 8), (8, 8)),
    "eight looks, as planned": tuple((seeds, 10) for seeds in range(3, 11)),
    "seeds added once after the end": ((5, 5), (8, 8)),
    "seeds added three times after the end": ((5, 5), (6, 6), (8, 8), (10, 10)),
}
"""Seeds, and the most that were planned at that time."""


def look_on(table: CountTable, looks: tuple[tuple[int, int], ...]) -> tuple[list[Verdict], list[bool]]:
    """Judge a growing experiment look by look; also say which looks would claim something if each were the only one."""
    records, verdicts, unpaid = list[LookRecord](), [], []
    for seeds, planned in looks:
        runs = dict.fromkeys(table.arms, table.seeds[:seeds])
        seen = first_seeds(table, planned).seen_at(runs, seeds)
        verdict = judge_fast(seen, history=LookHistory(tuple(records)))
        records.append(LookRecord(runs, planned))
        verdicts.append(verdict)
        others = [arm for arm in verdict.arms if arm.comparison]
        unpaid.append(any(_misses(arm, 0.0, ALPHA / len(others)) > 1 for arm in others))
    return verdicts, unpaid


def look_rows(telling: Telling) -> Iterator[str]:
    """Write a row per plan of looks."""
    titles = ("false claims at any look %", "error rate it says %", "had looks been free %")
    yield from table_head("looks", "seeds", *titles, "found at any look, one arm +0.02 %")
    for number, (name, looks) in enumerate(LOOKS.items()):
        paid, free, rate, found = [], [], 0.0, []
        for gain in (0.0, 0.02):
            world, rng = ScoreWorld(seeds=looks[-1][1], gain=gain), telling.rng(6, number, int(100 * gain))
            for _ in range(telling.reps if gain else 2 * telling.reps):
                verdicts, unpaid = look_on(world.draw(rng), looks)
                said = [labels(verdict) for verdict in verdicts]
                if gain:
                    found.append(any(look["arm_5"] in BETTER for look in said))
                else:
                    paid.append(any(CLAIMS & set(look.values()) for look in said))
                    free.append(any(unpaid))
                    rate = verdicts[-1].looks.error_rate
        seeds = ", ".join(f"{seeds} of {planned}" for seeds, planned in looks)
        yield table_row(name, seeds, percent(paid), f"{100 * rate:.1f}", percent(free), percent(found))


# Questions chosen after looking -----------------------------------------------------------------------------------


def hypothesis_rows(telling: Telling) -> Iterator[str]:
    """Write what becomes of claims that were read off the results, where all arms are equal."""
    world, rng = ScoreWorld(present=(1.0, 1.0, 1.0)), telling.rng(7)
    supported, marked, counted = [], [], []
    for _ in range(telling.reps):
        table = world.draw(rng)
        verdict = judge(table)
        found = judge_hypotheses(after_looking(verdict), table, verdict, stated=())
        said = [entry.outcome is HypothesisOutcome.SUPPORTED for entry in found]
        supported.append(any(said))
        marked += [entry.is_exploratory for entry in found]
        counted.append(any(yes and not entry.is_exploratory for yes, entry in zip(said, found, strict=True)))
    titles = ("some claim supported %", "claims marked exploratory %", "supported, and not marked so %")
    yield from table_head("arms x seeds", *titles)
    yield table_row(f"{world.arms} x {world.seeds}", *map(percent, (supported, marked, counted)))


def after_looking(verdict: Verdict) -> list[Hypothesis]:
    """Claim of each class, and of the mean, that the arm farthest from the baseline is on its side."""
    base = verdict.baseline
    found = [(f"{arm.name}", arm.plain_difference or 0.0, "") for arm in verdict.arms if arm.name != base]
    for name in verdict.scored:
        column = [(arm.name, arm.of_class(name)) for arm in verdict.arms if arm.name != base]
        found += [(arm, entry.plain_difference or 0.0, f"[{name}]") for arm, entry in column if entry]
    claims = []
    for of in dict.fromkeys(of for _, _, of in found):
        arm, difference, _ = max((entry for entry in found if entry[2] == of), key=lambda entry: abs(entry[1]))
        claims.append(f"{arm}{of} {'>' if difference > 0 else '<'} {base}{of}")
    return [Hypothesis(claim=parse_claim(text)) for text in claims]


def main() -> None:
    """Write the tables."""
    telling = Telling(__doc__, reps=600, quick=10)
    rows: tuple[Callable[[Telling], Iterator[str]], ...] = (
        world_rows, noisy_rows, failing_rows, control_rows, recommendation_rows, look_rows, hypothesis_rows
    )  # fmt: skip
    for table in rows:
        for line in table(telling):
            telling.say(line)
        telling.say("")
    telling.finish()


if __name__ == "__main__":
    main()
