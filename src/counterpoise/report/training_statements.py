"""What is said of networks that are not trained, or not to the end: words for :mod:`counterpoise.report.statements`."""

from __future__ import annotations

from collections.abc import Iterator

from counterpoise.statistics.counts import RunState
from counterpoise.statistics.training import ArmTraining, ClassTraining, Convergence, TrainingState
from counterpoise.statistics.verdict_types import Verdict
from counterpoise.text import counted, fixed, listed, shortest

__all__ = ["COLLAPSED", "UNTRAINED", "convergence", "no_run", "not_found", "still_trivial", "trained", "untrained"]

COLLAPSED = "finds no voxel of any class"
UNTRAINED = "the networks are not trained"

_TRIVIAL = "predicting it everywhere"
_NOTHING = "predicting nothing"


def untrained(verdict: Verdict) -> str:
    """Say why networks are not worth a verdict, without a full stop."""
    state, scores = verdict.training, [arm.score for arm in verdict.arms if arm.score is not None]
    if not scores:
        trainings = counted(state.collapsed, "training")
        return f"{UNTRAINED}: each of the {trainings} that ended {COLLAPSED}. Train longer"
    why = []
    highest, trivial = max(scores), state.trivial_mean
    if trivial is not None and highest < trivial:
        of = "predicting every class everywhere"
        why.append(f"the highest mean Dice, {fixed(highest)}, is below the {fixed(trivial)} of {of}")
    missing = state.arm(verdict.baseline).untrained
    if missing:
        of = f"{len(missing)} of {counted(len(verdict.scored), 'scored class')}"
        why.append(f"{verdict.baseline} is no better than {_than(state)} in {of} ({listed(missing)})")
    return f"{UNTRAINED}: {'; '.join(why)}. Train longer"


def no_run(verdict: Verdict) -> str:
    """Say why there is no run to judge, without a full stop."""
    text = "no run has finished with counts"
    ended = [cell for cell in verdict.incomplete if cell.state is not RunState.UNFINISHED]
    if ended and all(cell.state is RunState.DIVERGED for cell in ended):
        return f"{text}: {counted(len(ended), 'training')} diverged"
    return text


def trained(verdict: Verdict) -> Iterator[str]:
    """Say how far the networks are trained, with full stops; nothing where none is scored."""
    state = verdict.training
    if not verdict.scored:
        return
    if state.trivial_mean is None:
        yield (
            "Whether classes are found better than by predicting them everywhere is not known: these runs do not say "
            "how many voxels are known. Only a Dice of 0 is told."
        )
    else:
        missed = [f"{name} {fixed(dice)}" for name, dice in state.trivial]
        yield f"Predicting every class everywhere has the mean Dice {fixed(state.trivial_mean)} ({', '.join(missed)})."


def convergence(verdict: Verdict) -> str:
    """Say that the Dice still rose at the end; empty if it did not, or nobody knows."""
    found: Convergence | None = verdict.training.convergence
    if found is None or found.rise <= verdict.settings.margin:
        return ""
    over = "the last epoch" if found.tenth == 1 else f"the last {shortest(found.tenth)} epochs"
    return (
        f"Not converged: still rising by {fixed(found.per_epoch)} per epoch (mean Dice of arms and seeds, epochs "
        f"{found.first} to {found.last}): over {over} more than the margin of {shortest(verdict.settings.margin)}."
    )


def not_found(name: str, verdict: Verdict) -> tuple[str, ...]:
    """Name the classes that an arm does not find in some of its runs, without a full stop; empty if there are none."""
    arm: ArmTraining = verdict.training.arm(name)
    if not arm.classes:
        return ()
    if len(arm.classes) == len(verdict.scored) and all(entry.no_better == entry.runs for entry in arm.classes):
        return (f"no better than {_than(verdict.training)} in any class, in {counted(arm.classes[0].runs, 'run')}",)
    return (f"no better than {_than(verdict.training)}: {', '.join(map(_in_runs, arm.classes))}",)


def _in_runs(entry: ClassTraining) -> str:
    missed = f" (Dice 0 in {entry.missed})" if entry.missed else ""
    return f"{entry.name} in {entry.no_better} of {counted(entry.runs, 'run')}{missed}"


def _than(state: TrainingState) -> str:
    return _TRIVIAL if state.trivial else _NOTHING


def still_trivial(name: str, epoch: int, count: int, trainings: int) -> str:
    """Say, while they train, that a class is not found yet."""
    of = "" if count == trainings else f" in {count} of {counted(trainings, 'training')}"
    return f"after epoch {epoch} {name} is still no better than {_TRIVIAL}{of}"
