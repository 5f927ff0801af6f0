"""The further scores of a run as tables: for the page, a terminal, csv and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from counterpoise.report import detail_statements as says
from counterpoise.runs.read import Run
from counterpoise.statistics.boundary import BoundaryScore
from counterpoise.statistics.details import ArmDetails, ClassDetails, Details, describe_run
from counterpoise.statistics.results import Spread
from counterpoise.statistics.verdict_types import Verdict
from counterpoise.text import DASH, fixed, interval, shortest, signed

__all__ = ["Cell", "DetailTable", "Further", "Group", "as_csv", "as_json", "detail_tables", "show_details"]


@dataclass(frozen=True)
class Cell:
    """A figure, and what belongs to it in smaller letters; or a name, which may be folded."""

    text: str
    small: str = ""
    is_name: bool = False

    def __str__(self) -> str:
        return f"{self.text} {self.small}".strip()


@dataclass(frozen=True)
class Group:
    """Rows that belong together under a name (a class); without one they are all there is."""

    name: str
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class DetailTable:
    """A table: ``title`` in a word or two, what it shows, headings of its columns, groups of rows.

    ``is_folded`` is whether a page shows it only when it is asked for, ``is_by_arm`` whether columns are arms.
    """

    title: str
    caption: str
    heading: tuple[str, ...]
    groups: tuple[Group, ...]
    is_folded: bool = True
    is_by_arm: bool = False

    def as_rows(self) -> list[list[str]]:
        """Return the table as plain text, its heading first; the name of a group has a line of its own."""
        rows = [list(self.heading)]
        for group in self.groups:
            rows += [[group.name, *[""] * (len(self.heading) - 1)]] if group.name else []
            rows += [[f"{'  ' if group.name else ''}{name}", *map(str, cells)] for name, cells in group.rows]
        return rows


@dataclass(frozen=True)
class Further:
    """What is said and shown: a sentence on all of it, remarks on what is missing, tables."""

    introduction: str
    remarks: tuple[str, ...]
    tables: tuple[DetailTable, ...]


def show_details(run: Run, verdict: Verdict) -> Further | None:
    """Describe a run; None where no trial has finished or no class is scored."""
    details = describe_run(run, verdict)
    if details is None:
        return None
    return Further(says.introduction(details), says.remarks(details), detail_tables(details, verdict))


def detail_tables(details: Details, verdict: Verdict) -> tuple[DetailTable, ...]:
    """Make all tables that have something in them."""
    tables = [_arms_table(details)]
    if len(details.data_sets) > 1:
        tables.append(_data_sets_table(details))
    tables.append(_classes_table(details))
    if not details.no_probabilities:
        tables.append(_calibration_table(details))
    if details.tolerance_nm is not None:
        tables.append(_boundary_table(details, verdict))
    return tuple(tables)


def _spread(value: Spread | None) -> Cell:
    if value is None:
        return Cell(DASH)
    return Cell(fixed(value.mean), "" if value.sd is None else f"± {fixed(value.sd)}")


def _arms_table(details: Details) -> DetailTable:
    has_semantic = any(not entry.is_instance for entry in details.arms[0].classes)
    has_masks = any(entry.is_instance for entry in details.arms[0].classes)
    heading, pick = ["arm", "seeds"], ["semantic_iou"] * has_semantic + ["mask_iou"] * has_masks
    heading += ["IoU, semantic"] * has_semantic + ["IoU, masks"] * has_masks
    if not details.no_probabilities:
        heading += ["average precision", "calibration error"]
        pick += ["average_precision", "calibration_error"]
    heading += ["worst tenth", "lowest crop"]
    rows = [
        (arm.name, (
            Cell(str(arm.runs)),
            *(_spread(getattr(arm, name)) for name in (*pick, "worst")),
            Cell(arm.worst_crops[0] if arm.worst_crops else DASH, is_name=True),
        ))
        for arm in details.arms
    ]  # fmt: skip
    return DetailTable("Arms", says.arms(details), tuple(heading), (Group("", tuple(rows)),), is_folded=False)


def _data_sets_table(details: Details) -> DetailTable:
    rows = [
        (support.name, tuple(
            Cell(fixed(found.dice.mean if found.dice else None), signed(found.difference) if found.difference else "")
            for found in (arm.data_sets[d] for arm in details.arms)
        ))
        for d, support in enumerate(details.data_sets)
    ]  # fmt: skip
    signs = tuple(
        Cell("baseline" if arm.name == details.baseline else f"{arm.higher} / {arm.lower}") for arm in details.arms
    )
    heading = ("data set", *(arm.name for arm in details.arms))
    group = Group("", (*rows, ("higher / lower", signs)))
    return DetailTable("Data sets", says.data_sets(details), heading, (group,), is_folded=False, is_by_arm=True)


def _by_class(details: Details) -> Iterator[tuple[str, tuple[tuple[ArmDetails, ClassDetails], ...]]]:
    for c, name in enumerate(details.scored):
        yield name, tuple((arm, arm.classes[c]) for arm in details.arms)


def _classes_table(details: Details) -> DetailTable:
    heading, pick = ["arm", "IoU", "precision", "recall"], ["iou", "precision", "recall"]
    if not details.no_probabilities:
        heading += ["average precision", "calibration error"]
        pick += ["average_precision", "calibration_error"]
    groups = tuple(
        Group(name, tuple((arm.name, tuple(_spread(getattr(entry, key)) for key in pick)) for arm, entry in entries))
        for name, entries in _by_class(details)
    )
    return DetailTable("Classes", says.classes(details), tuple(heading), groups)


def _calibration_table(details: Details) -> DetailTable:
    groups = []
    for name, entries in _by_class(details):
        ranges = [entry.reliability for _, entry in entries]
        rows = tuple(
            (f"{shortest(at[0].low)} to {shortest(at[0].high)}", tuple(
                Cell(fixed(found.present), "" if found.present is None else f"({_share(found.share)})") for found in at
            ))
            for at in zip(*ranges, strict=True)
        )  # fmt: skip
        groups.append(Group(name, rows))
    heading = ("predicted", *(arm.name for arm in details.arms))
    return DetailTable("Calibration", says.calibration(), heading, tuple(groups), is_by_arm=True)


def _share(value: float) -> str:
    percent = 100 * value
    return "<0.1 %" if percent < 0.1 else f"{percent:.1f} %"  # noqa: PLR2004 - the least that is shown


def _boundary_table(details: Details, verdict: Verdict) -> DetailTable:
    heading = ("arm", "surface Dice", "Δ", "clDice", "Δ")
    groups = tuple(
        Group(name, tuple(
            (arm.name, (*_compared(entry.surface), *_compared(entry.centre_line))) for arm, entry in entries
        ))
        for name, entries in _by_class(details)
    )  # fmt: skip
    return DetailTable("Boundaries and centre lines", says.boundary(details, verdict), heading, groups)


def _compared(found: BoundaryScore | None) -> tuple[Cell, Cell]:
    if found is None:
        return Cell(DASH), Cell(DASH)
    bounds = interval(found.low, found.high) if found.low is not None else ""
    return _spread(found.score), Cell(signed(found.difference), bounds)


# For other programs -----------------------------------------------------------------------------------------------


def as_json(details: Details | None) -> dict[str, Any] | None:
    """Write everything as plain values; a missing score is null."""
    return None if details is None else asdict(details)


def as_csv(details: Details | None) -> str:
    """Write every figure of every table on a line of its own; numbers are not rounded, a missing one is empty.

    ``difference``, ``low`` and ``high`` are against the baseline; the bounds are single intervals, not corrected.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["strategy", "class", "data_set", "figure", "mean", "sd", "seeds", "difference", "low", "high"])
    for arm in details.arms if details else ():
        writer.writerows(_lines(arm))
    return stream.getvalue()


def _lines(arm: ArmDetails) -> Iterator[list[object]]:
    def line(
        figure: str, value: Spread | None, *rest: object, class_: str = "(mean)", data_set: str = ""
    ) -> list[object]:
        numbers = (value.mean, value.sd, value.n) if value else (None, None, 0)
        return [arm.name, class_, data_set, figure, *numbers, *rest, *[None] * (3 - len(rest))]

    for figure in ("semantic_iou", "mask_iou", "average_precision", "calibration_error", "worst"):
        yield line("worst_tenth_dice" if figure == "worst" else figure, getattr(arm, figure))
    for found in arm.data_sets:
        yield line("dice", found.dice, found.difference, data_set=found.name)
    for entry in arm.classes:
        for figure in ("iou", "precision", "recall", "average_precision", "calibration_error"):
            yield line(figure, getattr(entry, figure), class_=entry.name)
        for figure, score in (("surface_dice", entry.surface), ("cl_dice", entry.centre_line)):
            if score is not None:
                yield line(figure, score.score, score.difference, score.low, score.high, class_=entry.name)
        for found_in in entry.reliability:
            where = f"{shortest(found_in.low)} to {shortest(found_in.high)}"
            yield [arm.name, entry.name, "", f"voxels predicted {where}", found_in.share, *[None] * 5]
            yield [arm.name, entry.name, "", f"present of those predicted {where}", found_in.present, *[None] * 5]
