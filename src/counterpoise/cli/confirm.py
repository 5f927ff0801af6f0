"""``confirm``: the winner of a run against its baseline once more, on fresh seeds."""

from __future__ import annotations

from typing import Annotated

import typer

from counterpoise.cli.options import RunPlace
from counterpoise.cli.places import find_run
from counterpoise.cli.run import run_and_show
from counterpoise.cli.screen import console, side
from counterpoise.errors import RunFolderError
from counterpoise.experiment.load import Source
from counterpoise.files.atomic import write_text
from counterpoise.files.disk import refuse_unwritable
from counterpoise.report.next_experiment import plan_confirmation
from counterpoise.report.recommend import choose_arm
from counterpoise.runs.read import read_run

__all__ = ["confirm"]


def confirm(
    run: RunPlace = None,
    arm: Annotated[str | None, typer.Option(help="Try this arm, whatever the verdict says.", metavar="NAME")] = None,
    seeds: Annotated[
        int | None, typer.Option(min=3, help="How many fresh seeds. Default: the most of the run.", metavar="N")
    ] = None,
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Write confirm.toml and train nothing.")] = False,
) -> None:
    """Train a run's winner against its baseline on fresh seeds, to see whether it was luck.

    Writes confirm.toml into the run folder and runs it; the same command continues.

    Example: counterpoise confirm runs/race
    """
    found = find_run(run)
    file = found.path / "confirm.toml"
    if file.exists():
        if arm is not None or seeds is not None:
            raise RunFolderError(
                f"{file} exists",
                expected="one confirmation per run: what it asks was decided when it was written",
                found=f"--{'arm' if arm is not None else 'seeds'}, which would change it",
                remedy="leave the option out to go on with it, or move the file away",
            )
        side.print(f"going on with {file}", soft_wrap=True)
    else:
        choice = choose_arm(read_run(found), arm)
        planned = plan_confirmation(choice, found.path, seeds)
        with refuse_unwritable(RunFolderError, f"{file} cannot be written", remedy="copy the run to a writable place"):
            write_text(file, planned.text)
        console.print(choice.sentence, soft_wrap=True)
        for note in planned.notes:
            side.print(f"note: {note}", soft_wrap=True)
    if plan_only:
        console.print(f"{file}: `counterpoise confirm {found.path}` trains it", soft_wrap=True)
        return
    raise typer.Exit(run_and_show(Source(file)))
