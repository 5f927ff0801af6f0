"""Inspect every crop of a listing, a few at a time, and then all of them together."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

from counterpoise.inspection.crop import Draw, draw_nothing, inspect_crop
from counterpoise.inspection.dataset import class_problems, compare_crops
from counterpoise.inspection.facts import CropFacts
from counterpoise.inspection.opening import UNFORESEEN, open_row
from counterpoise.inspection.problems import Problem, ProblemCode, Severity
from counterpoise.inspection.source import Listing, Settings
from counterpoise.volumes.datasplit import CropRow

__all__ = ["Inspection", "inspect_listing"]

MOST_WORKERS = 8
"""Each holds a slab of raw, one of labels and their masks: at most about 150 MB."""


@dataclass(frozen=True)
class Inspection:
    """Everything that was found; ``problems`` are in the order of their kinds."""

    listing: Listing
    settings: Settings
    crops: tuple[CropFacts, ...]
    problems: tuple[Problem, ...]

    def of(self, severity: Severity) -> tuple[Problem, ...]:
        """Return the problems, or the notes."""
        return tuple(problem for problem in self.problems if problem.severity is severity)


def inspect_listing(
    listing: Listing,
    settings: Settings,
    *,
    workers: int,
    draw: Draw = draw_nothing,
    on_crop: Callable[[int], object] = lambda _: None,
) -> Inspection:
    """Inspect all crops.

    Parameters
    ----------
    listing : Listing
        The crops.
    settings : Settings
        What they are measured against.
    workers : int
        Crops that are read at the same time.
    draw : callable
        Makes the picture of a crop.
    on_crop : callable
        Told a number of crops that are done.
    """
    work = partial(_inspect_row, listing=listing, settings=settings, draw=draw)
    crops: list[CropFacts] = []
    with ThreadPoolExecutor(max_workers=max(min(workers, MOST_WORKERS), 1)) as pool:
        try:
            for facts in pool.map(work, listing.rows):
                crops.append(facts)
                on_crop(1)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    compared, together = compare_crops(crops, has_splits=listing.has_splits)
    states = {
        name: [(entry.usage, entry.classes[name].state) for entry in crops if name in entry.classes]
        for name in settings.classes
    }
    own = [problem for entry in crops for problem in entry.problems]
    order = list(ProblemCode)
    problems = sorted(
        (*listing.faults, *own, *together, *class_problems(settings.classes, states)),
        key=lambda problem: (problem.severity is Severity.NOTE, order.index(problem.code)),
    )
    return Inspection(listing, settings, _with_problems(compared, problems), tuple(problems))


def _inspect_row(named: tuple[CropRow, str], *, listing: Listing, settings: Settings, draw: Draw) -> CropFacts:
    row, crop_id = named
    usage = row.split if listing.has_splits else None
    try:
        opened = open_row(row, crop_id, settings.classes, has_splits=listing.has_splits, values=settings.values)
        return inspect_crop(opened, settings, draw)
    except UNFORESEEN as error:  # a file that nobody foresaw
        text = f"cannot be inspected: {type(error).__name__}: {error}"
        return CropFacts(crop_id, usage, problems=(Problem(ProblemCode.DAMAGED, text, (crop_id,)),))


def _with_problems(crops: list[CropFacts], problems: list[Problem]) -> tuple[CropFacts, ...]:
    """Give every crop all problems that name it, also those that comparing crops showed."""
    own: dict[str, list[Problem]] = {entry.crop_id: [] for entry in crops}
    for problem in problems:
        for crop in problem.crops:
            own[crop].append(problem)
    return tuple(replace(entry, problems=tuple(own[entry.crop_id]), crop=None) for entry in crops)
