"""A few real steps before the first trial: what would fail in every trial fails once, and early."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Self

from counterpoise import __version__
from counterpoise.errors import RunFolderError, TrialError
from counterpoise.files.atomic import read_json, write_json
from counterpoise.machine.hardware import Hardware
from counterpoise.machine.plan import Slot
from counterpoise.preflight.design import Design
from counterpoise.preflight.estimate import Work, estimate_cost, measure_slots
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.records import TrialStatus
from counterpoise.runs.speed import Speed

__all__ = [
    "Rehearsal",
    "choose_slots",
    "free_bytes",
    "in_words",
    "rehearse",
    "rehearse_once",
    "require_room",
    "trials_left",
]

_RECORD_VERSION = 1
_GB, _MB = 1e9, 1e6


@dataclass(frozen=True)
class Rehearsal:
    """Steps that were made for a run, and what they took.

    Parameters
    ----------
    key : str
        Hash of everything that decides whether they can be made.
    when : str
        Time, ISO 8601 in UTC.
    slots : tuple of str
        Where they were made.
    speeds : tuple of Speed
        One per slot.
    """

    key: str
    when: str
    slots: tuple[str, ...]
    speeds: tuple[Speed, ...]

    def write(self, run: RunFolder) -> None:
        """Write ``check.json``; makes the run folder if need be."""
        run.path.mkdir(parents=True, exist_ok=True)
        write_json(run.check, {"version": _RECORD_VERSION, **asdict(self)})

    @classmethod
    def read(cls, run: RunFolder) -> Self | None:
        """Read ``check.json``; None if it is not there, or damaged."""
        try:
            content = read_json(run.check)
            speeds = tuple(Speed(**entry) for entry in content["speeds"])
            return cls(content["key"], content["when"], tuple(content["slots"]), speeds)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def warnings(self, design: Design, hardware: Hardware) -> tuple[str, ...]:
        """Say what is unusual about the steps, and does not keep trials from being trained."""
        batch, slots = design.machine.batch_size, design.machine.slots
        notes = [
            f"{slot}: a batch of {batch} does not fit into its memory; {speed.micro_batch} patches at a time do "
            "(same loss, slower)"
            for slot, speed in zip(self.slots, self.speeds, strict=True)
            if speed.micro_batch < batch
        ]
        nonfinite = sum(speed.nonfinite_steps for speed in self.speeds)
        if nonfinite and design.machine.precision != "float16":  # whose scaling has to be found by such steps
            notes.append(f"{nonfinite} of the first steps had a loss or gradient that is not finite")
        memory = max(speed.memory_bytes for speed in self.speeds)
        if memory * len(slots) > hardware.memory_bytes:
            notes.append(
                f"{len(slots)} trials at once may need {in_words(memory * len(slots))} of memory, and there are "
                f"{in_words(hardware.memory_bytes)}: lower run.slots"
            )
        return tuple(notes)


def rehearse_once(
    design: Design, hardware: Hardware, run: RunFolder, *, say: Callable[[str], object] = lambda _: None
) -> Rehearsal | None:
    """Make the first steps of a run on every kind of device that it will use, unless that is known to work.

    It is not done again for the same network, data, batch and devices (``check.json`` in the run folder), nor in a
    run whose trials have got through an epoch.

    Parameters
    ----------
    design : Design
        What will be trained.
    hardware : Hardware
        What there is.
    run : RunFolder
        Where results go; gets ``check.json``.
    say : callable
        Told what is done, or why it is not.

    Returns
    -------
    Rehearsal or None
        None if nothing is known of the steps: every trial is finished, or some were resumed from an older version.

    Raises
    ------
    TrialError
        If a step fails: every trial would.
    RunFolderError
        If the disk has no room for what the trials will leave.
    """
    left = trials_left(design, run)
    if not left:
        return None
    key = _key_of(design, hardware)
    before = Rehearsal.read(run)
    if before is not None and before.key == key:
        say(f"First steps: tried before ({before.when}, {', '.join(before.slots)}), and not again")
        require_room(design, run, left, before.speeds)
        return before
    if before is None and _has_finished_epochs(design, run):
        say("First steps: not tried, because trials of this run have finished epochs")
        return None
    slots = choose_slots(design.machine.slots, hardware)
    say(f"First steps: trying {_what(design)} on {', '.join(slot.name for slot in slots)}")
    done = rehearse(design, hardware, run, slots, brief=True)
    require_room(design, run, left, done.speeds)
    done.write(run)
    for warning in done.warnings(design, hardware):
        say(f"First steps: {warning}")
    return done


def rehearse(
    design: Design, hardware: Hardware, run: RunFolder, slots: Sequence[Slot], *, brief: bool = False
) -> Rehearsal:
    """Make steps at full batch in these slots at once, each in a process of its own.

    Raises
    ------
    TrialError
        If a process fails: every trial would.
    """
    scratch = next(path for path in (run.path, *run.path.parents) if path.is_dir())
    try:
        speeds = measure_slots(design.trials[0], slots, scratch, brief=brief)
    except TrialError as error:
        raise TrialError(
            f"the first steps of a trial failed: {error.problem}",
            expected=f"{_what(design)}, as every trial makes them",
            found=error.found,
            remedy="mend what it names: the trials would fail in the same way",
        ) from error
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return Rehearsal(_key_of(design, hardware), now, tuple(slot.name for slot in slots), speeds)


def choose_slots(slots: Sequence[Slot], hardware: Hardware) -> tuple[Slot, ...]:
    """Choose all slots of one device of each kind: GPUs of the same name and memory are alike, and share with as many.

    Of the slots on a CPU one is chosen: what fits once fits again as long as the memory lasts.
    """
    kinds = {gpu.address: (gpu.name, gpu.memory_bytes) for gpu in hardware.gpus}
    first: dict[object, str] = {}
    for slot in slots:
        first.setdefault(kinds.get(slot.gpu), slot.gpu)
    return tuple(
        slot
        for number, slot in enumerate(slots)
        if first[kinds.get(slot.gpu)] == slot.gpu and (slot.gpu or number == 0)
    )


def trials_left(design: Design, run: RunFolder) -> int:
    """Count the trials that are not finished; one that was trained by another configuration is."""
    folders = [run.trial(config.arm, config.seed) for config in design.trials]
    return sum(TrialStatus.of(folder).state != "finished" for folder in folders)


def require_room(design: Design, run: RunFolder, left: int, speeds: Sequence[Speed]) -> int:
    """Compare what the trials will leave with the free room on the disk of the run folder.

    Beside its last and its best checkpoint a trial keeps the one before, and writes the next, until it is finished.

    Returns
    -------
    int
        Bytes that are needed.

    Raises
    ------
    RunFolderError
        If there are fewer.
    """
    work = Work.of(design.trials[0], trials=left, tiles=len(design.tiles.patches), crops=len(design.tiles.crops))
    running = min(len(design.machine.slots), left)
    needed = estimate_cost(work, speeds).disk_bytes + running * 2 * max(speed.last_bytes for speed in speeds)
    free = free_bytes(run.path)
    if free < needed:
        raise RunFolderError(
            f"the disk of the run folder {run.path} has too little room",
            expected=f"{in_words(needed)} for {left} trials: checkpoints, counts, examples and logs",
            found=f"{in_words(free)} free",
            remedy="make room, or choose another place with [run] folder = ... in the experiment",
        )
    return needed


def free_bytes(folder: Path) -> int:
    """Return the free room on the disk where a folder is or will be."""
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free


def in_words(size: float) -> str:
    """Write a number of bytes with a unit."""
    return f"{size / _GB:.1f} GB" if size >= _GB / 10 else f"{size / _MB:.1f} MB"


def _what(design: Design) -> str:
    batch = design.machine.batch_size
    return f"two steps of {batch} patch{'es' * (batch > 1)} and a batch of tiles"


def _key_of(design: Design, hardware: Hardware) -> str:
    """Hash what decides whether a trial can be trained: all but arm, seed and weights, devices, versions."""
    kinds = {gpu.address: f"{gpu.name}, {gpu.memory_bytes} bytes" for gpu in hardware.gpus}
    slots = choose_slots(design.machine.slots, hardware)
    content = [
        design.trials[0].model_dump(mode="json", exclude={"store", "arm", "seed", "class_weights"}),
        [[kinds.get(slot.gpu, "cpu"), slot.device, slot.threads] for slot in slots],
        [__version__, version("torch")],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _has_finished_epochs(design: Design, run: RunFolder) -> bool:
    folders = [run.trial(config.arm, config.seed) for config in design.trials]
    return any(folder.last_checkpoint.exists() for folder in folders)
