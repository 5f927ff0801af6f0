"""How often the verdict is wrong, and what it can see: simulated experiments with known truth.

``python bench/verdict_simulation.py --out table.md`` makes tables of docs/verdict-simulations.md; ``--quick`` shows in
seconds that it runs. Every experiment is a table of voxel counts (TP, FP, FN per arm, seed, crop and class) as a run
folder would give; it goes through the functions of `counterpoise.statistics` that users' experiments go through.

What varies, on the logit scale of a class's Dice: level of the class; crop; seed (all arms of a seed alike); run (one
arm, one seed); run x crop; arm x crop. Besides: crop sizes (skewed, capped), prevalence, which classes a crop
annotates, annotated crops without the class, whether errors are false positives or negatives.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy import stats
from worlds import (
    ALPHA,
    BETTER,
    CLAIMS,
    MARGIN,
    Case,
    Simulator,
    Telling,
    World,
    as_table,
    percent,
    table_head,
    table_row,
)

from counterpoise.statistics.inference import Label, best_set, half_widths, label_interval
from counterpoise.statistics.measured import comparisons, measure
from counterpoise.statistics.scores import effective_crops, scorable_classes
from counterpoise.statistics.verdict_types import Settings


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
    table, scored = as_table(counts), scorable_classes(counts, 3)
    g_eff = float(effective_crops(counts)[scored].mean())
    found = measure(table, scored, g_eff, Settings())
    assert found.noise is not None
    assert found.pairs is not None
    half, middle = half_widths(found.pairs, ALPHA / comparisons(table)), found.pairs.difference[1:, 0]
    width = half[1:, 0]
    labels = [label_interval(d - w, d + w, MARGIN) for d, w in zip(middle.tolist(), width.tolist(), strict=True)]
    inside = best_set(found.pairs, np.ones(case.arms, bool), half)
    truth = np.zeros(case.arms - 1)
    truth[-1] = case.gain
    single = half_widths(found.pairs, ALPHA)[1:, 0]
    equal = labels[:-1] if case.gain else labels
    tally.claims.append(bool(CLAIMS & set(equal)) or labels[-1] is Label.WORSE)
    tally.covered.append(float((np.abs(middle - truth) <= single).mean()))
    tally.half_width.append(float(np.median(width)))
    tally.run_sd.append(found.noise.sd)
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


def cases(gains: tuple[float, ...], *, quick: bool) -> Iterator[Case]:
    """List cases: copies and arms that are equal on average, or one better arm."""
    sizes = [(6, 3), (6, 5), (6, 8), (12, 5)]
    for gain in gains:
        for same in (False,) if gain else (True, False):
            for arms, seeds in sizes[:1] if quick else sizes:
                for crops in (12,) if quick else (12, 40):
                    yield Case(arms, seeds, crops, gain=gain, same=same)


def main() -> None:
    """Write two tables: equal arms with the usual practice next to them, and one better arm."""
    telling = Telling(__doc__, reps=400, quick=40)

    def rows(gains: tuple[float, ...]) -> Iterator[tuple[tuple[object, ...], Tally]]:
        for number, case in enumerate(cases(gains, quick=telling.is_quick)):
            tally = simulate(case, Simulator(World(), telling.rng(len(gains), number)), telling.reps)
            crops = f"{case.crops} ({np.mean(tally.effective):.0f})"
            yield (case.truth, case.arms, case.seeds, crops, f"{np.median(tally.half_width):.4f}"), tally

    head = ("truth", "arms", "seeds", "crops (effective)", "half-width")
    usual = ("usual practice: false claim %", "same, Bonferroni %", "its coverage %")
    telling.say(*table_head(*head, "run sd", "false claim %", "coverage %", "a best arm kept %", *usual))
    for names, t in rows((0.0,)):
        cells = map(percent, (t.claims, t.covered, t.kept, t.usual_claims, t.usual_corrected, t.usual_covered))
        telling.say(table_row(*names, f"{np.mean(t.run_sd):.4f}", *cells))
    found = ("called better %", "baseline left the set %", "arms in the set", "best arm kept %", "coverage %")
    telling.say("", *table_head(*head, *found, "false claim about another arm %"))
    for names, t in rows((0.03,) if telling.is_quick else (0.01, 0.02, 0.03)):
        seen = (percent(t.found), percent(t.excluded), f"{np.mean(t.size):.1f}")
        telling.say(table_row(*names, *seen, percent(t.kept), percent(t.covered), percent(t.claims)))
    telling.finish()


if __name__ == "__main__":
    main()
