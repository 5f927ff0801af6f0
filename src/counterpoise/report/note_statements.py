"""Every sentence about what else must be known of arms and runs: unstable ones, controls, batches in parts."""

from __future__ import annotations

from collections.abc import Iterator

from counterpoise.report import training_statements
from counterpoise.runs.read import Trial
from counterpoise.statistics.arm_verdict import ArmVerdict
from counterpoise.statistics.micro_batches import BatchParts, TrainingParts
from counterpoise.statistics.run_noise import STRAY_SD
from counterpoise.statistics.verdict import NOISY_RATIO
from counterpoise.statistics.verdict_types import Verdict
from counterpoise.text import counted, fixed, listed, shortest

__all__ = ["arm_flags", "nonfinite", "notes", "parts"]


def notes(verdict: Verdict) -> Iterator[str]:
    """Say what else must be known of arms and runs."""
    if said := training_statements.convergence(verdict):
        yield said
    for arm in verdict.arms:
        yield from (f"{arm.name}: {text}." for text in arm_flags(arm, verdict))
    if any(arm.is_adjusted for arm in verdict.arms):
        yield (
            f"Dice of arms with other seeds than {verdict.baseline} is adjusted: what they would have on its seeds "
            "(its mean plus the difference over common seeds)."
        )
    for name, other in verdict.copies:
        yield f"{name} has the weights of {other}: not trained, excluded."
    yield from (f"{note}." for note in verdict.notes)
    yield from (f"{text}." for text in parts(verdict.parts))


def arm_flags(arm: ArmVerdict, verdict: Verdict) -> tuple[str, ...]:
    """Say what else must be known of one arm, without full stops."""
    flags = []
    eligible = "eligible anyway, as the experiment asks" if verdict.settings.allow_unstable else "not eligible"
    if arm.diverged:
        text = f"unstable, {len(arm.diverged)} of {counted(arm.planned, 'training')} diverged; {eligible}"
        if arm.score_with_failures is not None:
            text += f"; with these counted as 0 it scores {fixed(arm.score_with_failures)}"
        flags.append(text)
    if arm.stray:
        seeds = listed(tuple(map(str, arm.stray)))
        which, what = ("seed", "a failed training") if len(arm.stray) == 1 else ("seeds", "failed trainings")
        flags.append(
            f"unstable, {which} {seeds} scored more than {shortest(STRAY_SD)} robust standard deviations below its "
            f"other runs: {what} that nothing else reports, which no interval describes; {eligible}"
        )
    if arm.is_noisy:
        flags.append(f"varies more than {shortest(NOISY_RATIO)} times as much as the others from seed to seed")
    if arm.control_of:
        flags.append(
            f"a control: {arm.control_of} again with other seeds, so its difference is noise; not in the noise, the "
            "number of comparisons or the recommendation"
        )
    return (*flags, *training_statements.not_found(arm.name, verdict))


def parts(found: BatchParts) -> Iterator[str]:
    """Name the trainings that saw their batches in parts, without full stops: in one if it is so for all of them."""
    if found.found and found.are_the_same:
        yield f"every training: {_parts(found.found[0])}"
        return
    for entry in found.found:
        yield (
            f"{entry.arm}, seed {entry.seed}: {_parts(entry)}; other trainings of this run are not exactly comparable "
            "with it"
        )


def _parts(entry: TrainingParts) -> str:
    said = []
    for span in entry.spans:
        when = f"in epoch {span.first}" if span.first == span.last else f"in epochs {span.first} to {span.last}"
        said.append((span.size, f"from epoch {span.first} on" if span.to_the_end else when))
    (size, when), *others = said
    text = f"memory allowed {counted(size, 'patch')} at a time (batch of {entry.batch}) {when}"
    return f"{text}{''.join(f', {n} {at}' for n, at in others)}; batch normalisation saw these parts"


def nonfinite(trial: Trial) -> str:
    """Say how many steps of a training had a loss that was not finite; empty for none."""
    lost = trial.nonfinite_steps
    return f"the loss was not finite in {counted(lost, 'step')}" if lost else ""
