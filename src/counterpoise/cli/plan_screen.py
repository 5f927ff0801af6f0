"""How a plan looks: paragraphs and tables on a terminal, plain values for other programs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from counterpoise.cli.screen import Column, console, print_notes, print_table
from counterpoise.cli.verdict import fold_blocks
from counterpoise.preflight.cost import Cost
from counterpoise.preflight.plan import POWER, CostBasis, NoiseChoice, Outlook, Plan
from counterpoise.report import hypothesis_statements, statements
from counterpoise.report.blocks import Paragraph, labelled
from counterpoise.report.statements import Entry
from counterpoise.statistics.support import PlannedSupport
from counterpoise.statistics.verdict_types import Obstacle, Settings
from counterpoise.text import counted, duration, finite, fixed, listed, percent, shortest, size

__all__ = ["plan_as_json", "print_plan"]

_LABEL_WIDTH = 10


def print_plan(plan: Plan) -> None:
    """Print the design, what it can show, and what it costs."""
    _print_blocks(labelled(_describe_design(plan), _LABEL_WIDTH))
    console.print()
    print_table(_support_columns(plan.support))
    print_notes(plan.design.notes, to=console)
    console.print()
    _print_blocks(labelled([Entry("Noise", text) for text in _describe_noise(plan)], _LABEL_WIDTH))
    if plan.outlook is not None and plan.obstacle is not Obstacle.NO_CLASS:
        console.print()
        print_table(
            _outlook_columns(plan, plan.outlook),
            title=f"Differences to {plan.experiment.arms.baseline} in mean Dice that can be detected",
        )
    console.print()
    for sentence in _conclusions(plan):
        console.print(sentence)
    _print_hypotheses(plan)
    console.print()
    _print_blocks(labelled(_describe_cost(plan), _LABEL_WIDTH))


def _print_blocks(blocks: Iterable[Paragraph]) -> None:
    for line in fold_blocks(blocks, console.width):
        console.print(line, soft_wrap=True)


def _describe_design(plan: Plan) -> list[Entry]:
    arms, experiment, design, support = plan.arms, plan.experiment, plan.design, plan.support
    copies = [f"{arm.name} is {arm.same_as} again" for arm in design.arms if arm.same_as and not arm.runs]
    scored = sum(entry.scored for entry in support.classes)
    unit = f"validation {support.unit.noun}"
    trained = f"{len(arms)}: {', '.join(arms)}" + (f"; not trained: {', '.join(copies)}" if copies else "")
    data = f"{counted(support.clusters, unit)} ({statements.effective(support.effective)})"
    if support.select:
        data += f", thresholds tuned on {support.select} more"
    data += f", {counted(len(design.tiles.patches), 'fixed tile')} (list {design.tiles.hash()})"
    return [
        Entry("Question", statements.question(experiment.arms.baseline, experiment.verdict.margin)),
        Entry("Arms", trained),
        Entry("Runs", statements.design(len(arms), len(experiment.arms.seeds), len(design.trials))),
        *(Entry("Race", text) for text in _race(plan)),
        Entry("Data", f"{data}; {scored} of {len(support.classes)} classes can be scored"),
    ]


def _race(plan: Plan) -> Iterator[str]:
    """Say what a race will cost beside the full grid; nothing without one."""
    race, looks = plan.race, plan.experiment.arms.race_looks
    if race is None or looks is None:
        return
    after = listed(tuple(map(str, looks)))
    yield f"looks after {after} seeds; at most {counted(race.worst, 'training')}, as many as the full grid"
    (_, equal), *better = race.expected
    shares = [f"{trainings:.0f} if one arm is better by {shortest(gain)}" for gain, trainings in better]
    yield f"expected: {equal:.0f} if all arms are equal, {listed(tuple(shares))}"


def _support_columns(support: PlannedSupport) -> list[Column]:
    rows = [("class", f"{support.unit.nouns} with positives", "effective", "scored")]
    for entry in support.classes:
        scored = "yes" if entry.scored else f"no: needs {Settings.min_crops}"
        rows.append((entry.name, str(entry.positive_crops), fixed(entry.effective_crops, 1), scored))
    return list(zip(*rows, strict=True))


def _describe_noise(plan: Plan) -> Iterator[str]:
    noise, unit = plan.noise, plan.support.unit.noun
    own = noise.values.run_sd * math.sqrt(1 - noise.values.seed_share)
    yield f"{statements.retraining(own)}: {noise.source}"
    if noise.is_measured:
        shared = f"{percent(round(noise.values.seed_share, 2))} of the whole variance"
        yield f"beyond that, what all arms of a seed share: {shared}, which the comparison removes"
    else:
        yield "nothing is assumed to be shared by the arms of a seed"
    if not plan.support.has_enough_crops:
        yield statements.few_planned(Settings(unit=plan.support.unit))
    if noise.values.crop_sd > 0:
        yield f"the difference of two arms varies by ±{noise.values.crop_sd:.4f} from {unit} to {unit}"
    elif noise.is_measured:
        yield f"no difference of two arms was found to vary from {unit} to {unit}"
    else:
        yield f"arms are taken to differ alike on every {unit} (--crop-sd); if not, less is detectable than this"
    if plan.experiment.verdict.thresholds == "tuned" and noise.threshold is not None:
        yield _describe_threshold(noise)


def _describe_threshold(noise: NoiseChoice) -> str:
    if noise.threshold == "tuned":
        return "this is the noise of scores at tuned thresholds, on the half that was not tuned on"
    text = "this is the noise of scores at threshold 1/2; that of tuned thresholds is not known"
    return f"{text}: that run has no counts to tune them with" if noise.is_measured else text


def _outlook_columns(plan: Plan, outlook: Outlook) -> list[Column]:
    planned = len(plan.experiment.arms.seeds)
    rows = [("seeds", "trainings", "half-width of interval", f"found with {percent(POWER)} power")]
    for seeds, precision in outlook.by_seeds.items():
        rows.append(
            (
                f"{seeds} (planned)" if seeds == planned else str(seeds),
                str(seeds * len(plan.arms)),
                f"{precision.half_width:.4f}",
                f"{precision.detectable:.4f}",
            )
        )
    return list(zip(*rows, strict=True))


def _conclusions(plan: Plan) -> Iterator[str]:
    margin, seeds = plan.experiment.verdict.margin, len(plan.experiment.arms.seeds)
    units = plan.support.unit.nouns
    if plan.obstacle:
        yield f"There can be no verdict: {_obstacle(plan)}."
    if plan.outlook is None or plan.obstacle is Obstacle.NO_CLASS:
        return
    needed = plan.outlook.for_margin
    if not plan.obstacle:
        precision = plan.outlook.by_seeds[seeds]
        reach = f"a difference of {precision.detectable:.3f} or more will be found (with {percent(POWER)} power)"
        yield f"With {seeds} seeds {reach}; one below {precision.half_width:.3f} will more often be missed than found."
    if needed is None:
        yield (
            f"Your margin is {margin:.3f}: no number of seeds finds that with these {units}; it takes more validation "
            f"{units}."
        )
    elif needed <= seeds and not plan.obstacle:
        yield f"Your margin is {margin:.3f}: these seeds are enough ({needed} would be{_band(plan)})."
    else:
        yield f"Your margin is {margin:.3f}: finding that would take about {needed} seeds{_band(plan)}."


def _band(plan: Plan) -> str:
    """Say how uncertain a number of seeds is, where it rests on a measured noise; empty elsewhere."""
    if plan.outlook is None or plan.outlook.band is None or plan.noise.values.df is None:
        return ""
    known = f"the noise is known with {plan.noise.values.df:.0f} degrees of freedom"
    return f", or {statements.band(plan.outlook.band)}, since {known}"


def _obstacle(plan: Plan) -> str:
    """Say why no verdict can come of the plan; empty if one can."""
    match plan.obstacle:
        case None:
            return ""
        case Obstacle.ONE_ARM:
            return statements.ONE_ARM
        case Obstacle.FEW_SEEDS:
            return f"it needs {Settings.min_seeds} seeds, and the plan has {len(plan.experiment.arms.seeds)}"
        case _:
            return f"no class has positives in {Settings.min_crops} scored validation {plan.support.unit.nouns}"


def _untestable(plan: Plan) -> list[tuple[str, str]]:
    settings = Settings(unit=plan.support.unit)
    return [
        (claim, hypothesis_statements.untestable(why, settings, no_verdict=_obstacle(plan)))
        for claim, why in plan.untestable
    ]


def _print_hypotheses(plan: Plan) -> None:
    """Say which hypotheses cannot be tested with this design; nothing if all can."""
    if plan.obstacle and plan.untestable:
        console.print("Without a verdict no hypothesis can be tested.")
    elif plan.untestable:
        share = f"{len(plan.untestable)} of the experiment's {len(plan.experiment.hypothesis)}"
        console.print(f"Hypotheses that this design cannot test ({share}):")
        _print_blocks(Paragraph(f"  {claim}: {text}", hang=4) for claim, text in _untestable(plan))


def _describe_cost(plan: Plan) -> list[Entry]:
    machine = [Entry("Machine", reason) for reason in plan.design.machine.reasons]
    return machine + [Entry("Cost", text) for text in _costs(plan)]


def _costs(plan: Plan) -> Iterator[str]:
    yield _why_no_cost(plan) if plan.cost is None else _describe_basis(plan, plan.cost)
    if plan.cost is not None and plan.busy is not None:
        yield f"the machine was busy (load {plan.busy:.1f}): alone, trials will be faster than this"
    yield f"voxel store {size(plan.store_bytes)}, shared by all trials"
    if plan.cost is None:
        return
    finished = len(plan.design.trials) - plan.left
    if finished:
        yield f"{counted(finished, 'training')} finished before, and not counted here"
    about = "at least" if plan.basis is CostBasis.LOWER_BOUND else "about"
    work = f"{counted(plan.left, 'training')} x {duration(plan.cost.trial_s)} on {_slots(plan)}"
    raced = ""
    if plan.race is not None and plan.left == plan.race.worst:
        low, high = (duration(plan.cost.run_s * n / plan.race.worst) for n in plan.race.expected_range)
        raced = f" in the worst case, {low} to {high} expected of the race"
    yield f"{work}: {about} {duration(plan.cost.run_s)}{raced}; {size(plan.cost.disk_bytes)}"


def _why_no_cost(plan: Plan) -> str:
    reasons = {
        CostBasis.FINISHED: "every trial is finished",
        CostBasis.ELSEWHERE: f"not measured: trials run on {plan.experiment.engine.kind}, not here",
        CostBasis.NOT_ASKED: "not measured (--no-measure)",
    }
    return reasons.get(plan.basis, "not known: no training step could be begun in time; --measure waits for it")


def _describe_basis(plan: Plan, cost: Cost) -> str:
    """Say what the cost was worked out from, and the first figures."""
    epoch = f"{duration(cost.epoch_s)} per epoch"
    if plan.basis is CostBasis.LOWER_BOUND:
        return (
            f"estimated from a first step of a small batch that took too long: at least {epoch}; --measure waits for it"
        )
    memory = ""
    if cost.memory_bytes is not None:
        memory = f"; {size(cost.memory_bytes)} of memory"
        memory += f", {size(cost.gpu_memory_bytes)} on the GPU" if cost.gpu_memory_bytes else ""
        memory += " per trial"
    if plan.basis is CostBasis.ALL_SLOTS:
        return f"measured by a few steps in {_slots(plan)} at once: {epoch}{memory}"
    alone = "" if len(plan.design.machine.slots) == 1 else ", as if trials did not slow each other down"
    return f"estimated from steps of a small batch in one slot{alone}: {epoch}{memory}; --measure measures full batches"


def _slots(plan: Plan) -> str:
    return counted(len(plan.design.machine.slots), "slot")


# JSON --------------------------------------------------------------------------------------------------------------


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """Make plain values; what is not known is null."""
    experiment, design, support = plan.experiment, plan.design, plan.support
    outlook = plan.outlook
    return {
        "arms": list(plan.arms),
        "copies": {arm.name: arm.same_as for arm in design.arms if arm.same_as and not arm.runs},
        "baseline": experiment.arms.baseline,
        "seeds": list(experiment.arms.seeds),
        "trainings": len(design.trials),
        "tiles": {"count": len(design.tiles.patches), "hash": design.tiles.hash()},
        "clusters": {
            "unit": support.unit,
            "scored": support.clusters,
            "for_thresholds": support.select,
            "effective": finite(support.effective),
        },
        "classes": [{**asdict(entry), "effective_crops": finite(entry.effective_crops)} for entry in support.classes],
        "notes": [str(note) for note in design.notes],
        "noise": {
            **asdict(plan.noise.values),
            "source": plan.noise.source,
            "is_measured": plan.noise.is_measured,
            "threshold": plan.noise.threshold,
        },
        "no_verdict": _obstacle(plan),
        "untestable": [{"claim": claim, "reason": text} for claim, text in _untestable(plan)],
        "power": POWER,
        "precision": [] if outlook is None else [{"seeds": s, **asdict(p)} for s, p in outlook.by_seeds.items()],
        "race": None if plan.race is None else asdict(plan.race),
        "margin": experiment.verdict.margin,
        "seeds_for_margin": None if outlook is None else outlook.for_margin,
        "conclusions": list(_conclusions(plan)),
        "machine": {
            "slots": [slot.name for slot in design.machine.slots],
            "batch_size": design.machine.batch_size,
            "precision": design.machine.precision,
            "reasons": list(design.machine.reasons),
        },
        "trainings_left": plan.left,
        "store_bytes": plan.store_bytes,
        "load_average": plan.busy,
        "cost_basis": plan.basis.name.lower(),
        "cost": None if plan.cost is None else asdict(plan.cost),
    }
