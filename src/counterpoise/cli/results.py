"""``results`` and ``report``: what a run has shown so far."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from rich.console import Console

from counterpoise.cli.screen import console, counted, number, plain_console, print_table, side
from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import write_text
from counterpoise.report import write_comparison, write_report
from counterpoise.report.formats import results_as_csv, results_as_json, tables_as_csv, write_reference
from counterpoise.report.tables import ResultTables, read_tables
from counterpoise.report.typeset import as_latex, as_markdown
from counterpoise.report.verdict_text import judge_run
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.records import read_arms
from counterpoise.statistics.results import ArmResult, Results, Spread, load_results

__all__ = ["make_report", "print_results", "show_results"]


_PAPER: Mapping[str, Callable[[ResultTables], str]] = {
    "csv": tables_as_csv,
    "latex": as_latex,
    "markdown": as_markdown,
}
"""The formats that show the verdict's tables."""


def show_results(path: Path, output: str, out: Path | None) -> None:
    """Print or write the results of a run folder."""
    results = load_results(RunFolder(path))
    try:
        if output == "reference":
            files = write_reference(results, out or path / "reference")
            side.print(f"{counted(len(files), 'file')} in {out or path / 'reference'}", markup=False, soft_wrap=True)
        elif out is not None:
            write_text(out, _as_text(results, output))
        elif output == "table":
            print_results(results)
        else:
            print(_as_text(results, output), end="")
    except OSError as error:
        if out is None and output != "reference":
            raise
        raise RunFolderError(
            f"the results cannot be written to {out or path / 'reference'}",
            expected="a place where you may write, in a folder that is there",
            found=error.strerror or str(error),
            remedy="make the folder, or name another place with --out",
        ) from error


def _as_text(results: Results, output: str) -> str:
    if output in _PAPER:
        tables = read_tables(results.run)
        if tables.no_verdict:
            side.print(f"no intervals: {tables.no_verdict}", markup=False, soft_wrap=True)
        return _PAPER[output](tables)
    if output == "trials":
        return results_as_csv(results)
    if output == "json":
        return json.dumps(results_as_json(results), indent=1) + "\n"
    page = io.StringIO()
    print_results(results, to=plain_console(file=page))
    return page.getvalue()


def make_report(path: Path, other: Path | None = None, out: Path | None = None) -> None:
    """Judge a run folder, write its report (or, of two, one page with both) and say where it is."""
    run, second = RunFolder(path), None if other is None else RunFolder(other)
    runs = [run] if second is None else [run, second]
    for each in runs:
        read_arms(each)
    for each in runs:
        judge_run(each)
    file = write_report(run, out) if second is None else write_comparison(run, second, out)
    console.print(str(file), markup=False, soft_wrap=True)


def print_results(results: Results, *, to: Console = console) -> None:
    """Print the table, one line per strategy, best last Dice first; then what is missing from it."""
    rows = [_heading(results), *(_row(arm, results) for arm in results.arms)]
    print_table(
        list(zip(*rows, strict=True)), title="Dice on the validation crops: mean ± sd over the finished seeds", to=to
    )
    if any(arm.record.same_as and not arm.record.runs for arm in results.arms):
        to.print("= the same weights after scaling: not trained a second time", style="dim")
    to.print(
        "last Dice: averaged weights of the last epoch. best Dice: the best epoch's, chosen on the same tiles "
        "it is scored on, so optimistic.",
        style="dim",
    )
    if any(arm.last_dice and arm.last_dice.sd is not None for arm in results.arms):
        to.print(
            "±: over seeds as they are; the sd of the verdict leaves out what all arms of a seed share.", style="dim"
        )
    trained = [arm for arm in results.arms if arm.record.runs]
    for note in results.notes:
        to.print(f"note: {note}", markup=False, soft_wrap=True)
    for trial in results.failed:
        line = f"failed: {trial.arm} seed {trial.seed}: {trial.status.reason or 'no reason recorded'}"
        to.print(line, style="red", markup=False, soft_wrap=True)
    states = Counter(trial.status.state for arm in trained for trial in arm.unfinished)
    open_ones = [f"{count} {state}" for state, count in sorted(states.items()) if state != "failed"]
    if open_ones:
        to.print(f"unfinished trials: {', '.join(open_ones)}", style="bold", markup=False)


def _heading(results: Results) -> list[str]:
    versus = f"vs {results.baseline.removeprefix('weight_')}"
    return ["strategy", "seeds", "last Dice", versus, "best Dice", "at epoch", *results.classes]


def _row(arm: ArmResult, results: Results) -> list[str]:
    planned = len(results.record.seeds)
    if arm.record.same_as and not arm.record.runs:
        return [arm.record.name, "", f"= {arm.record.same_as}", *[""] * (3 + len(results.classes))]
    baseline = arm.record.name == results.baseline
    epoch = arm.best_epoch
    return [
        arm.record.name,
        f"{len(arm.trials)}/{planned}",
        _pm(arm.last_dice),
        "baseline" if baseline else _pm(arm.difference, "+.4f"),
        _pm(arm.best_dice),
        number(epoch.mean if epoch else None, ".0f"),
        *(number(score.mean if score else None, ".3f") for score in arm.last_dice_by_class.values()),
    ]


def _pm(value: Spread | None, form: str = ".4f") -> str:
    if value is None:
        return "–"
    return number(value.mean, form) + ("" if value.sd is None else f" ± {value.sd:.4f}")
