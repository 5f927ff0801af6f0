"""``verdict``: what the runs can tell about the weightings, and no more."""

from __future__ import annotations

import json
from pathlib import Path

from counterpoise.analysis.verdict_text import judge_run, verdict_as_json, verdict_lines
from counterpoise.analysis.verdict_types import Verdict
from counterpoise.cli.screen import console
from counterpoise.records.layout import RunFolder

__all__ = ["print_verdict", "show_verdict"]


def show_verdict(path: Path, *, as_json: bool) -> None:
    """Judge a run folder, keep the verdict in it, and print it."""
    verdict = judge_run(RunFolder(path))
    if as_json:
        print(json.dumps(verdict_as_json(verdict), indent=1))
    else:
        print_verdict(verdict)


def print_verdict(verdict: Verdict) -> None:
    """Print the verdict as plain lines."""
    for line in verdict_lines(verdict):
        console.print(line, markup=False, soft_wrap=True)
