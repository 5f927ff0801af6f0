"""``logs``: what trials printed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli.places import find_run
from counterpoise.cli.screen import console
from counterpoise.errors import RunFolderError, suggest
from counterpoise.runs.arms import read_arms
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.progress import read_progress

__all__ = ["logs", "read_added", "show_logs"]

_FOLLOW_S = 0.5


def logs(
    words: Annotated[
        list[str],
        typer.Argument(
            help="The arm, and before it a run folder or its experiment.toml. Default: the run of this folder.",
            metavar="[RUN] ARM",
        ),
    ],
    seed: Annotated[int | None, typer.Option(help="One seed only.", metavar="N")] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="Lines per log.", metavar="N")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Keep printing what is added.")] = False,
) -> None:
    """Print the end of an arm's logs.

    Example: counterpoise logs runs/classic weight_inv_freq --seed 0
    """
    *places, arm = words
    if len(places) > 1:
        raise typer.BadParameter("Name a run and one arm.")
    show_logs(find_run(Path(places[0]) if places else None), arm, seed=seed, lines=lines, follow=follow)


def show_logs(run: RunFolder, arm: str, *, seed: int | None, lines: int, follow: bool) -> None:
    """Print the end of an arm's logs.

    Raises
    ------
    RunFolderError
        If the run has no such arm or seed, or did not train it because another arm has its weights.
    """
    folders = _trials_of(run, arm, seed)
    for folder in folders:
        if len(folders) > 1:
            console.print(f"--- {folder.arm} seed {folder.seed}", style="bold")
        for line in _tail(folder, lines):
            console.print(line, soft_wrap=True)
    if follow:
        _follow(folders)


def _trials_of(run: RunFolder, arm: str, seed: int | None) -> list[TrialFolder]:
    trials = [trial.folder for trial in read_progress(run, now=time.time()).trials]
    names = list(dict.fromkeys(folder.arm for folder in trials))
    found = [folder for folder in trials if folder.arm == arm and seed in {None, folder.seed}]
    if not found:
        twin = next((record.same_as for record in read_arms(run).arms if record.name == arm), None)
        if twin is not None:
            raise RunFolderError(
                f"{arm} was not trained in {run.path}",
                expected="one of " + ", ".join(names),
                found=f"an arm that has the weights of {twin}",
                remedy=f"read the logs of {twin}",
            )
        seeds = sorted({folder.seed for folder in trials if folder.arm == arm})
        raise RunFolderError(
            f"no trial of {arm}" + ("" if seed is None else f", seed {seed},") + f" in {run.path}",
            expected="one of " + ", ".join(names) if not seeds else f"one of the seeds {', '.join(map(str, seeds))}",
            found=arm if not seeds else str(seed),
            remedy=suggest(arm, names) if not seeds else "leave --seed out for all of them",
        )
    return found


def _tail(folder: TrialFolder, lines: int) -> Iterator[str]:
    if not folder.log.exists():
        yield "(nothing logged yet)"
        return
    with folder.log.open(encoding="utf-8", errors="replace") as log:
        yield from (line.rstrip("\n") for line in deque(log, maxlen=lines))


def read_added(file: Path, start: int) -> tuple[str, int]:
    """Read the whole lines that were added to a file; return them, and where they end."""
    with file.open("rb") as stream:
        stream.seek(start)
        added = stream.read()
    whole = added[: added.rfind(b"\n") + 1]  # a line that is still being written waits for its end
    return whole.decode("utf-8", "replace"), start + len(whole)


def _follow(folders: list[TrialFolder]) -> None:
    """Print what is added to logs until Ctrl-C."""
    places = {folder: folder.log.stat().st_size if folder.log.exists() else 0 for folder in folders}
    while True:
        for folder, place in places.items():
            if not folder.log.exists() or folder.log.stat().st_size <= place:
                continue
            added, places[folder] = read_added(folder.log, place)
            prefix = f"{folder.arm} seed {folder.seed}: " if len(folders) > 1 else ""
            for line in added.splitlines():
                console.print(prefix + line, soft_wrap=True)
        time.sleep(_FOLLOW_S)
