"""Write the report: fill the template, leave one self-contained HTML file."""

from __future__ import annotations

import itertools
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from counterpoise import text
from counterpoise.errors import DiskFullError, RunFolderError
from counterpoise.files.atomic import write_atomically
from counterpoise.report import compare, figures, forest, statements, svg, trade, typography
from counterpoise.report.compare import SideBySide, compare_runs
from counterpoise.report.images import AGREEMENT
from counterpoise.report.page import Judged, Page, build_page
from counterpoise.report.sections import SECTIONS
from counterpoise.report.svg import nice_scale

__all__ = ["fill", "render", "render_pair", "write_comparison", "write_page", "write_report"]

MOST_CLASS_COLUMNS = 8
"""With more classes, their scores get a table of their own, a row per class."""


def write_report(judged: Judged, out: Path | None = None) -> Path:
    """Write ``report.html`` from what the trials of a run left in its folder.

    Parameters
    ----------
    judged : Judged
        A run, finished or not, and the verdict on it.
    out : Path, optional
        Where to write instead.

    Returns
    -------
    Path
        The file; it needs no other file and no network to be read.

    Raises
    ------
    RunFolderError
        If the file cannot be written.
    """
    return write_page(out or judged.run.folder.report, render(build_page(judged)))


def write_comparison(first: Judged, second: Judged, out: Path | None = None) -> Path:
    """Write one page with two runs side by side.

    Parameters
    ----------
    first, second : Judged
        Two runs, finished or not, and the verdicts on them.
    out : Path, optional
        Where to write; ``report-vs-NAME.html`` in the first run's folder if left out.

    Returns
    -------
    Path
        The file; it needs no other file and no network to be read.

    Raises
    ------
    RunFolderError
        If both are the same, or if the file cannot be written.
    """
    pair = compare_runs(first, second)
    report = first.run.folder.report
    return write_page(out or report.with_name(f"{report.stem}-vs-{second.run.name}{report.suffix}"), render_pair(pair))


def render(page: Page) -> str:
    """Fill the template of one run; whatever came from files is escaped."""
    scores = [dot.value for row in page.dots for dot in row.dots]
    class_scores = [dot.value for panel in page.panels for bar in panel.bars for dot in bar.dots]
    return fill(
        "report.html.jinja",
        page=page,
        sections=[section for section in SECTIONS if section.is_shown(page)],
        dot_scale=nice_scale(scores, count=6),
        bar_scale=nice_scale(class_scores, from_zero=True, count=4),
        reference=next((row.mean for row in page.dots if row.label == page.baseline), None),
        with_classes=len(page.scored) + len(page.not_scored) <= MOST_CLASS_COLUMNS,
    )


def render_pair(pair: SideBySide) -> str:
    """Fill the template of two runs; whatever came from files is escaped."""
    return fill("pair.html.jinja", pair=pair, compare=compare, looks=compare.STYLES)


def fill(template: str, **content: object) -> str:
    """Fill a template with what every page has, and its own content; whatever came from files is escaped."""
    environment = Environment(
        loader=PackageLoader("counterpoise.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "fixed": typography.fixed,
        "signed": typography.signed,
        "times": text.times,
        "grouped": typography.grouped,
        "percent": typography.percentage,
        "weight": text.significant,
        "breakable": typography.breakable,
        "minus": typography.minus,
    }
    environment.globals |= {
        "figures": figures,
        "forests": forest,
        "svg": svg,
        "trade": trade,
        "agreement": AGREEMENT,
        "dash": text.DASH,
        "no_score": statements.NO_SCORE,
        "interval": typography.interval,
        "styles": Markup(_source(environment, "report.css")),  # noqa: S704 -- our own file
        "next_table": itertools.count(1).__next__,
        "next_figure": itertools.count(1).__next__,
    }
    return environment.get_template(template).render(**content)


def _source(environment: Environment, name: str) -> str:
    if environment.loader is None:
        raise AssertionError("fill() sets a loader")
    return environment.loader.get_source(environment, name)[0]


def write_page(file: Path, page: str) -> Path:
    """Write a page, whole or not at all.

    Raises
    ------
    RunFolderError
        If the file cannot be written.
    """
    try:
        write_atomically(file, lambda stream: stream.write(page.encode("utf-8", "replace")))
    except DiskFullError:
        raise
    except OSError as error:
        raise RunFolderError(
            f"the report cannot be written to {file}",
            expected="a place where you may write, in a folder that exists",
            found=error.strerror or str(error),
            remedy="create the folder, or name another place with --out",
        ) from error
    return file
