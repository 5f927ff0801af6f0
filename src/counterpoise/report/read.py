"""Read a run folder into the content of its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from counterpoise.errors import ConfigError
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.load import parse_experiment
from counterpoise.files.atomic import read_json
from counterpoise.report.balance import read_balance
from counterpoise.report.judgement import parse_hypotheses, parse_judgement
from counterpoise.report.page import Judged, Page, Provenance, build_page, cannot_show
from counterpoise.report.patches import load_patches
from counterpoise.runs.layout import RunFolder
from counterpoise.statistics.results import load_results

__all__ = ["as_text", "read_experiment", "read_judged", "read_optional", "read_page"]


def read_page(run: RunFolder) -> Page:
    """Read everything the page of a run shows.

    Raises
    ------
    RunFolderError
        If this is not a run folder.
    """
    results = load_results(run)
    frequencies, notes = read_optional(run.frequencies)
    environment, more_notes = read_optional(run.environment)
    provenance = Provenance(
        environment=tuple((key, as_text(value)) for key, value in (environment or {}).items()),
        experiment=run.config.read_text("utf-8", "replace") if run.config.exists() else None,
        command=f"counterpoise run {run.config.name}",
        notes=(*notes, *more_notes),
    )
    experiment = read_experiment(run)
    patches = load_patches(results, None if experiment is None else experiment.data.voxel_size_nm)
    return build_page(results, read_balance(results.record, frequencies), patches, provenance, read_judged(run))


def read_experiment(run: RunFolder) -> Experiment | None:
    """Read the configuration over the values of its preset; None if there is none that is valid today."""
    try:
        return parse_experiment(run.config.read_text(encoding="utf-8-sig"), name=str(run.config))
    except (OSError, UnicodeDecodeError, ConfigError):
        return None


def read_judged(run: RunFolder) -> Judged:
    """Read the verdict as it was written down; a run that was not judged has none."""
    document, problems = read_optional(run.verdict)
    if document is None:
        return Judged(problem=cannot_show(problems[0]) if problems else "")
    try:
        judgement = parse_judgement(document)
    except ValueError as error:
        return Judged(problem=cannot_show(f"{run.verdict.name}: {error}"))
    try:
        return Judged(judgement, parse_hypotheses(document))
    except ValueError as error:
        return Judged(judgement, problem=f"The hypotheses cannot be shown ({run.verdict.name}: {error}).")


def read_optional(file: Path) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """Read a JSON object that an unfinished run may lack; a note says if it is there and cannot be read."""
    if not file.exists():
        return None, ()
    try:
        return read_json(file), ()
    except (OSError, ValueError, TypeError) as error:
        return None, (f"{file.name} cannot be read: {error}",)


def as_text(value: object) -> str:
    """Write a value of a JSON document as one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
