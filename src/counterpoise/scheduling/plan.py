"""From an experiment and a machine to concrete numbers: device, slots, threads, batch size, precision. And why."""

from __future__ import annotations

from dataclasses import dataclass

from counterpoise.experiment.config import Experiment, Precision, TrainingConfig
from counterpoise.scheduling.hardware import GIB, Gpu, Hardware

__all__ = ["MachinePlan", "Slot", "choose_batch_size", "plan_machine"]

_BATCH_BY_MEMORY_GIB = ((39.0, 64), (22.0, 48), (10.5, 28), (7.5, 16))
"""The reference's batch sizes for cards sold as 40, 24 and 11 GB, and one below. They have a little less in GiB, with
error correction a little less again: an L4 or an A10 of 24 GB shows 22.5."""

_CPU_BATCH = 8
_MEMORY_PER_CPU_SLOT = 3 * GIB


@dataclass(frozen=True)
class Slot:
    """A place where one trial at a time runs.

    ``environment`` is added to the process's own; ``device`` is what torch calls the device inside it.
    """

    name: str
    device: str
    threads: int
    environment: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MachinePlan:
    """Slots, batch size and precision, with the reason for each choice in words."""

    slots: tuple[Slot, ...]
    batch_size: int
    precision: Precision
    reasons: tuple[str, ...]


def choose_batch_size(memory_bytes: int) -> int:
    """Choose the reference protocol's batch size for a GPU's memory."""
    return next((batch for gib, batch in _BATCH_BY_MEMORY_GIB if memory_bytes >= gib * GIB), _CPU_BATCH)


def plan_machine(experiment: Experiment, hardware: Hardware, *, trials: int) -> MachinePlan:
    """Decide where and how trials run.

    One slot per GPU; without a GPU, one slot per core (as memory allows), because several single-threaded trials
    finish sooner than one trial on all cores. Threads are divided so that slots do not fight for cores.

    Parameters
    ----------
    experiment : Experiment
        ``run.slots``, ``run.threads``, ``training.batch_size`` and ``training.precision`` override what is found.
    hardware : Hardware
        What there is.
    trials : int
        How many trials there are to run: more slots than that are not made.
    """
    reasons: list[str] = []
    wanted = experiment.run.slots
    if hardware.gpus:
        count = min(len(hardware.gpus) if wanted == "auto" else wanted, max(trials, 1))
        reasons.append(f"{count} slot{'s' * (count > 1)}: " + ("one per GPU" if wanted == "auto" else "as configured"))
    else:
        by_memory = max(hardware.memory_bytes // _MEMORY_PER_CPU_SLOT, 1)
        count = min(hardware.cores, by_memory) if wanted == "auto" else wanted
        count = max(min(count, trials), 1)
        why = "one per core, as memory allows" if wanted == "auto" else "as configured"
        reasons.append(f"{count} slot{'s' * (count > 1)} on the CPU: {why}")
    configured = experiment.run.threads
    threads = max(hardware.cores // count, 1) if configured == "auto" else configured
    if configured == "auto":
        reasons.append(f"{threads} thread{'s' * (threads > 1)} per slot: {hardware.cores} cores / {count}")
    batch, precision = _batch_and_precision(experiment.training, hardware, reasons)
    slots = tuple(_make_slot(k, hardware.gpus, threads) for k in range(count))
    return MachinePlan(slots, batch, precision, tuple(reasons))


def _make_slot(number: int, gpus: tuple[Gpu, ...], threads: int) -> Slot:
    limits = tuple(
        (name, str(threads))
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    )
    # zarr and its codecs start threads of their own otherwise.
    limits += (("BLOSC_NTHREADS", "1"),)
    # Threads that wait for each other by spinning starve the other slots of a busy machine.
    limits += (("OMP_WAIT_POLICY", "PASSIVE"), ("KMP_BLOCKTIME", "0"))
    if not gpus:
        return Slot(f"cpu-{number}", "cpu", threads, limits)
    gpu = gpus[number % len(gpus)]
    return Slot(f"gpu-{gpu.index}", "cuda:0", threads, (*limits, ("CUDA_VISIBLE_DEVICES", gpu.address)))


def _batch_and_precision(training: TrainingConfig, hardware: Hardware, reasons: list[str]) -> tuple[int, Precision]:
    batch = training.batch_size
    if batch == "auto":
        if hardware.gpus:
            # The smallest card decides: arms on different cards must be trained alike.
            smallest = min(gpu.memory_bytes for gpu in hardware.gpus)
            batch = choose_batch_size(smallest)
            reasons.append(f"batch of {batch}: the reference's choice for {smallest / GIB:.0f} GiB of GPU memory")
        else:
            batch = _CPU_BATCH
            reasons.append(f"batch of {batch}: no GPU")
    precision = training.precision
    if precision == "auto":
        if not hardware.gpus:
            precision = "float32"
            reasons.append("float32: half precision is slower on most CPUs")
        elif all(gpu.bfloat16 for gpu in hardware.gpus):
            precision = "bfloat16"
            reasons.append("bfloat16: every GPU has it")
        else:
            precision = "float16"
            reasons.append("float16 with gradient scaling: not every GPU has bfloat16")
    return batch, precision
