"""How a plan looks: paragraphs and tables on a terminal, plain values for other programs."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from counterpoise.cli.progress import duration
from counterpoise.cli.screen import Column, console, counted, number, print_notes, print_table
from counterpoise.cli.verdict import fold_blocks
from counterpoise.experiment.config import Experiment
from counterpoise.preflight.design import Design
from counterpoise.preflight.estimate import Cost
from counterpoise.report.verdict_blocks import Paragraph
from counterpoise.statistics.precision import PlannedNoise, PlannedPrecision
from counterpoise.statistics.support import PlannedSupport
from counterpoise.statistics.verdict_types import Settings

__all__ = ["POWER", "NoiseChoice", "Outlook", "Plan", "plan_as_json", "print_plan"]

POWER = 0.8
"""Chance to find a difference that is said to be found."""

_GB, _MB = 1e9, 1e6
_TENTHS_BELOW_S = 10.0
_LABEL_WIDTH = 10
_NARROWEST = 40


@dataclass(frozen=True)
class NoiseChoice:
    """The noise that is planned with, and where it comes from, in words."""

    values: PlannedNoise
    source: str
    is_measured: bool
    threshold: Literal["half", "tuned"] | None
    """Of the scores whose noise it is; None if that was not said."""


@dataclass(frozen=True)
class Outlook:
    """What the planned arms and crops can show, by number of seeds; ``for_margin`` is None beyond any number."""

    by_seeds: dict[int, PlannedPrecision]
    for_margin: int | None


@dataclass(frozen=True)
class Plan:
    """Everything that is said.

    ``untestable`` are claims of hypotheses, each with the reason; ``busy`` is the load average of a machine that
    others use as well.
    """

    experiment: Experiment
    design: Design
    support: PlannedSupport
    noise: NoiseChoice
    obstacle: str
    untestable: tuple[tuple[str, str], ...]
    outlook: Outlook | None
    left: int
    store_bytes: int
    busy: float | None
    cost: Cost | None

    @property
    def arms(self) -> tuple[str, ...]:
        """Name the arms that are trained."""
        return tuple(arm.name for arm in self.design.arms if arm.runs)


def print_plan(plan: Plan, *, measured: bool) -> None:
    """Print the design, what it can show, and what it costs; ``measured`` is whether the cost was asked for."""
    _print_entries(_describe_design(plan))
    console.print()
    print_table(_support_columns(plan.support))
    print_notes(plan.design.notes, to=console)
    console.print()
    _print_entries([("Noise", text) for text in _describe_noise(plan)])
    if plan.outlook is not None:
        console.print()
        print_table(
            _outlook_columns(plan, plan.outlook),
            title=f"Differences to {plan.experiment.arms.baseline} in mean Dice that can be seen",
        )
    console.print()
    for sentence in _conclusions(plan):
        console.print(sentence, markup=False)
    _print_hypotheses(plan)
    console.print()
    _print_entries(_describe_cost(plan, measured=measured))


def _print_entries(entries: Iterable[tuple[str, str]]) -> None:
    """Print labelled paragraphs that wrap beside their labels."""
    before = ""
    for label, text in entries:
        shown = "" if label == before else label
        before = label
        for line in textwrap.wrap(text, max(console.width - _LABEL_WIDTH, _NARROWEST)):
            console.print(f"{shown:<{_LABEL_WIDTH}}{line}", markup=False, soft_wrap=True)
            shown = ""


def _describe_design(plan: Plan) -> list[tuple[str, str]]:
    arms, experiment, design, support = plan.arms, plan.experiment, plan.design, plan.support
    seeds = len(experiment.arms.seeds)
    copies = [f"{arm.name} is {arm.same_as} again" for arm in design.arms if arm.same_as and not arm.runs]
    unscored = [entry.name for entry in support.classes if not entry.scored]
    unit = f"validation {support.one_unit}"
    question = f"which weighting gives the best Dice?  baseline: {experiment.arms.baseline}"
    trained = f"{len(arms)}: {', '.join(arms)}" + (f"; not trained: {', '.join(copies)}" if copies else "")
    data = f"{counted(support.clusters, unit)} (effective {number(support.effective, '.1f')})"
    if support.select:
        data += f", thresholds tuned on {support.select} more"
    data += f", {counted(len(design.tiles.patches), 'fixed tile')} (list {design.tiles.hash()})"
    return [
        ("Question", f"{question}  margin that matters to you: {experiment.verdict.margin:.3f}"),
        ("Arms", trained),
        ("Runs", f"{counted(len(arms), 'arm')} x {counted(seeds, 'seed')} = {counted(len(design.trials), 'training')}"),
        ("Data", f"{data}; {len(support.classes) - len(unscored)} of {len(support.classes)} classes can be scored"),
    ]


def _support_columns(support: PlannedSupport) -> list[Column]:
    rows = [("class", f"{support.units} with positives", "effective", "scored")]
    for entry in support.classes:
        scored = "yes" if entry.scored else f"no: needs {Settings.min_crops}"
        rows.append((entry.name, str(entry.positive_crops), number(entry.effective_crops, ".1f"), scored))
    return list(zip(*rows, strict=True))


def _describe_noise(plan: Plan) -> Iterator[str]:
    noise, unit, units = plan.noise, plan.support.one_unit, plan.support.units
    own = noise.values.run_sd * math.sqrt(1 - noise.values.seed_share)
    yield f"retraining the same arm moves the score by ±{own:.4f} (1 sd): {noise.source}"
    if noise.is_measured:
        shared = f"{noise.values.seed_share:.0%} of the whole variance"
        yield f"beyond that, what all arms of a seed share: {shared}, which the comparison removes"
    else:
        yield "nothing is assumed to be shared by the arms of a seed"
    if not plan.support.is_about_new_crops:
        yield (
            f"fewer than {Settings.min_effective:g} effective {units}: what is seen will hold for these validation "
            f"{units} only, and how arms differ from {unit} to {unit} is left out"
        )
    elif noise.values.crop_sd > 0:
        yield f"the difference of two arms varies by ±{noise.values.crop_sd:.4f} from {unit} to {unit}"
    elif noise.is_measured:
        yield f"no difference of two arms was found to vary from {unit} to {unit}"
    else:
        yield f"arms are taken to differ alike on every {unit} (--crop-sd); if they do not, less can be seen than this"
    if plan.experiment.verdict.thresholds == "tuned" and noise.threshold is not None:
        yield _describe_threshold(noise)


def _describe_threshold(noise: NoiseChoice) -> str:
    if noise.threshold == "tuned":
        return "this is the noise of scores at tuned thresholds, on the half that was not tuned on"
    text = "this is the noise of scores at threshold 1/2; what tuned thresholds add to it is not known"
    return f"{text}: that run has no record to tune them by" if noise.is_measured else text


def _outlook_columns(plan: Plan, outlook: Outlook) -> list[Column]:
    planned = len(plan.experiment.arms.seeds)
    rows = [("seeds", "trainings", "half-width of interval", f"found with {POWER:.0%} power")]
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
    units = plan.support.units
    if plan.obstacle:
        yield f"No verdict can come of this: {plan.obstacle}."
    if plan.outlook is None:
        return
    needed = plan.outlook.for_margin
    if not plan.obstacle:
        precision = plan.outlook.by_seeds[seeds]
        reach = f"a difference of {precision.detectable:.3f} or more will be found (with {POWER:.0%} power)"
        yield f"With {seeds} seeds {reach}; one below {precision.half_width:.3f} will more often be missed than found."
    if needed is None:
        yield (
            f"Your margin is {margin:.3f}: no number of seeds finds that with these {units}; it takes more validation "
            f"{units}."
        )
    elif needed <= seeds and not plan.obstacle:
        yield f"Your margin is {margin:.3f}: these seeds are enough ({needed} would be)."
    else:
        yield f"Your margin is {margin:.3f}: finding that would take about {needed} seeds."


def _print_hypotheses(plan: Plan) -> None:
    """Say which hypotheses cannot be tested with this design; nothing if all can."""
    if plan.obstacle and plan.untestable:
        console.print("Without a verdict no hypothesis can be tested.", markup=False)
    elif plan.untestable:
        share = f"{len(plan.untestable)} of the experiment's {len(plan.experiment.hypothesis)}"
        console.print(f"Hypotheses that this design cannot test ({share}):", markup=False)
        entries = [Paragraph(f"  {claim}: {reason}", hang=4) for claim, reason in plan.untestable]
        for line in fold_blocks(entries, console.width):
            console.print(line, markup=False, soft_wrap=True)


def _describe_cost(plan: Plan, *, measured: bool) -> list[tuple[str, str]]:
    machine, cost = plan.design.machine, plan.cost
    lines = [("Machine", reason) for reason in machine.reasons]
    store = f"voxel store {_size(plan.store_bytes)}, shared by all trials"
    if cost is None:
        why = "not measured (--no-measure)" if not measured else "every trial is finished"
        if plan.left and plan.experiment.engine.is_elsewhere:
            why = f"not measured: trials run on {plan.experiment.engine.kind}, not here"
        return [*lines, ("Cost", why), ("", store)]
    finished = len(plan.design.trials) - plan.left
    memory = f"{_size(cost.memory_bytes)} of memory"
    if cost.gpu_memory_bytes:
        memory += f", {_size(cost.gpu_memory_bytes)} on the GPU"
    slots = counted(len(machine.slots), "slot")
    lines.append(
        ("Cost", f"measured by a few steps in {slots} at once: {_short(cost.epoch_s)} per epoch; {memory} per trial")
    )
    if plan.busy is not None:
        lines.append(("Cost", f"the machine was busy (load {plan.busy:.1f}): alone, trials will be faster than this"))
    lines.append(("Cost", store))
    if finished:
        lines.append(("Cost", f"{counted(finished, 'training')} finished before, and not counted here"))
    work = f"{counted(plan.left, 'training')} x {duration(cost.trial_s)} on {slots}"
    lines.append(("Cost", f"{work}: about {duration(cost.run_s)}; {_size(cost.disk_bytes)}"))
    return lines


def _short(seconds: float) -> str:
    return duration(seconds) if seconds >= _TENTHS_BELOW_S else f"{seconds:.1f} s"


def _size(size: float) -> str:
    return f"{size / _GB:.1f} GB" if size >= _GB / 10 else f"{size / _MB:.1f} MB"


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
            "effective": _finite(support.effective),
        },
        "classes": [{**asdict(entry), "effective_crops": _finite(entry.effective_crops)} for entry in support.classes],
        "notes": list(design.notes),
        "noise": {
            **asdict(plan.noise.values),
            "source": plan.noise.source,
            "is_measured": plan.noise.is_measured,
            "threshold": plan.noise.threshold,
        },
        "no_verdict": plan.obstacle,
        "untestable": [{"claim": claim, "reason": reason} for claim, reason in plan.untestable],
        "scope": "new" if support.is_about_new_crops else "this",
        "power": POWER,
        "precision": [] if outlook is None else [{"seeds": s, **asdict(p)} for s, p in outlook.by_seeds.items()],
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
        "cost": None if plan.cost is None else asdict(plan.cost),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
