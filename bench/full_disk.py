"""Fill a disk while an experiment runs, make room, continue, and compare with an undisturbed run, bit by bit.

    sudo python bench/full_disk.py [--keep FOLDER]

A file system of a few megabytes (tmpfs, which only root may mount) holds what is named, and a file takes all that is
left of it:

- *store*: the voxel store: first a disk that is too small for it, then one that is filled when its building has begun;
- *all*: the run folder, filled when every trial has an epoch behind it;
- *one*: the folder of one trial, filled in the same way; the other trial must end as if nothing had happened;
- *moment*: the run folder, filled between two checkpoints and emptied again before the next: nothing may end;
- *end*: the run folder of a finished run whose table, verdict and report have to be written again.

Exit code 1 if a run does not say which disk is full and how much room it needs, or ends otherwise than the undisturbed
one once there is room.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring import Row, report
from runs import differences, start_run, write_data, write_run

from counterpoise.files.atomic import read_lines
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.training.checkpoint import load_checkpoint

_PATIENCE_S = 600.0


class Case:
    """One disk that is filled: what was wrong, and what was said."""

    def __init__(self, name: str, folder: Path, expected: RunFolder) -> None:
        self.name, self.folder, self.expected = name, folder, expected
        self.wrong: list[str] = []
        self.said = ""

    def check(self, claim: object, otherwise: str) -> None:
        if not claim:
            self.wrong.append(otherwise)

    def run(self, experiment: Path) -> int:
        """Run to the end; return the exit code."""
        with self.output() as output:
            return start_run(experiment, output).wait()

    @contextmanager
    def output(self) -> Iterator[object]:
        with (self.folder / "output.txt").open("ab") as stream:
            yield stream

    def read(self) -> str:
        return (self.folder / "output.txt").read_text(encoding="utf-8", errors="replace")

    def check_words(self, disk: Path) -> None:
        """See that disk, need and rest were said, and that nothing ended in a traceback."""
        said = self.read()
        found = re.search(
            rf"no (?:room|space) for [^\n]*needs [\d.]+ \w?B[^\n]*the disk at {re.escape(str(disk))} has [\d.]+ \w?B",
            said,
        )
        self.said = found[0] if found else ""
        self.check(found, f"does not say that {disk} is full and how much it needs")
        self.check("Traceback" not in said, "a traceback")

    def check_end(self, experiment: Path, run: RunFolder) -> None:
        """Give the same command now that there is room, and compare."""
        self.check(self.run(experiment) == 0, "does not end well once there is room")
        self.wrong += differences(self.expected, run)


@contextmanager
def small_disk(folder: Path, size_kb: int) -> Iterator[Path]:
    """Mount a file system of a limited size."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_kb}k", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Take all the room that is left, and go on taking what becomes free."""
    filler = disk / "filler"
    try:
        take_all(filler)
        yield
    finally:
        filler.unlink()


def take_all(filler: Path) -> None:
    with filler.open("ab", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def store_case(case: Case, datasplit: Path, _: Path) -> None:
    disk = case.folder / "disk"
    with small_disk(disk, 1024):
        experiment = write_run(case.folder / "it", datasplit, store=disk / "store")
        run = RunFolder(case.folder / "it" / "run")
        case.check(case.run(experiment) == 2, "too small: the exit code is not 2")
        said = case.read()
        case.check(
            re.search(r"expected: [\d.]+ MB .*\n.*found: +1\.0 MB free", said), "too small: not said by how much"
        )
        case.check(not run.path.exists(), "too small: a run folder was made")
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        with case.output() as output:
            runner = start_run(experiment, output)
        while runner.poll() is None and not list(disk.glob("store/*.building")):
            time.sleep(0.0002)
        with filled(disk):
            case.check(runner.wait(_PATIENCE_S) == 2, f"filled: the exit code is {runner.returncode}, not 2")
            case.check_words(disk)
            case.check(not run.path.exists(), "filled: a run folder was made")
        case.check_end(experiment, run)


def all_case(case: Case, datasplit: Path, store: Path) -> None:
    disk = case.folder / "disk"
    with small_disk(disk, 8192):
        experiment = write_run(disk / "it", datasplit, store=store)
        run = RunFolder(disk / "it" / "run")
        with case.output() as output:
            runner = start_run(experiment, output)
        wait_for_epochs(runner, run)
        kept = {trial: checkpoint_epoch(trial) for trial in run.trials()}
        with filled(disk):
            # 1 where a trial failed, 2 where the runner itself found no room for the table or the verdict.
            case.check(runner.wait(_PATIENCE_S) in {1, 2}, f"the exit code is {runner.returncode}")
            case.check_words(disk)
            case.check(all(checkpoint_epoch(t) >= kept[t] for t in kept), "a checkpoint was lost")
        case.check_end(experiment, run)
        shutil.copytree(run.path, case.folder / "kept")


def one_case(case: Case, datasplit: Path, store: Path) -> None:
    experiment = write_run(case.folder / "it", datasplit, store=store)
    run = RunFolder(case.folder / "it" / "run")
    disk = run.trial("weight_inv_freq", 0).path
    with small_disk(disk, 8192):
        with case.output() as output:
            runner = start_run(experiment, output)
        wait_for_epochs(runner, run)
        with filled(disk):
            case.check(runner.wait(_PATIENCE_S) == 1, f"the exit code is {runner.returncode}, not 1")
            case.check_words(disk)
            other = run.trial("weight_uniform", 0)
            case.check("attempt" not in other.log.read_text(encoding="utf-8"), "the other trial was disturbed")
            case.check('"finished"' in other.status.read_text(encoding="utf-8"), "the other trial did not finish")
        case.check_end(experiment, run)
        shutil.copytree(run.path, case.folder / "kept")


def moment_case(case: Case, datasplit: Path, store: Path) -> None:
    disk = case.folder / "disk"
    with small_disk(disk, 8192):
        experiment = write_run(disk / "it", datasplit, store=store, slots=1)
        run = RunFolder(disk / "it" / "run")
        with case.output() as output:
            runner = start_run(experiment, output)
        wait_for_epochs(runner, run, any_trial=True)
        with filled(disk):
            time.sleep(0.3)
        case.check(runner.wait(_PATIENCE_S) == 0, f"the exit code is {runner.returncode}, not 0")
        logs = [trial.log.read_text(encoding="utf-8", errors="replace") for trial in run.trials()]
        case.check(not any("attempt" in log for log in logs), "a trial was started again")
        case.wrong += differences(case.expected, run)
        case.said = "(nothing to say: no checkpoint was due)"


def end_case(case: Case, datasplit: Path, store: Path) -> None:
    disk = case.folder / "disk"
    with small_disk(disk, 8192):
        experiment = write_run(disk / "it", datasplit, store=store)
        run = RunFolder(disk / "it" / "run")
        case.check(case.run(experiment) == 0, "does not end well")
        for file in (run.results, run.verdict, run.report):
            file.unlink()
        with filled(disk):
            case.check(case.run(experiment) == 2, "the exit code is not 2")
            case.check_words(disk)
            done = subprocess.run(
                [sys.executable, "-m", "counterpoise", "report", run.path], text=True, capture_output=True, check=False
            )
            case.check(done.returncode == 2, "report: the exit code is not 2")
            room = re.search(r"no space for \S+: it needs [\d.]+ \w?B", done.stderr)
            case.check(room, f"report: does not say what it needs, but {done.stderr!r}")
            case.check("Traceback" not in done.stderr, "report: a traceback")
        case.check_end(experiment, run)


def wait_for_epochs(runner: subprocess.Popen[bytes], run: RunFolder, *, any_trial: bool = False) -> None:
    """Wait until every trial, or one of them, has an epoch behind it."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline and runner.poll() is None:
        epochs = [len(list(read_lines(trial.metrics))) for trial in run.trials()]
        if epochs and (any if any_trial else all)(epochs) and all(t.last_checkpoint.exists() for t in run.trials()[:1]):
            return
        time.sleep(0.02)
    raise SystemExit("the run ended before its disk was filled")


def checkpoint_epoch(trial: TrialFolder) -> int:
    """Return the epoch of the newest whole checkpoint."""
    contents = [load_checkpoint(file) for file in (trial.last_checkpoint, trial.previous_checkpoint)]
    return max((content["epoch"] for content in contents if content is not None), default=0)


CASES = {"store": store_case, "all": all_case, "one": one_case, "moment": moment_case, "end": end_case}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    parser.add_argument("--keep", type=Path, help="work here and leave everything")
    parser.add_argument("--only", nargs="*", choices=list(CASES), default=list(CASES))
    parser.add_argument("--out", type=Path, help="write the rows here as JSON")
    given = parser.parse_args()
    if os.geteuid() != 0:
        print("mounting a small disk needs root; nothing was tried", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="full-disk-") as name:
        folder = given.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        datasplit = write_data(folder / "data")
        expected, store = folder / "undisturbed", folder / "undisturbed" / "store"
        Case("undisturbed", folder, RunFolder(expected / "run")).run(write_run(expected, datasplit))
        cases = []
        for kind in given.only:
            (folder / kind).mkdir()
            case = Case(kind, folder / kind, RunFolder(expected / "run"))
            CASES[kind](case, datasplit, store)
            cases.append(case)
            print(f"{kind}: {'; '.join(case.wrong) or 'well'}\n    {case.said}", flush=True)
    well = sum(not case.wrong for case in cases)
    whole = "disks filled, and nothing lost: " + ", ".join(case.name for case in cases)
    report([Row(whole, f"{well} of {len(cases)}", aim=f"{len(cases)}", met=well == len(cases))], given.out)
    return 0 if well == len(cases) else 1


if __name__ == "__main__":
    sys.exit(main())
