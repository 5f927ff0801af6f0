"""Two runs side by side: what differs in their configuration, and whether their scores may be compared at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.errors import RunFolderError
from counterpoise.report.page import ArmRow, Judged, Page, as_text, build_page
from counterpoise.report.svg import ArmStyle, Scale, element, grid_lines, marker, nice_scale, percent, picture
from counterpoise.report.typography import fixed
from counterpoise.runs.read import Run
from counterpoise.statistics.results import Spread
from counterpoise.statistics.verdict_types import Settings
from counterpoise.text import DASH

__all__ = ["ArmPair", "Estimate", "KeyDifference", "SideBySide", "compare_runs", "estimate_strip"]

PLACES = ("data.store", "run.folder")
"""Where files lie changes no score."""

LEVEL = 0.95
STRIP_HEIGHT = 34


@dataclass(frozen=True)
class KeyDifference:
    """One key that the two runs do not share; a dash where a run does not have it."""

    key: str
    first: str
    second: str


@dataclass(frozen=True)
class Estimate:
    """Mean Dice of one arm over its seeds, with the t interval of that mean if the seeds are enough for a verdict."""

    mean: float
    low: float | None
    high: float | None
    seeds: int

    @property
    def text(self) -> str:
        """Write the mean and its interval."""
        if self.low is None or self.high is None:
            return fixed(self.mean)
        return f"{fixed(self.mean)} [{fixed(self.low)}, {fixed(self.high)}]"


@dataclass(frozen=True)
class ArmPair:
    """An arm that at least one of the runs has; None where a run has no score of it."""

    name: str
    first: Estimate | None
    second: Estimate | None


@dataclass(frozen=True)
class SideBySide:
    """What the page of two runs shows.

    Parameters
    ----------
    names : tuple of str
        What the runs are called here; different even if their folders have the same name.
    obstacles : tuple of str
        Why their scores cannot be compared; empty if they can.
    differences : tuple of KeyDifference or None
        Of the configurations over their presets' values, and of the machines; None if one cannot be read.
    arms : tuple of ArmPair
        Arms of either run, in the order of the first.
    scale : Scale
        Holds every estimate.
    """

    names: tuple[str, str]
    pages: tuple[Page, Page]
    obstacles: tuple[str, ...]
    differences: tuple[KeyDifference, ...] | None
    environment: tuple[KeyDifference, ...]
    arms: tuple[ArmPair, ...]
    scale: Scale


def compare_runs(first: Judged, second: Judged) -> SideBySide:
    """Put two runs side by side.

    Raises
    ------
    RunFolderError
        If both are the same.
    """
    runs = first.run, second.run
    a, b = (run.folder.path for run in runs)
    if a.resolve() == b.resolve():
        raise RunFolderError(
            f"{a} and {b} are the same run",
            expected="two run folders",
            found="the same folder twice",
            remedy="name another second run, or none for the report of one run",
        )
    pages = build_page(first), build_page(second)
    arms = _pair_arms(*pages)
    estimates = [e for pair in arms for e in (pair.first, pair.second) if e]
    ends = [end for e in estimates for end in (e.low, e.mean, e.high) if end is not None]
    tables = [None if run.experiment is None else _flatten(run.experiment.model_dump(mode="json")) for run in runs]
    return SideBySide(
        names=_names(a, b),
        pages=pages,
        obstacles=tuple(_obstacles(runs)),
        differences=_differences(*tables),
        environment=_differences(*(dict(page.provenance.environment) for page in pages)) or (),
        arms=arms,
        scale=nice_scale(ends, count=6),
    )


def _names(first: Path, second: Path) -> tuple[str, str]:
    """Call each run by the end of its path that the other does not have."""
    a, b = first.resolve().parts, second.resolve().parts
    length = next((n for n in range(1, min(len(a), len(b)) + 1) if a[-n:] != b[-n:]), min(len(a), len(b)))
    return "/".join(a[-length:]), "/".join(b[-length:])


def _obstacles(runs: tuple[Run, Run]) -> list[str]:
    """List the reasons why scores of the two runs are about different things."""
    found = []
    a, b = (run.plan.classes for run in runs)
    if set(a) != set(b):
        alone = [*(f"{name} only in the first" for name in a if name not in b)]
        alone += [f"{name} only in the second" for name in b if name not in a]
        found.append(f"their classes differ: {', '.join(alone)}")
    hashes = [run.tiles_hash for run in runs]
    if None in hashes:
        found.append("the list of validation tiles of one of them is not known")
    elif hashes[0] != hashes[1]:
        found.append(f"they were scored on different validation tiles (lists {hashes[0]} and {hashes[1]})")
    sizes = [run.experiment.data.voxel_size_nm for run in runs if run.experiment is not None]
    if len(sizes) < len(runs):
        found.append("the configuration of one of them, and with it its voxel size, is not known")
    elif len(set(sizes)) > 1:
        found.append(f"their voxel sizes differ: {' and '.join(_size(s) for s in sizes)} nm")
    return found


def _size(voxel_size_nm: Sequence[float]) -> str:
    return " x ".join(f"{edge:g}" for edge in voxel_size_nm)


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Name every value of nested tables by the path to it."""
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = as_text(value) if isinstance(value, str) else json.dumps(value)
    return flat


def _differences(first: Mapping[str, str] | None, second: Mapping[str, str] | None) -> tuple[KeyDifference, ...] | None:
    if first is None or second is None:
        return None
    keys = [key for key in dict.fromkeys((*first, *second)) if key not in PLACES]
    return tuple(
        KeyDifference(key, first.get(key, DASH), second.get(key, DASH))
        for key in keys
        if first.get(key) != second.get(key)
    )


def _pair_arms(first: Page, second: Page) -> tuple[ArmPair, ...]:
    by_name = [{row.name: row for row in page.rows} for page in (first, second)]
    names = dict.fromkeys(name for rows in by_name for name in rows)
    pairs = [ArmPair(name, *(_estimate(rows.get(name)) for rows in by_name)) for name in names]
    return tuple(pair for pair in pairs if pair.first or pair.second)


def _estimate(row: ArmRow | None) -> Estimate | None:
    return None if row is None or row.last is None else estimate(row.last)


def estimate(spread: Spread) -> Estimate:
    r"""Find the t interval of a mean over seeds: :math:`\bar x \pm t_{0.975}(n - 1)\, s / \sqrt n`.

    With fewer seeds than a verdict takes there is none: that of two seeds would reach below 0 and above 1. An
    interval holds for these validation crops, and for this arm alone: it says nothing about a difference to another.

    Parameters
    ----------
    spread : Spread
        Mean, standard deviation and number of seeds.

    Examples
    --------
    >>> from counterpoise.statistics.results import Spread
    >>> estimate(Spread(0.5, 0.01, 4)).text  # t is 3.182
    '0.500 [0.484, 0.516]'
    """
    # scipy takes a while to import, and most pages need none of it.
    from scipy.special import stdtrit

    if spread.sd is None or spread.n < Settings.min_seeds:
        return Estimate(spread.mean, None, None, spread.n)
    half = float(stdtrit(spread.n - 1, (1 + LEVEL) / 2)) * spread.sd / math.sqrt(spread.n)
    return Estimate(spread.mean, spread.mean - half, spread.mean + half, spread.n)


STYLES = (ArmStyle(1, 0, 0), ArmStyle(2, 1, 2))
"""The looks of the two runs: a filled circle, a hollow diamond."""


def estimate_strip(pair: ArmPair, names: Sequence[str], scale: Scale) -> str:
    """Draw the two runs' estimates of one arm above each other."""
    marks = grid_lines(scale, STRIP_HEIGHT)
    said = []
    for name, style, y, found in zip(names, STYLES, (10, 24), (pair.first, pair.second), strict=True):
        said.append(f"{name} {found.text if found else 'no score'}")
        if found is None:
            continue
        if found.low is not None and found.high is not None:
            ends = percent(scale, found.low), percent(scale, found.high)
            line = element("line", x1=ends[0], x2=ends[1], y1=y, y2=y, class_=f"whisker {style.css}")
            marks.append(line)
        marks.append(marker(style, percent(scale, found.mean), y, said[-1]))
    return picture(f"{pair.name}: {', '.join(said)}", "", *marks, class_="strip", width="100%", height=STRIP_HEIGHT)
