"""A few real steps before the first trial: what would fail in every trial fails once, and early."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Self

from counterpoise import __version__
from counterpoise.errors import RunFolderError, TrialError
from counterpoise.files.atomic import read_json, write_json
from counterpoise.machine.hardware import Hardware
from counterpoise.machine.plan import Slot
from counterpoise.preflight.cost import Work, estimate_cost
from counterpoise.preflight.design import Design
from counterpoise.preflight.measuring import measure_slots
from counterpoise.preflight.observer import SILENT, PreflightObserver, Stage
from counterpoise.preflight.space import existing_folder, free_bytes
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.speed import Speed
from counterpoise.text import counted, size

__all__ = ["FirstSteps", "choose_slots", "require_first_steps", "require_space", "try_first_steps"]

_RECORD_VERSION = 1


@dataclass(frozen=True)
class FirstSteps:
    """Training steps that were made before a run, and what they took.

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
        """Read ``check.json``; None if it does not exist, or is damaged."""
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
                f"{len(slots)} trials at once may need {size(memory * len(slots))} of memory, and the machine has "
                f"{size(hardware.memory_bytes)}: lower run.slots"
            )
        return tuple(notes)


def require_first_steps(design: Design, hardware: Hardware, observer: PreflightObserver = SILENT) -> FirstSteps | None:
    """Make the first steps of a run on every kind of device that it will use, unless they passed before.

    They are not made again for the same network, data, batch and devices (``check.json`` in the run folder), nor in a
    run whose trials have finished an epoch, nor for trials that run on another machine. Nothing is written.

    Parameters
    ----------
    design : Design
        What will be trained.
    hardware : Hardware
        What the machine has.
    observer : PreflightObserver
        Receives what is done, or why it is not.

    Returns
    -------
    FirstSteps or None
        To be written into the run folder. None if no steps are known: trials run elsewhere, every trial is finished, or
        some were resumed from an older version.

    Raises
    ------
    TrialError
        If a step fails: every trial would.
    RunFolderError
        If the disk has no space for what the trials will leave.
    """
    engine = design.experiment.engine
    if engine.is_elsewhere:
        observer.told(f"First steps: skipped (trials run on {engine.kind}, not here)")
        return None
    left = design.count_unfinished()
    if not left:
        return None
    before = FirstSteps.read(design.run)
    if before is not None and before.key == _key_of(design, hardware):
        observer.told(f"First steps: skipped (already passed {before.when}, {', '.join(before.slots)})")
        require_space(design, left, before.speeds)
        return before
    if before is None and _has_finished_epochs(design):
        observer.told("First steps: skipped (trials of this run have finished epochs)")
        return None
    slots = choose_slots(design.machine.slots, hardware)
    observer.told(f"First steps: trying {_what(design)} on {', '.join(slot.name for slot in slots)}")
    observer.began(Stage.FIRST_STEPS)
    done = try_first_steps(design, hardware, slots, brief=True)
    require_space(design, left, done.speeds)
    for warning in done.warnings(design, hardware):
        observer.told(f"First steps: {warning}")
    return done


def try_first_steps(design: Design, hardware: Hardware, slots: Sequence[Slot], *, brief: bool = False) -> FirstSteps:
    """Make steps with the whole batch in these slots at once, each in a process of its own.

    Raises
    ------
    TrialError
        If a process fails: every trial would.
    """
    try:
        speeds = measure_slots(design.trials[0], slots, existing_folder(design.run.path), brief=brief)
    except TrialError as error:
        raise TrialError(
            f"the first steps of a trial failed: {error.problem}",
            expected=f"{_what(design)}, as every trial makes them",
            found=error.found,
            remedy="fix what it names: the trials would fail in the same way",
        ) from error
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return FirstSteps(_key_of(design, hardware), now, tuple(slot.name for slot in slots), speeds)


def choose_slots(slots: Sequence[Slot], hardware: Hardware) -> tuple[Slot, ...]:
    """Choose all slots of one device of each kind: GPUs of the same name and memory are alike, with as many slots.

    Of the slots on a CPU one is chosen: what fits once fits again as long as the memory suffices.
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


def require_space(design: Design, left: int, speeds: Sequence[Speed]) -> int:
    """Compare what the trials will leave with the free space on the disk of the run folder.

    In addition to its last and its best checkpoint a trial keeps the one before, and writes the next, until it is
    finished.

    Returns
    -------
    int
        Bytes that are needed.

    Raises
    ------
    RunFolderError
        If there are fewer.
    """
    work, run = Work.of(design, trials=left), design.run
    running = min(len(design.machine.slots), left)
    needed = estimate_cost(work, speeds).disk_bytes + running * 2 * max(speed.last_bytes for speed in speeds)
    free = free_bytes(run.path)
    if free < needed:
        raise RunFolderError(
            f"the disk of the run folder {run.path} has too little space",
            expected=f"{size(needed)} for {left} trials: checkpoints, counts, examples and logs",
            found=f"{size(free)} free",
            remedy="free some space, or choose another place with [run] folder = ... in the experiment",
        )
    return needed


def _what(design: Design) -> str:
    batch = design.machine.batch_size
    return f"two steps of {counted(batch, 'patch')} and a batch of tiles"


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


def _has_finished_epochs(design: Design) -> bool:
    return any(folder.last_checkpoint.exists() for folder in design.folders)
