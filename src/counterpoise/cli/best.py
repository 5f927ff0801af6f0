"""``best``: the recommended configuration, as the base of the next experiment and for other programs."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from counterpoise.cli.screen import console, side
from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import write_json, write_text
from counterpoise.report.next_experiment import plan_next
from counterpoise.report.recommend import choose_arm, class_weights_document
from counterpoise.runs.layout import RunFolder

__all__ = ["EXPERIMENT_FILE", "WEIGHTS_FILE", "write_best"]

EXPERIMENT_FILE = "best.toml"
WEIGHTS_FILE = "class_weights.json"


def write_best(path: Path, *, out: Path | None, arm: str | None, force: bool) -> None:
    """Write ``best.toml`` and ``class_weights.json`` for the recommended arm, or for one chosen by hand.

    Nothing is written before both are known and both places are free.
    """
    choice = choose_arm(RunFolder(path), arm)
    folder = out if out is not None else path
    files = folder / EXPERIMENT_FILE, folder / WEIGHTS_FILE
    _require_free(folder, files, force=force)
    planned = plan_next(choice, folder)
    document = class_weights_document(choice, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(files[1], document)
        write_text(files[0], planned.text)
    except OSError as error:
        raise RunFolderError(
            f"{folder} cannot be written",
            expected="a folder where you may create files",
            found=error.strerror or str(error),
            remedy="name another place with --out",
        ) from error
    console.print(choice.sentence, markup=False, soft_wrap=True)
    arms = " and ".join(planned.experiment.arms.strategies)
    data = os.path.normpath(folder / planned.experiment.data.datasplit)
    console.print(f"{files[0]}: trains {arms} on {data}", markup=False, soft_wrap=True)
    console.print(f"{files[1]}: weights, loss, network, checkpoints", markup=False, soft_wrap=True)
    for note in planned.notes:
        side.print(f"note: {note}", markup=False, soft_wrap=True)
    console.print(f"next: counterpoise run {shlex.quote(str(files[0]))}", markup=False, soft_wrap=True)


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
            found="what may hold your work",
            remedy="name another folder with --out, or overwrite with --force",
        )
