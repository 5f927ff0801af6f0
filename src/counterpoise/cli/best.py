"""``best``: the recommended configuration, as the base of the next experiment and for other programs."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli.options import RunPlace
from counterpoise.cli.places import find_run
from counterpoise.cli.screen import console, side
from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import write_json, write_text
from counterpoise.files.disk import refuse_unwritable
from counterpoise.report.next_experiment import plan_next
from counterpoise.report.recipe import recipe
from counterpoise.report.recommend import choose_arm, class_weights_document
from counterpoise.runs.read import read_run

__all__ = ["best"]


def best(
    run: RunPlace = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to. Default: the run folder.", metavar="FOLDER")
    ] = None,
    arm: Annotated[
        str | None, typer.Option(help="Choose an arm by hand, whatever the verdict says.", metavar="NAME")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite best.toml and class_weights.json.")] = False,
) -> None:
    """Write the recommended configuration: best.toml and class_weights.json.

    best.toml is the next experiment; class_weights.json is for other programs.

    Example: counterpoise best runs/classic --out next
    """
    found = find_run(run)
    choice = choose_arm(read_run(found), arm)
    folder = out or found.path
    files = folder / "best.toml", folder / "class_weights.json"
    _require_free(folder, files, force=force)
    planned = plan_next(choice, folder)
    document = class_weights_document(choice, folder)
    with refuse_unwritable(RunFolderError, f"{folder} cannot be written", remedy="name another place with --out"):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(files[1], document)
        write_text(files[0], planned.text)
    console.print(choice.sentence, soft_wrap=True)
    weights = {name: choice.arm.weights[name] for name in choice.config.classes}
    for entry in recipe(weights, choice.config):
        console.print(f"  {entry.label}: {entry.text}", soft_wrap=True)
    arms = " and ".join(planned.experiment.arms.strategies)
    data = os.path.normpath(folder / planned.experiment.data.datasplit)
    console.print(f"{files[0]}: trains {arms} on {data}", soft_wrap=True)
    console.print(f"{files[1]}: weights, loss, network, checkpoints", soft_wrap=True)
    for note in planned.notes:
        side.print(f"note: {note}", soft_wrap=True)
    console.print(f"next: counterpoise run {shlex.quote(str(files[0]))}", soft_wrap=True)


def _require_free(folder: Path, files: tuple[Path, ...], *, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise RunFolderError(
            f"{folder} is not a folder",
            expected="a folder for best.toml and class_weights.json",
            found="a file",
            remedy="name a folder with --out",
        )
    there = [file for file in files if file.exists()]
    if there and not force:
        raise RunFolderError(
            f"{' and '.join(map(str, there))} exist{'s' if len(there) == 1 else ''}",
            expected="new files",
            found="the files exist",
            remedy="name another folder with --out, or overwrite with --force",
        )
