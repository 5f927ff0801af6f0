"""Trainings for which a device's memory was not enough for a whole batch, and what that means for the comparison.

The loss is that of the whole batch all the same (training/micro_batches.py), but batch normalisation sees the parts.
Two trainings with parts of different sizes are therefore not exactly comparable.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from counterpoise.runs.records import EpochRecord
from counterpoise.text import counted

__all__ = ["describe_parts", "note_parts"]


def describe_parts(epochs: Sequence[EpochRecord], batch_size: int | None) -> str:
    """Say in which epochs a training saw its batches in parts; empty if in none, or if its records do not say.

    Parameters
    ----------
    epochs : sequence of EpochRecord
        All epochs of the training, in their order.
    batch_size : int or None
        Patches per update; None if its configuration is lost: then its largest part counts as a whole batch.

    Examples
    --------
    >>> from types import SimpleNamespace as Epoch
    >>> describe_parts([Epoch(epoch=n, micro_batch=8 if n < 5 else 4) for n in range(1, 9)], 8)
    'memory allowed 4 patches at a time (batch of 8) from epoch 5 on; batch normalisation saw these parts'
    """
    known = [epoch for epoch in epochs if epoch.micro_batch is not None]
    whole = batch_size or max((epoch.micro_batch or 0 for epoch in known), default=0)
    spans = [
        (size, list(span)) for size, span in itertools.groupby(known, lambda e: e.micro_batch or whole) if size < whole
    ]
    if not spans:
        return ""
    first, *others = [
        (size, _when(span[0].epoch, span[-1].epoch, is_last=span[-1] is epochs[-1])) for size, span in spans
    ]
    text = f"memory allowed {counted(first[0], 'patch')} at a time (batch of {whole}) {first[1]}"
    return f"{text}{''.join(f', {size} {when}' for size, when in others)}; batch normalisation saw these parts"


def note_parts(said: Iterable[tuple[str, int, str]]) -> tuple[str, ...]:
    """Put what is said of the finished trainings of a run into notes: one if it is the same for all of them.

    Parameters
    ----------
    said : iterable of (arm, seed, text)
        Of every finished training, what :func:`describe_parts` says.

    Examples
    --------
    >>> note_parts([("a", 0, "memory allowed ..."), ("a", 1, "")])
    ('a, seed 0: memory allowed ...; other trainings of this run are not exactly comparable with it',)
    >>> note_parts([("a", 0, "memory allowed ..."), ("a", 1, "memory allowed ...")])
    ('every training: memory allowed ...',)
    """
    entries = list(said)
    texts = {text for _, _, text in entries}
    if len(texts) == 1:
        return tuple(f"every training: {text}" for text in texts if text)
    consequence = "other trainings of this run are not exactly comparable with it"
    return tuple(f"{arm}, seed {seed}: {text}; {consequence}" for arm, seed, text in entries if text)


def _when(first: int, last: int, *, is_last: bool) -> str:
    if is_last:
        return f"from epoch {first} on"
    return f"in epoch {first}" if first == last else f"in epochs {first} to {last}"
