"""What is said beside the table of results, on the terminal and on the page."""

from __future__ import annotations

from collections.abc import Iterator

from counterpoise.notes import NoteKind, of_kind
from counterpoise.report import note_statements, statements, training_statements
from counterpoise.statistics.verdict_types import Verdict
from counterpoise.text import listed

__all__ = ["TITLE", "about", "best_epoch", "not_scored", "notes"]

TITLE = "Dice: mean over the scored classes, ± standard deviation over the finished seeds"


def best_epoch(verdict: Verdict) -> str:
    """Say what the best epoch's Dice is worth."""
    text = "Best Dice is the best epoch's, chosen on the tiles it is scored on, so optimistic"
    return f"{text}; above probability 1/2, which last Dice is not." if _is_tuned(verdict) else f"{text}."


def _is_tuned(verdict: Verdict) -> bool:
    return verdict.settings.thresholds == "tuned"


def not_scored(verdict: Verdict) -> str:
    """Name what the mean leaves out, and why; empty if it leaves out nothing."""
    if not verdict.unscored:
        return ""
    named = listed([f"{entry.name} ({entry.positive_crops})" for entry in verdict.unscored])
    least, nouns = verdict.settings.min_crops, verdict.settings.unit.nouns
    return f"Not scored, positives in fewer than {least} validation {nouns}: {named}"


def about(verdict: Verdict) -> Iterator[str]:
    """Say how the scores were made."""
    yield statements.scoring(verdict)
    yield best_epoch(verdict)


def notes(verdict: Verdict) -> Iterator[str]:
    """Say what makes scores less than they seem, without a full stop."""
    for arm in verdict.arms:
        yield from (f"{arm.name}: {text}" for text in training_statements.not_found(arm.name, verdict))
    if said := training_statements.convergence(verdict):
        yield said.removesuffix(".")
    yield from map(str, of_kind(verdict.notes, NoteKind.SCORES))
    yield from note_statements.parts(verdict.parts)
