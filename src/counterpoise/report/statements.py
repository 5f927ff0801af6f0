"""Every sentence about a result, made once, from the verdict; each surface chooses which of them it shows, and where.

The terminal, ``verdict.json``, the page, the captions of a paper's tables and ``best.toml`` all take their words from
here. Signs are ASCII; a page sets true minus signs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from counterpoise.report import history_statements as history
from counterpoise.report import training_statements
from counterpoise.statistics.arm_verdict import ArmVerdict, BaselineComparison, ClassDifference, SeedsBand
from counterpoise.statistics.counts import RunCell, RunState
from counterpoise.statistics.inference import Label, chance_of_any
from counterpoise.statistics.verdict_types import Obstacle, RecommendationReason, Settings, Unit, Verdict
from counterpoise.text import counted, fixed, interval, listed, percent, shortest, signed

__all__ = [
    "EXPLORATORY", "NO_SCORE", "ONE_ARM", "SPREAD", "Entry", "band", "basis", "bet", "by_chance",
    "comparison_text", "conclusions", "design", "effective", "few_effective", "few_planned", "headline", "incomplete",
    "label", "obstacle", "outcome", "question", "reason", "retraining", "scope", "score_in_words",
    "scoring",
]  # fmt: skip

ONE_ARM = "there is one arm, and nothing to compare it with"
NO_SCORE = "No trial has finished, so there is no score to show."

ROUGH = "the intervals allow for that, and are wide and rough themselves"

SPREAD = (
    "±: standard deviation over the finished seeds. noise: the same without what all arms of a seed share, which "
    "cancels in differences."
)

EXPLORATORY = "Exploratory: not corrected for the number of classes and arms."

_GOOD_AS_BASELINE = {Label.WORSE, Label.SAME}
_BETTER = {Label.BETTER, Label.BETTER_BY_MARGIN}


@dataclass(frozen=True)
class Entry:
    """A statement under its label; entries of one label stand together."""

    label: str
    text: str


# Pieces -----------------------------------------------------------------------------------------------------------


def label(arm: ArmVerdict, verdict: Verdict) -> str:
    """Say in a word or two what an arm's comparison shows."""
    if arm.name == verdict.baseline:
        return Label.BASELINE
    if arm.comparison is None:
        return "no verdict"
    found = arm.comparison.label
    rests_on_margin = found in {Label.SAME, Label.BETTER_BY_MARGIN}
    is_exploratory = verdict.is_exploratory or (verdict.has_new_margin and rests_on_margin)
    return f"{found} (exploratory)" if is_exploratory and found is not Label.NOT_COMPARED else found


def outcome(arm: ArmVerdict, verdict: Verdict) -> str:
    """Say what an arm's comparison shows, and whether a race went on without it."""
    found = label(arm, verdict)
    return found if arm.dropped_after is None else f"{found}, left after {counted(arm.dropped_after, 'seed')}"


def comparison_text(found: BaselineComparison | ClassDifference) -> str:
    """Write a difference and its interval."""
    return f"{signed(found.difference)} {interval(found.low, found.high)}"


def question(baseline: str, margin: float) -> str:
    """Say what is asked."""
    return f"which weighting gives the best Dice? Baseline: {baseline}; margin that matters to you: {fixed(margin)}"


def design(arms: int, seeds: int, trainings: int) -> str:
    """Say how many trainings there are, or will be."""
    return f"{counted(arms, 'arm')} x {counted(seeds, 'seed')} = {counted(trainings, 'training')}"


def retraining(sd: float, about: str = "") -> str:
    """Say how much a score moves when the same arm is trained again; ``about`` is said of the figure."""
    return f"retraining the same arm moves the score by ±{fixed(sd, 4)} (1 sd{about})"


def effective(number: float | None) -> str:
    """Write how many crops, or data sets, scores effectively rest on."""
    return f"effective number {fixed(number, 1)}"


def _units(verdict: Verdict) -> str:
    return f"validation {verdict.settings.unit.nouns}"


# The outcome ------------------------------------------------------------------------------------------------------


def headline(verdict: Verdict) -> str:
    """Say the outcome in one sentence."""
    if not verdict.has_verdict:
        return f"No verdict: {obstacle(verdict)}."
    mark = "Exploratory, no claim. " if verdict.is_exploratory else ""
    chosen, where = verdict.recommendation, scope(verdict)
    if chosen.arm is None or chosen.arm == verdict.baseline:
        labels = [arm.comparison.label for arm in verdict.arms if arm.comparison]
        keep = f"{mark}Keep {verdict.baseline} {where}: {reason(verdict)}"
        if labels and set(labels) <= _GOOD_AS_BASELINE:
            margin = shortest(verdict.settings.margin)
            mark = " (exploratory: the margin was changed)" if verdict.has_new_margin else ""
            return f"{keep}; every other arm is worse, or the same within {margin}{mark}."
        return f"{keep}. {undetectable(verdict)}"
    comparison = verdict.arm(chosen.arm).comparison
    against = ""
    if comparison and comparison.difference is not None:
        found = label(verdict.arm(chosen.arm), verdict).replace(" (exploratory)", ", exploratory")
        against = f" Against {verdict.baseline}: {comparison_text(comparison)} ({found})."
    return f"{mark}Use {chosen.arm} {where}: {reason(verdict)}.{against}"


def scope(verdict: Verdict) -> str:
    """Say what a verdict is for: what was sampled."""
    if verdict.settings.unit is Unit.DATA_SET:
        return f"for new data sets like these {verdict.crops}"
    this = "this data set" if verdict.data_sets == 1 else f"these {counted(verdict.data_sets, 'data set')}"
    return f"for new crops of {this}"


def obstacle(verdict: Verdict) -> str:
    """Say why there is no verdict; empty if there is one."""
    settings = verdict.settings
    return (
        ""
        if verdict.obstacle is None
        else {
            Obstacle.UNTRAINED: training_statements.untrained(verdict),
            Obstacle.NO_RUN: training_statements.no_run(verdict),
            Obstacle.NO_LOOK: "the race has not come to its first look",
            Obstacle.NO_CLASS: f"no class has positives in {settings.min_crops} {_units(verdict)}",
            Obstacle.ONE_ARM: ONE_ARM,
            Obstacle.NO_BASELINE: f"the baseline {verdict.baseline} has no finished run",
            Obstacle.FEW_SEEDS: (
                f"it needs {settings.min_seeds} seeds; the baseline and another arm have {verdict.common_seeds} "
                "finished in common"
            ),
            Obstacle.NO_NOISE: "no run is left to estimate the noise from",
            Obstacle.NO_REPETITION: (
                "in every seed the arms scored alike, or differed by the same amounts: no noise to judge differences by"
            ),
        }[verdict.obstacle]
    )


def reason(verdict: Verdict) -> str:
    """Say why an arm is recommended, or none."""
    chosen, margin = verdict.recommendation, shortest(verdict.settings.margin)
    new_margin = ", exploratory: the margin was changed" if verdict.has_new_margin else ""
    text = {
        RecommendationReason.NO_VERDICT: f"no verdict: {obstacle(verdict)}",
        RecommendationReason.BASELINE_MAY_BE_BEST: f"no evidence that {_rival(verdict)}",
        RecommendationReason.HIGHEST: f"the highest score of those that beat {verdict.baseline}",
        RecommendationReason.SIMPLEST: (
            f"the simplest of those that beat {verdict.baseline} and are within {margin} of {chosen.top}, the highest"
            f"{new_margin}"
        ),
    }[chosen.reason]
    return f"{text}; the baseline is unstable" if chosen.baseline_is_unstable else text


def _rival(verdict: Verdict) -> str:
    """Say what there is no evidence of where the baseline is kept; an arm may be better that is not eligible."""
    if any(arm.comparison is not None and arm.comparison.label in _BETTER for arm in verdict.arms):
        return "another arm that may be recommended is better"
    return "weighting helps" if verdict.recommendation.baseline_is_uniform else "another is better"


def undetectable(verdict: Verdict) -> str:
    """Say which true differences these runs detect less than half of the time; empty without a verdict."""
    if verdict.visible_difference is None:
        return ""
    return f"These runs more often miss than find differences below about {fixed(verdict.visible_difference)}."


# What it rests on -------------------------------------------------------------------------------------------------


def basis(verdict: Verdict) -> Iterator[Entry]:
    """Say what was asked, and what the answer rests on: data, runs, noise."""
    yield Entry("Question", question(verdict.baseline, verdict.settings.margin))
    yield Entry("Data", _data(verdict))
    yield Entry("Runs", _runs(verdict))
    yield from (Entry("Runs", incomplete(cell)) for cell in verdict.incomplete)
    yield from (Entry("Noise", text) for text in _noise(verdict))
    yield from (Entry("Training", text) for text in training_statements.trained(verdict))
    yield from (Entry("Looks", text) for text in history.looks(verdict))
    yield from (Entry("Race", text) for text in history.race(verdict))
    yield from (Entry("Changed", f"{text}.") for text in history.changes(verdict))


def _data(verdict: Verdict) -> str:
    tiles = f", fixed list {verdict.tiles_hash}" if verdict.tiles_hash else ""
    units = scored_units(verdict)
    if verdict.settings.thresholds == "tuned":
        units += f", thresholds tuned on {counted(verdict.settings.select_crops, 'other crop')}"
    text = f"{units}{tiles}; {counted(len(verdict.scored), 'class')} scored, {len(verdict.unscored)} not scorable"
    if verdict.unscored:
        named = ", ".join(f"{c.name} (positives in {c.positive_crops})" for c in verdict.unscored)
        least, nouns = verdict.settings.min_crops, verdict.settings.unit.nouns
        text += f": {named}; a class needs positives in {least} {nouns}"
    return text


def scored_units(verdict: Verdict) -> str:
    """Say on how many crops, or data sets, scores rest, and what their effective number is."""
    number = "" if verdict.effective_crops is None else f" ({effective(verdict.effective_crops)})"
    text = f"{counted(verdict.crops, f'validation {verdict.settings.unit.noun}')}{number}"
    return f"{text} of {counted(verdict.data_sets, 'data set')}" if verdict.settings.unit.noun == "crop" else text


def _runs(verdict: Verdict) -> str:
    finished = sum(arm.runs for arm in verdict.arms)
    planned = sum(arm.planned for arm in verdict.arms)
    states = Counter(cell.state for cell in verdict.incomplete)
    rest = "".join(f", {number} {state}" for state, number in sorted(states.items()))
    if verdict.race:
        return (
            f"a race of {counted(len(verdict.arms), 'arm')} with at most {counted(len(verdict.seeds), 'seed')} each: "
            f"{finished} of at most {counted(planned, 'training')} finished{rest}"
        )
    return f"{design(len(verdict.arms), len(verdict.seeds), planned)}, {finished} finished{rest}"


_ADVICE = {
    RunState.DIVERGED: "counts as a result",
    RunState.FAILED: "run the same seed again",
    RunState.UNFINISHED: "not yet counted",
}


def incomplete(cell: RunCell) -> str:
    """Say what became of a run without a result."""
    said = cell.reason.splitlines()[0] if cell.reason else ""
    if cell.state is RunState.UNFINISHED:
        why = f"epoch {cell.epoch} of {cell.epochs}" if cell.epochs else said or "not started"
    elif cell.state is RunState.DIVERGED:
        why = said or f"collapsed: {training_statements.COLLAPSED}"
    else:
        why = said or "no reason recorded"
    return f"{cell.arm}, seed {cell.seed}: {cell.state} ({why}); {_ADVICE[cell.state]}"


def _noise(verdict: Verdict) -> Iterator[str]:
    noise = verdict.noise
    if noise is None:
        yield "unknown: no class is scored" if not verdict.scored else "unknown: it needs two seeds of two arms"
        return
    about = f"; {fixed(noise.low, 4)} to {fixed(noise.high, 4)}, {noise.df:.0f} degrees of freedom"
    yield f"{retraining(noise.sd, about)}. {undetectable(verdict)}".strip()
    if verdict.baseline_is_noisy:
        yield (
            f"{verdict.baseline}, the baseline, varies more from seed to seed than the others: its comparisons rest "
            "mostly on its own noise, and more of them are wrong than the overall rate says"
        )
    share = percent(round(noise.seed_share, 2))
    yield f"{share} of that variance is the seed's own, the same for all arms: it cancels in differences"


def scoring(verdict: Verdict) -> str:
    """Say how voxels became scores."""
    of_tiles = f"a fixed list of {verdict.tile_count} tiles in " if verdict.tile_count is not None else ""
    threshold = "above probability 1/2"
    if verdict.settings.thresholds == "tuned":
        threshold = f"above thresholds tuned on {counted(verdict.settings.select_crops, 'other crop')}"
    return (
        f"Present {threshold}; counts pooled over {of_tiles}{scored_units(verdict)}, averaged weights of the last "
        f"epoch, mean over {', '.join(verdict.scored) or 'no class'}."
    )


# What follows -----------------------------------------------------------------------------------------------------


def conclusions(verdict: Verdict) -> Iterator[Entry]:
    """Say which arms may be the best, what would decide the rest, and what all of it holds for."""
    if not verdict.has_verdict:
        return
    yield Entry("Best", best_set(verdict))
    yield from (Entry("Seeds", text) for text in _seeds_to_decide(verdict))
    yield from (Entry("Bet", text) for text in bet(verdict))
    yield Entry(
        "Scope", f"Holds {scope(verdict)}, this split, this model and schedule. {few_effective(verdict)}".strip()
    )


def best_set(verdict: Verdict) -> str:
    """Name the arms that cannot be told apart from the best."""
    inside = listed(verdict.best_set) or "none"
    count = f"{len(verdict.best_set)} of {counted(len(verdict.arms), 'arm')}"
    return f"Cannot be told apart from the best: {inside} ({count})."


def bet(verdict: Verdict) -> Iterator[str]:
    """Say what to bet on if one had to; it is no claim, and never stands alone."""
    found = verdict.bet
    if found is None:
        return
    if found.arm == verdict.baseline:
        yield f"Best bet, not a claim: {found.arm}; the arms spread no further above it than noise does."
    else:
        yield (
            f"Best bet, not a claim: {found.arm}, expected {signed(found.expected)} against {verdict.baseline} (what "
            "was seen, shrunk by what noise explains)."
        )


def _seeds_to_decide(verdict: Verdict) -> Iterator[str]:
    """Say how many seeds would find a difference of the margin, in one sentence for all undecided arms."""
    margin, undecided = fixed(verdict.settings.margin), [a for a in verdict.arms if a.is_undecided and not a.control_of]
    bands = [(arm.name, band(arm.seeds_to_decide)) for arm in undecided if arm.seeds_to_decide is not None]
    if bands:
        each = listed(tuple(f"{name} {number}" for name, number in bands))
        yield (
            f"Seeds per arm that would find a difference of {margin} from {verdict.baseline}, if there is one: {each} "
            "(finding none would not prove arms equal)."
        )
    if limited := [arm.name for arm in undecided if arm.seeds_to_decide is None]:
        yield (
            f"No number of seeds finds a difference of {margin}: {listed(limited)}. The {_units(verdict)} set the "
            "limit; it takes more of them."
        )


def band(found: SeedsBand) -> str:
    """Write a number of seeds that is not exactly known."""
    if found.high is None:
        return f"more than {found.low}"
    return f"{found.low}" if found.low == found.high else f"{found.low} to {found.high}"


def few_effective(verdict: Verdict) -> str:
    """Say that an answer rests on few crops; empty where it does not."""
    least, number = verdict.settings.min_effective, verdict.effective_crops
    if number is None or number >= least:
        return ""
    return f"It rests on few {verdict.settings.unit.nouns} ({effective(number)}): {ROUGH}."


def few_planned(settings: Settings) -> str:
    """Say that an answer will rest on few crops, before there is one."""
    return f"fewer than {shortest(settings.min_effective)} effective validation {settings.unit.nouns}: {ROUGH}"


def by_chance(verdict: Verdict) -> str:
    """Say how often a table of single intervals shows something where there is nothing; empty without intervals."""
    shown = [entry for arm in verdict.arms for entry in arm.classes if entry.low is not None]
    arms = len({arm.name for arm in verdict.arms if any(entry.low is not None for entry in arm.classes)})
    if not shown or not arms:
        return ""
    classes, alpha = len(shown) // arms, verdict.settings.alpha
    chance = chance_of_any(arms, classes, alpha)
    return (
        f"Of these {len(shown)} intervals, some exclude 0 in about {percent(round(chance, 2))} of experiments in which "
        "all arms are equal."
    )


def score_in_words(entry: ClassDifference) -> str:
    """Write a class's Dice, and its difference and interval if there are any."""
    if entry.low is None:
        return fixed(entry.dice)
    return f"{fixed(entry.dice)} {comparison_text(entry)}"
