"""What of a list of crops is less than a score or a verdict needs, in words; for ``init`` and ``data split``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from counterpoise.statistics.verdict_types import Settings
from counterpoise.text import counted, shortest
from counterpoise.volumes.datasplit import Split
from counterpoise.volumes.volume import FoundCrop

__all__ = ["UNSEEN", "ListedCrop", "listed_crops", "shortfalls"]

UNSEEN = "not all crops were looked into, as it takes long: a class that is annotated counts as present there"


@dataclass(frozen=True)
class ListedCrop:
    """A crop of a list: which classes it annotates, and which it has a positive voxel of."""

    validates: bool
    annotated: frozenset[str]
    positive: frozenset[str]


def listed_crops(
    splits: Sequence[Split], crops: Sequence[FoundCrop], held: Sequence[FoundCrop]
) -> tuple[ListedCrop, ...]:
    """Describe found crops by their split, their classes, and those of the same crops with only what they hold."""
    return tuple(
        ListedCrop(split == "validate", frozenset(crop.classes), frozenset(narrowed.classes))
        for split, crop, narrowed in zip(splits, crops, held, strict=True)
    )


def shortfalls(crops: Sequence[ListedCrop], classes: Sequence[str]) -> Iterator[str]:
    """Say which classes cannot be trained, scored or generalised, and why; classes with the same reason together."""
    validated = [crop for crop in crops if crop.validates]
    untrained = [name for name in classes if not any(name in c.annotated for c in crops if not c.validates)]
    missing = [name for name in classes if not any(name in crop.annotated for crop in validated)]
    if untrained:
        yield f"no train crop annotates {', '.join(untrained)}"
    if missing:
        yield f"no validation crop annotates {', '.join(missing)}: no score there"
    alike: dict[tuple[int, int], list[str]] = {}
    for name in classes:
        if name not in missing:
            held = sum(name in crop.positive for crop in validated)
            alike.setdefault((held, sum(name in crop.positive for crop in crops)), []).append(name)
    for (held, everywhere), names in sorted(alike.items()):
        rests_on = f"positives in {counted(held, 'validation crop')}, of {everywhere} crops that have any"
        if held < Settings.min_crops:
            yield f"{', '.join(names)} cannot be scored: {rests_on}; a score needs {Settings.min_crops}"
        elif held < Settings.min_effective:
            enough = shortest(Settings.min_effective)
            yield f"{', '.join(names)}: {rests_on}; to speak of new crops takes {enough} or more"
