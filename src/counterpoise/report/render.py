"""Write the report: read a run folder, fill the template, leave one self-contained HTML file there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from counterpoise.analysis.table import load_results
from counterpoise.records.atomic import read_json, write_atomically
from counterpoise.records.layout import RunFolder
from counterpoise.report import figures
from counterpoise.report.balance import read_balance
from counterpoise.report.images import AGREEMENT
from counterpoise.report.page import Judged, Page, Provenance, build_page
from counterpoise.report.patches import load_patches

__all__ = ["render", "write_report"]

DASH = "\N{EN DASH}"
"""Stands where there is no number."""

MINUS = "\N{MINUS SIGN}"
THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
SMALLEST_PLAIN_PERCENT = 0.001
MOST_CLASS_COLUMNS = 8
"""With more classes, their scores get a table of their own, a row per class."""


def write_report(run: RunFolder) -> Path:
    """Write ``report.html`` from what the trials of a run left in its folder.

    Parameters
    ----------
    run : RunFolder
        A run, finished or not.

    Returns
    -------
    Path
        The file; it needs no other file and no network to be read.

    Raises
    ------
    RunFolderError
        If this is not a run folder.
    """
    results = load_results(run)
    frequencies, notes = _read_optional(run.frequencies)
    environment, more_notes = _read_optional(run.environment)
    provenance = Provenance(
        environment=tuple((key, _as_text(value)) for key, value in (environment or {}).items()),
        experiment=run.config.read_text("utf-8", "replace") if run.config.exists() else None,
        command=f"counterpoise run {run.config.name}",
        notes=(*notes, *more_notes),
    )
    balance = read_balance(results.record, frequencies)
    page = build_page(results, balance, load_patches(results), provenance, _read_verdict(run))
    text = render(page)
    write_atomically(run.report, lambda stream: stream.write(text.encode("utf-8", "replace")))
    return run.report


def render(page: Page) -> str:
    """Fill the template; whatever came from files is escaped."""
    environment = Environment(
        loader=PackageLoader("counterpoise.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "fixed": _fixed,
        "signed": _signed,
        "grouped": _grouped,
        "percent": _percent,
        "weight": _weight,
        "breakable": _breakable,
    }
    scores = [dot.value for row in page.dots for dot in row.dots]
    class_scores = [dot.value for panel in page.panels for bar in panel.bars for dot in bar.dots]
    reference = next((row.mean for row in page.dots if row.label == page.baseline), None)
    return environment.get_template("report.html.jinja").render(
        page=page,
        figures=figures,
        styles=Markup(_source(environment, "report.css")),  # noqa: S704 -- our own file
        dot_scale=figures.nice_scale(scores, count=6),
        bar_scale=figures.nice_scale(class_scores, from_zero=True, count=4),
        reference=reference,
        agreement=AGREEMENT,
        class_columns=page.classes if len(page.classes) <= MOST_CLASS_COLUMNS else (),
    )


def _source(environment: Environment, name: str) -> str:
    if environment.loader is None:
        raise AssertionError("render() sets a loader")
    return environment.loader.get_source(environment, name)[0]


def _read_verdict(run: RunFolder) -> Judged | None:
    """Read the verdict as it was written down; a run that was not judged has none."""
    document, _ = _read_optional(run.verdict)
    if document is None or "sentence" not in document:
        return None
    return Judged(str(document["sentence"]), tuple(str(line) for line in document.get("text", ())))


def _read_optional(file: Path) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """Read a JSON object that an unfinished run may lack; a note says if it is there and cannot be read."""
    if not file.exists():
        return None, ()
    try:
        return read_json(file), ()
    except (OSError, ValueError) as error:
        return None, (f"{file.name} cannot be read: {error}",)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _fixed(value: float | None, decimals: int = 3) -> str:
    """Write a number with fixed decimals, or a dash."""
    return DASH if value is None else f"{value:.{decimals}f}".replace("-", MINUS)


def _signed(value: float | None) -> str:
    return DASH if value is None else f"{round(value, 3) + 0.0:+.3f}".replace("-", MINUS)


def _grouped(value: int | None) -> str:
    """Write a whole number in groups of three digits."""
    return DASH if value is None else f"{value:,}".replace(",", THIN_SPACE)


def _percent(value: float | None) -> str:
    """Write a fraction in percent with three significant digits: rare classes have small ones."""
    if value is None:
        return DASH
    if value == 0:
        return "0"
    percent = 100 * value
    if percent < SMALLEST_PLAIN_PERCENT:
        return f"{percent:.1e}".replace("-", MINUS)
    return f"{percent:#.3g}".rstrip(".")


def _weight(value: float | None) -> str:
    """Write a weight with three significant digits, small ones included."""
    return DASH if value is None else f"{value:#.3g}".rstrip(".")


def _breakable(name: str) -> Markup:
    """Let a long name break after its underscores, dots and slashes."""
    text = Markup.escape(name)
    for mark in "_./":
        text = text.replace(mark, Markup("{}<wbr>").format(mark))
    return text
