"""Two runs side by side: what differs in their configuration, and whether their scores may be compared at all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from counterpoise.errors import RunFolderError
from counterpoise.experiment.config import Experiment
from counterpoise.report.page import ArmRow, Page
from counterpoise.report.read import as_text, read_experiment, read_optional, read_page
from counterpoise.report.summary import MIN_SEEDS
from counterpoise.report.svg import ArmStyle, Scale, element, marker, nice_scale, percent, picture
from counterpoise.report.wording import fixed
from counterpoise.runs.layout import RunFolder
from counterpoise.statistics.results import Spread

__all__ = ["ArmPair", "Difference", "Estimate", "SideBySide", "compare_runs", "estimate_strip"]

PLACES = ("data.store", "run.folder")
"""Where files lie changes no score."""

LEVEL = 0.95
STRIP_HEIGHT = 34


@dataclass(frozen=True)
class Difference:
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
    differences : tuple of Difference or None
        Of the configurations over their presets' values, and of the machines; None if one cannot be read.
    arms : tuple of ArmPair
        Arms of either run, in the order of the first.
    scale : Scale
        Holds every estimate.
    """

    names: tuple[str, str]
    pages: tuple[Page, Page]
    obstacles: tuple[str, ...]
    differences: tuple[Difference, ...] | None
    environment: tuple[Difference, ...]
    arms: tuple[ArmPair, ...]
    scale: Scale


def compare_runs(first: RunFolder, second: RunFolder) -> SideBySide:
    """Read two runs and put them side by side.

    Raises
    ------
    RunFolderError
        If one is no run folder, or both are the same.
    """
    if first.path.resolve() == second.path.resolve():
        raise RunFolderError(
            f"{first.path} and {second.path} are the same run",
            expected="two run folders",
            found="the same folder twice",
            remedy="name another second run, or none for the report of one run",
        )
    pages = read_page(first), read_page(second)
    experiments = read_experiment(first), read_experiment(second)
    arms = _pair_arms(*pages)
    known = [e for pair in arms for e in (pair.first, pair.second) if e]
    ends = [end for e in known for end in (e.low, e.mean, e.high) if end is not None]
    return SideBySide(
        names=_names(first, second),
        pages=pages,
        obstacles=tuple(_obstacles((first, second), pages, experiments)),
        differences=_differences(*(None if e is None else _flatten(e.model_dump(mode="json")) for e in experiments)),
        environment=_differences(*(dict(page.provenance.environment) for page in pages)) or (),
        arms=arms,
        scale=nice_scale(ends, count=6),
    )


def _names(first: RunFolder, second: RunFolder) -> tuple[str, str]:
    """Call each run by the end of its path that the other does not have."""
    a, b = first.path.resolve().parts, second.path.resolve().parts
    length = next((n for n in range(1, min(len(a), len(b)) + 1) if a[-n:] != b[-n:]), min(len(a), len(b)))
    return "/".join(a[-length:]), "/".join(b[-length:])


def _obstacles(runs: Sequence[RunFolder], pages: Sequence[Page], experiments: Sequence[Experiment | None]) -> list[str]:
    """List the reasons why scores of the two runs are about different things."""
    found = []
    a, b = (page.classes for page in pages)
    if set(a) != set(b):
        alone = [*(f"{name} only in the first" for name in a if name not in b)]
        alone += [f"{name} only in the second" for name in b if name not in a]
        found.append(f"their classes differ: {', '.join(alone)}")
    hashes = [_tiles_hash(run) for run in runs]
    if None in hashes:
        found.append("the list of validation tiles of one of them is not known")
    elif hashes[0] != hashes[1]:
        found.append(f"they were scored on different validation tiles (lists {hashes[0]} and {hashes[1]})")
    sizes = [e.data.voxel_size_nm for e in experiments if e is not None]
    if len(sizes) < len(experiments):
        found.append("the configuration of one of them, and with it its voxel size, is not known")
    elif len(set(sizes)) > 1:
        found.append(f"their voxel sizes differ: {' and '.join(_size(s) for s in sizes)} nm")
    return found


def _size(voxel_size_nm: Sequence[float]) -> str:
    return " x ".join(f"{edge:g}" for edge in voxel_size_nm)


def _tiles_hash(run: RunFolder) -> str | None:
    document, _ = read_optional(run.tiles)
    return None if document is None or "hash" not in document else str(document["hash"])


def _flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Name every value of nested tables by the path to it."""
    flat: dict[str, str] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = as_text(value) if isinstance(value, str) else json.dumps(value)
    return flat


def _differences(first: Mapping[str, str] | None, second: Mapping[str, str] | None) -> tuple[Difference, ...] | None:
    if first is None or second is None:
        return None
    keys = [key for key in dict.fromkeys((*first, *second)) if key not in PLACES]
    return tuple(
        Difference(key, first.get(key, "–"), second.get(key, "–")) for key in keys if first.get(key) != second.get(key)
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

    if spread.sd is None or spread.n < MIN_SEEDS:
        return Estimate(spread.mean, None, None, spread.n)
    half = float(stdtrit(spread.n - 1, (1 + LEVEL) / 2)) * spread.sd / math.sqrt(spread.n)
    return Estimate(spread.mean, spread.mean - half, spread.mean + half, spread.n)


STYLES = (ArmStyle(1, 0, 0), ArmStyle(2, 1, 2))
"""The looks of the two runs: a filled circle, a hollow diamond."""


def estimate_strip(pair: ArmPair, names: Sequence[str], scale: Scale) -> str:
    """Draw the two runs' estimates of one arm above each other."""
    marks = [
        element("line", x1=percent(scale, t), x2=percent(scale, t), y1=0, y2=STRIP_HEIGHT, class_="grid")
        for t in scale.ticks
    ]
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
