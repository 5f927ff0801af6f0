"""``results`` and ``report``: what a run has shown so far."""

from __future__ import annotations

import json
from pathlib import Path

from counterpoise.analysis.formats import results_as_csv, results_as_json, write_reference
from counterpoise.analysis.table import ArmResult, Results, Spread, load_results
from counterpoise.cli.screen import console, new_table, number, side
from counterpoise.records.atomic import write_text
from counterpoise.records.layout import RunFolder
from counterpoise.report import write_report

__all__ = ["make_report", "print_results", "show_results"]

_SEEDS_FOR_A_VERDICT = 3


def show_results(path: Path, output: str, out: Path | None) -> None:
    """Print or write the results of a run folder."""
    results = load_results(RunFolder(path))
    if output == "reference":
        files = write_reference(results, out or path / "reference")
        side.print(f"{len(files)} files in {out or path / 'reference'}", markup=False)
        return
    if output == "table":
        print_results(results)
        return
    text = results_as_csv(results) if output == "csv" else json.dumps(results_as_json(results), indent=1) + "\n"
    if out is None:
        print(text, end="")
    else:
        write_text(out, text)


def make_report(path: Path) -> None:
    """Write the report of a run folder and say where it is."""
    run = RunFolder(path)
    load_results(run)
    console.print(str(write_report(run)), markup=False, soft_wrap=True)


def print_results(results: Results) -> None:
    """Print the table: one line per strategy, best last Dice first."""
    seeds = len(results.record.seeds)
    table = new_table(
        "strategy", "last Dice", f"vs {results.baseline.removeprefix('weight_')}", "best Dice", "at epoch",
        *results.classes,
        title=f"Dice on the validation crops: mean ± sd over {seeds} seed{'s' * (seeds > 1)}",
    )  # fmt: skip
    for arm in results.arms:
        table.add_row(*_row(arm, results))
    console.print(table)
    if any(arm.record.same_as and not arm.record.runs for arm in results.arms):
        console.print("= the same weights after scaling: not trained a second time", style="dim")
    console.print(
        "last Dice: averaged weights of the last epoch. best Dice: the best epoch's, chosen on the same tiles "
        "it is scored on, so optimistic.",
        style="dim",
    )
    if seeds < _SEEDS_FOR_A_VERDICT:
        console.print(f"No verdict: needs {_SEEDS_FOR_A_VERDICT} seeds, has {seeds}.", style="bold")


def _row(arm: ArmResult, results: Results) -> list[str]:
    if arm.record.same_as and not arm.record.runs:
        return [arm.record.name, f"= {arm.record.same_as}"]
    baseline = arm.record.name == results.baseline
    epoch = arm.best_epoch
    return [
        arm.record.name,
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
