"""Kill an experiment at random moments, continue it, and compare it with an undisturbed one, bit by bit.

    python bench/kills.py [--kills 20] [--exact] [--seed 0] [--keep FOLDER]

A run of two small trainings is killed with SIGKILL: a trial, the process that runs the experiment, or all of them; at
a random moment, while the voxel store is built, or while a checkpoint is being written (its temporary file has just
appeared). The same command is given again at once, until it ends well. ``--exact`` kills at named points instead, one
after the other: just before a file is opened, renamed, linked or removed, which no clock could hit. Exit code 1 if a
run ends otherwise than the undisturbed one, or lost more than the epoch it was in.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from measuring import Row, report
from runs import differences, find_children, start_run, write_data, write_run

from counterpoise.files.atomic import read_lines
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.records import TrialStatus
from counterpoise.training.checkpoint import load_checkpoint

_MOST_STARTS = 8
_WATCH_S = 0.0005
"""A checkpoint is being written for about a millisecond: looked for this often."""

_HOOK = '''\
"""Kills processes just before a named operation on a file: what runs this is told by the environment."""
import os, re, signal, sys

_event, _file, _count, _whom = os.environ["KILL_AT"].split("|")
_left = int(_count)

def _look(event, arguments):
    global _left
    if event == _event and arguments and isinstance(arguments[0], (str, os.PathLike)):
        if re.fullmatch(_file, os.path.basename(os.fspath(arguments[0]))):
            _left -= 1
            if _left == 0:
                if _whom == "all":
                    os.kill(os.getppid(), signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(_look)
'''
"""A ``sitecustomize`` that Python imports when it starts; its audit hook hears of an operation before it is done."""

_TEMPORARY = r"\.{}\.\d+\.tmp"


@dataclass(frozen=True)
class Exact:
    """A point at which to kill: before the ``count``-th operation of a process on files of this name."""

    where: str
    event: str
    file: str
    count: int = 2
    whom: str = "trial"


def _exact_points() -> list[Exact]:
    """List the points from the building of the store to the report; of repeated ones the second, within epoch 2."""
    npz, last, best, previous = (
        _TEMPORARY.format(name) for name in (r"counts\.npz", r"last\.pt", r"best\.pt", r"previous\.pt")
    )
    thresholds, examples = _TEMPORARY.format(r"thresholds\.npz"), _TEMPORARY.format(r"examples\.npz")
    return [
        Exact("store: before a crop's array is opened to be written", "open", r"present\.npy", 6, "runner"),
        Exact("store: before its index is written", "open", r"index\.json", 1, "runner"),
        Exact("store: before it gets its name", "os.rename", r"[0-9a-f]{16}\.building", 1, "runner"),
        Exact("preparation: before its first file", "open", _TEMPORARY.format(r"weights\.json"), 1, "runner"),
        Exact("preparation: before experiment.toml", "os.rename", _TEMPORARY.format(r"experiment\.toml"), 1, "runner"),
        Exact("preparation: before the second trial.toml", "open", _TEMPORARY.format(r"trial\.toml"), 2, "runner"),
        Exact("before a line of metrics.jsonl", "open", r"metrics\.jsonl", 3),
        Exact("between metrics.jsonl and counts.npz", "open", npz),
        Exact("before counts.npz gets its name", "os.rename", npz),
        Exact("before the first best.pt gets its name", "os.rename", best, 1),
        Exact("between best.pt and previous.pt", "os.link", r"last\.pt", 1),
        Exact("before previous.pt gets its name", "os.rename", previous, 1),
        Exact("between previous.pt and last.pt", "open", last),
        Exact("before last.pt gets its name", "os.rename", last),
        Exact("the same, with the runner", "os.rename", last, 2, "all"),
        Exact("before the very first last.pt gets its name", "os.rename", last, 1),
        Exact("last epoch: before thresholds.npz", "open", thresholds, 1),
        Exact("last epoch: between its checkpoint and examples.npz", "os.rename", examples, 1),
        Exact("last epoch: before previous.pt is removed", "os.remove", r"previous\.pt", 1),
        Exact("after all trials: before results.csv", "os.rename", _TEMPORARY.format(r"results\.csv"), 1, "runner"),
        Exact("after all trials: before the report", "os.rename", _TEMPORARY.format(r"report\.html"), 1, "runner"),
    ]  # fmt: skip


@dataclass
class Disturbed:
    """A run that was killed, and what came of it."""

    moment: str
    whom: str
    kills: int = 0
    states: list[str] = field(default_factory=list)
    most_lost: float = 0.0
    starts: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        return not self.wrong and self.most_lost <= 1.0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--kills", type=int, default=20, help="kills, in as many runs as it takes")
    parser.add_argument("--exact", action="store_true", help="kill at the named points, one run each")
    parser.add_argument("--seed", type=int, default=0, help="of moments and victims")
    parser.add_argument("--keep", type=Path, help="work here and leave everything")
    parser.add_argument("--out", type=Path, help="write the rows here as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        folder = given.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        datasplit = write_data(folder / "data")
        expected, seconds = _undisturbed(folder / "undisturbed", datasplit)
        print(f"undisturbed: {seconds:.0f} s; seed {given.seed}", flush=True)
        results = []
        plans = _exact_plans(folder) if given.exact else _plans(given.seed, seconds)
        for number, (is_fresh, plan) in enumerate(plans, start=1):
            where = folder / f"disturbed-{number}"
            found = plan(write_run(where, datasplit) if is_fresh else _write_prepared(where, datasplit, expected))
            found.wrong += differences(expected, RunFolder(folder / f"disturbed-{number}" / "run"))
            results.append(found)
            _print(number, found)
            if not given.exact and sum(result.kills for result in results) >= given.kills:
                break
    well = sum(result.is_well for result in results)
    print(f"{well} of {len(results)} killed runs ended as the undisturbed one, to the bit")
    kind = "at exact points" if given.exact else f"at random moments (seed {given.seed})"
    lost = max(result.most_lost for result in results)
    kills = sum(result.kills for result in results)
    report(
        [
            Row(
                f"runs killed {kind} that ended as the undisturbed one, to the bit",
                f"{well} of {len(results)} ({kills} kills)",
                aim=f"{len(results)} of {len(results)}",
                met=well == len(results),
            ),
            Row("epochs lost by a kill, at most", f"{lost:.2f}", aim="1", met=lost <= 1.0),
        ],
        given.out,
    )
    return 0 if well == len(results) else 1


def _write_prepared(folder: Path, datasplit: Path, like: RunFolder) -> Path:
    """Write a run whose store is built and whose first steps were tried: it begins with its trials."""
    experiment = write_run(folder, datasplit, store=like.path.parent / "store")
    (folder / "run").mkdir()
    shutil.copy(like.check, folder / "run")
    return experiment


def _undisturbed(folder: Path, datasplit: Path) -> tuple[RunFolder, float]:
    """Run twice: once for the reference, once more, prepared, for how long it takes."""
    runs = [RunFolder(folder / name / "run") for name in ("first", "second")]
    _run_to_end(write_run(folder / "first", datasplit))
    experiment = _write_prepared(folder / "second", datasplit, runs[0])
    began = time.monotonic()
    _run_to_end(experiment)
    took = time.monotonic() - began
    if wrong := differences(*runs):
        raise SystemExit(f"two undisturbed runs differ: {', '.join(wrong)}")
    return runs[0], took


def _run_to_end(experiment: Path) -> None:
    with (experiment.parent / "output.txt").open("ab") as output:
        code = start_run(experiment, output).wait()
    if code:
        raise SystemExit(f"{experiment} ended with exit code {code}; see output.txt beside it")


# Random moments -------------------------------------------------------------------------------------------------

Plan = Callable[[Path], Disturbed]
Moment = tuple[str, float]
"""A kind, and a number in [0, 1] that says when."""


def _plans(seed: int, seconds: float) -> Iterator[tuple[bool, Plan]]:
    """Draw what happens to each run: of eight, three are killed as a checkpoint is written, one as the store is."""
    draw = random.Random(seed)  # noqa: S311 - no secrets
    for number in itertools.count():
        kind = ("random", "checkpoint", "random", "checkpoint", "store", "random", "checkpoint", "random")[number % 8]
        whom = draw.choice({"store": ("runner",), "checkpoint": ("trial", "all")}.get(kind, ("trial", "runner", "all")))
        times = 1 if kind == "store" else draw.choice((1, 1, 2, 3))
        moments = [(kind, draw.random()) for _ in range(times)]
        yield kind == "store", partial(_disturb, moments, whom, seconds)


def _disturb(moments: list[Moment], whom: str, seconds: float, experiment: Path) -> Disturbed:
    """Kill one run once or several times, and start it again at once, until it ends well."""
    shown = [f"{kind} ({share * seconds:.1f} s)" if kind == "random" else kind for kind, share in moments]
    found = Disturbed(", ".join(shown), whom)
    waiting = list(moments)
    while found.starts < _MOST_STARTS:
        found.starts += 1
        with (experiment.parent / "output.txt").open("ab") as output:
            watch = _Watch(start_run(experiment, output), experiment)
        while waiting and watch.runs():
            kind, share = waiting.pop(0)
            watch.wait_for(kind, share, seconds)
            if watch.runs():
                watch.kill(whom, found)
            else:  # too late: sooner, when it is started again
                waiting.insert(0, ("random", share / 2))
                break
        if watch.runner.wait() == 0 and not waiting:
            return found
    found.wrong.append(f"not finished after {_MOST_STARTS} starts")
    return found


class _Watch:
    """Looks at a run and its processes, often enough to meet a checkpoint being written, and kills."""

    def __init__(self, runner: subprocess.Popen[bytes], experiment: Path) -> None:
        self.runner = runner
        self._run, self._store = RunFolder(experiment.parent / "run"), experiment.parent / "store"
        self._looked, self._folders, self._trials, self._others = 0.0, [], {}, []  # type: ignore[var-annotated]
        self._busy: Path | None = None

    def runs(self) -> bool:
        return self.runner.poll() is None

    def wait_for(self, kind: str, share: float, seconds: float) -> None:
        """Return at the moment to kill, or when the run has ended."""
        deadline = time.monotonic() + share * seconds
        let_through = int(share * 4)  # checkpoints
        was_there = False
        while self.runs():
            self._refresh()
            if kind == "random" and time.monotonic() > deadline:
                return
            if kind == "store" and any(entry.name.endswith(".building") for entry in _entries(self._store)):
                time.sleep(share * 0.3)
                return
            self._busy = next((f for f in self._folders if _is_checkpoint_being_written(f)), None)
            if kind == "checkpoint" and self._busy is not None and not was_there:
                if let_through == 0:
                    return
                let_through -= 1
            was_there = self._busy is not None
            time.sleep(_WATCH_S)

    def _refresh(self) -> None:
        """Find the processes now and then: it takes longer than writing a checkpoint."""
        if time.monotonic() - self._looked < 0.2:
            return
        self._looked = time.monotonic()
        self._folders = [trial.path for trial in self._run.trials()]
        self._trials, self._others = find_children(self.runner.pid)

    def kill(self, whom: str, found: Disturbed) -> None:
        trial = self._trials.get(self._busy) or next(iter(self._trials.values()), self.runner.pid)
        victims = {
            "trial": [trial],
            "runner": [self.runner.pid],
            "all": [self.runner.pid, *self._trials.values(), *self._others],
        }[whom]
        for victim in victims:
            with suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        if self.runner.pid in victims:
            self.runner.wait()
        _note_states(self._run, found)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except FileNotFoundError:
        return []


def _is_checkpoint_being_written(folder: Path) -> bool:
    return any(".pt." in entry.name and entry.name.endswith(".tmp") for entry in _entries(folder))


def _note_states(run: RunFolder, found: Disturbed) -> None:
    found.kills += 1
    if not run.trials():
        found.states.append("no trials yet")
    for trial in run.trials():
        _note_state(trial, found)


def _note_state(trial: TrialFolder, found: Disturbed) -> None:
    """Note how far a trial was, and how much of that no checkpoint holds."""
    status = TrialStatus.read(trial.status)
    lines = len(list(read_lines(trial.metrics)))
    torn = sorted(f"{f.name.split('.')[1]}.pt {f.stat().st_size} B" for f in trial.path.glob(".*.pt.*.tmp"))
    checkpoint = load_checkpoint(trial.last_checkpoint)
    kept = checkpoint["epoch"] if checkpoint else 0
    part = status.step / status.steps_per_epoch if status.steps_per_epoch else 0.0
    reached = max(status.epoch - 1 + part if status.epoch else 0.0, lines)
    found.states.append(f"{reached:.2f} ({kept} kept{', being written: ' if torn else ''}{', '.join(torn)})")
    found.most_lost = max(found.most_lost, reached - kept)


# Exact points ---------------------------------------------------------------------------------------------------


def _exact_plans(folder: Path) -> list[tuple[bool, Plan]]:
    hook = folder / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(_HOOK, encoding="utf-8")
    return [(point.whom == "runner", partial(_kill_exactly, point, hook)) for point in _exact_points()]


def _kill_exactly(point: Exact, hook: Path, experiment: Path) -> Disturbed:
    """Let the processes of a run kill themselves at a point, then give the same command without that."""
    found = Disturbed(point.where, point.whom)
    run = RunFolder(experiment.parent / "run")
    path = os.pathsep.join(filter(None, (str(hook), os.environ.get("PYTHONPATH", ""))))
    environment = {"PYTHONPATH": path, "KILL_AT": f"{point.event}|{point.file}|{point.count}|{point.whom}"}
    with (experiment.parent / "output.txt").open("ab") as output:
        code = start_run(experiment, output, environment).wait()
    if code == 0:
        found.wrong.append("nothing was killed")
    _note_states(run, found)
    for _ in range(_MOST_STARTS):
        found.starts += 1
        with (experiment.parent / "output.txt").open("ab") as output:
            if start_run(experiment, output).wait() == 0:
                return found
    found.wrong.append(f"not finished after {_MOST_STARTS} starts")
    return found


def _print(number: int, found: Disturbed) -> None:
    outcome = "same to the bit" if not found.wrong else "DIFFERS: " + "; ".join(found.wrong)
    states = " | ".join(found.states)
    print(
        f"{number:3}  {found.whom:6}  {found.moment:40}  {states}; lost {found.most_lost:.2f} epochs, "
        f"{found.starts} starts: {outcome}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
