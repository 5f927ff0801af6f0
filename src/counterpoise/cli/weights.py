"""``weights``: what each strategy makes of the exact frequencies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli.class_tables import counted_classes, print_arms
from counterpoise.cli.options import (
    Classes,
    DataRoot,
    Datasplit,
    ExperimentPlace,
    Format,
    Json,
    SetKeys,
    TextOrJson,
    is_json,
    split_names,
)
from counterpoise.cli.python_path import find_own_modules
from counterpoise.cli.screen import print_lines, side
from counterpoise.experiment.arms import find_arms
from counterpoise.experiment.config import ArmsConfig
from counterpoise.weights import ClassStatistics, derive_weights, find_strategy

__all__ = ["weights"]


def weights(
    experiment: ExperimentPlace = None,
    datasplit: Datasplit = None,
    classes: Classes = None,
    data_root: DataRoot = None,
    settings: SetKeys = None,
    strategies: Annotated[
        str | None,
        typer.Option(
            help="Strategies, with commas between: names, or module:function. Default: the experiment's.",
            metavar="A,B,...",
        ),
    ] = None,
    output: TextOrJson = Format.text,
    as_json: Json = False,
) -> None:
    """Show the class weights of each strategy, and which strategies are the same.

    Every strategy is compared with equal weights, whether they are asked for or not. A star marks a clamped weight.

    Example: counterpoise weights --datasplit datasplit.csv --classes nuc,mito_mem
    """
    find_own_modules(Path.cwd())
    for name in split_names(strategies):
        find_strategy(name)  # a misspelt name is refused before anything is counted
    found = counted_classes(experiment, datasplit, classes, data_root, settings)
    arms_config = found.experiment.arms if found.experiment is not None else ArmsConfig()
    baseline = find_strategy(arms_config.baseline).name
    names = split_names(strategies) or arms_config.strategies
    statistics = ClassStatistics.of(found.table, arms_config.manual_weights)
    derived, excluded = derive_weights(dict.fromkeys((arms_config.baseline, *names)), statistics)
    arms, notes = find_arms(derived, baseline=baseline, duplicates="once")
    if is_json(output, as_json):
        document = {arm.name: {"weights": dict(arm.weights.weights), "same_as": arm.same_as} for arm in arms}
        print(json.dumps({"weights": document, "notes": [*excluded, *notes]}, indent=1))
        return
    print_arms(arms, found.table.classes)
    print_lines((*excluded, *notes), to=side)
