"""From an experiment and a machine to concrete numbers: device, slots, threads, batch size, precision. And why."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from counterpoise.errors import ConfigError
from counterpoise.experiment.config import Experiment, Precision, RunConfig, TrainingConfig
from counterpoise.machine.hardware import GIB, Hardware
from counterpoise.machine.places import Place, gpus_with_room, list_places

__all__ = ["MachinePlan", "Slot", "choose_batch_size", "plan_machine"]

_BATCH_BY_MEMORY_GIB = ((39.0, 64), (22.0, 48), (10.5, 28), (7.5, 16))
"""The reference's batch sizes for cards sold as 40, 24 and 11 GB, and one below. They have a little less in GiB, with
error correction a little less again: an L4 or an A10 of 24 GB shows 22.5."""

_CPU_BATCH = 8
_MEMORY_PER_SLOT = 3 * GIB
"""Of the machine's own; a trial on a GPU needs as much of it as one on the CPU."""


@dataclass(frozen=True)
class Slot:
    """A place where one trial at a time runs.

    ``environment`` is added to the process's own; ``device`` is what torch calls the device inside it; ``gpu`` is the
    address of the NVIDIA card behind it, which can be asked whether it still answers; empty for everything else.
    """

    name: str
    device: str
    threads: int
    environment: tuple[tuple[str, str], ...]
    gpu: str = ""


@dataclass(frozen=True)
class MachinePlan:
    """Slots, batch size and precision, with what limits the machine and the reason for each choice in words."""

    slots: tuple[Slot, ...]
    batch_size: int
    precision: Precision
    reasons: tuple[str, ...]


def choose_batch_size(memory_bytes: int) -> int:
    """Choose the reference protocol's batch size for a GPU's memory."""
    return next((batch for gib, batch in _BATCH_BY_MEMORY_GIB if memory_bytes >= gib * GIB), _CPU_BATCH)


def plan_machine(experiment: Experiment, hardware: Hardware, *, trials: int) -> MachinePlan:
    """Decide where and how trials run.

    ``run.per_gpu`` slots per GPU; without a GPU, one slot per core (as memory allows), because several
    single-threaded trials finish sooner than one trial on all cores. Threads are divided so that slots do not fight for
    cores. Slots that share a GPU share its memory. GPUs that others have filled get no slot, but count for batch size
    and precision: those must not depend on who else is there, or a run could not go on at another time.

    Parameters
    ----------
    experiment : Experiment
        ``run.slots``, ``run.per_gpu``, ``run.threads``, ``training.batch_size`` and ``training.precision`` override
        what is found.
    hardware : Hardware
        What there is.
    trials : int
        How many trials there are to run: more slots than that are not made.
    """
    if experiment.engine.kind != "local":
        return _plan_jobs(experiment, hardware, trials)
    reasons = list(hardware.notes)
    wanted, share = experiment.run.slots, _slots_per_gpu(experiment.run, len(hardware.gpus))
    places: tuple[Place, ...] = ()
    if hardware.gpus:
        usable, about_others = gpus_with_room(hardware.gpus)
        reasons += about_others
        each = max(share, _slots_per_gpu(experiment.run, len(usable)))
        places = list_places(usable, min(each, max(trials, 1)))  # whatever number the configuration names
    count = _count_slots(wanted, places, hardware, trials, share, reasons)
    configured = experiment.run.threads
    threads = max(hardware.cores // count, 1) if configured == "auto" else configured
    if configured == "auto":
        reasons.append(f"{_counted(threads, 'thread')} per slot: {_counted(hardware.cores, 'core')} / {count}")
    batch, precision = _batch_and_precision(experiment.training, hardware, share, reasons)
    limits = _thread_limits(threads)
    slots = tuple(Slot(f"cpu-{k}", "cpu", threads, limits) for k in range(count))
    if places:
        is_shared = places[count - 1].number > 0
        slots = tuple(_gpu_slot(place, threads, limits, is_shared=is_shared) for place in places[:count])
    return MachinePlan(slots, batch, precision, tuple(reasons))


def _slots_per_gpu(run: RunConfig, gpus: int) -> int:
    """Return how many slots share a GPU, whoever else is on it and however many trials are left."""
    return run.per_gpu if run.slots == "auto" or not gpus else math.ceil(run.slots / gpus)


def _count_slots(
    wanted: int | Literal["auto"],
    places: tuple[Place, ...],
    hardware: Hardware,
    trials: int,
    share: int,
    reasons: list[str],
) -> int:
    by_memory = max(hardware.memory_bytes // _MEMORY_PER_SLOT, 1)
    memory = f"{hardware.memory_bytes / GIB:.0f} GiB of memory, {_MEMORY_PER_SLOT / GIB:.0f} GiB for each"
    where, each = ("", "GPU") if places else (" on the CPU", "core")
    room = len(places) if places else hardware.cores
    limits = [(trials, "one per trial")]
    if wanted == "auto":
        limits = [(room, f"{share if places and share > 1 else 'one'} per {each}"), (by_memory, memory), *limits]
    elif places and room < min(wanted, trials):
        limits = [(room, f"{wanted} configured, and GPUs that take one process each"), *limits]
    else:
        limits = [(wanted, "as configured"), *limits]
    found, why = min(limits, key=lambda limit: limit[0])
    count = max(found, 1)
    reasons.append(f"{_counted(count, 'slot')}{where}: {why}")
    if count > by_memory:
        reasons.append(f"that may be too many: {memory}, is enough for {by_memory}")
    return count


def _plan_jobs(experiment: Experiment, hardware: Hardware, trials: int) -> MachinePlan:
    """Decide the same for a cluster engine, from what its jobs ask for; all its slots are alike."""
    engine, per_gpu = experiment.engine, experiment.run.per_gpu
    if engine.kind == "parsl_local" and engine.gpus > len(hardware.gpus):
        raise ConfigError(
            "engine.gpus asks for more than this machine has",
            expected=f"{len(hardware.gpus)} or fewer",
            found=str(engine.gpus),
            remedy="lower engine.gpus; 0 trains on the CPU",
        )
    configured = experiment.run.threads
    if engine.gpus:
        on_node = engine.gpus * per_gpu
        why = f"{_counted(engine.gpus, 'GPU')} per node, {_counted(per_gpu, 'trial')} on each"
    else:
        by_memory = max(engine.memory_gb * GIB // _MEMORY_PER_SLOT, 1)
        on_node = max(min(engine.cores // (1 if configured == "auto" else configured), by_memory), 1)
        why = f"{_counted(on_node, 'trial')} per node, on its cores"
    threads = max(engine.cores // on_node, 1) if configured == "auto" else configured
    places = engine.jobs * engine.nodes * on_node
    count = min(places, max(trials, 1))
    jobs, nodes = _counted(engine.jobs, "job"), _counted(engine.nodes, "node")
    reasons = [
        f"{_counted(count, 'slot')}: up to {jobs} of {engine.kind}, {nodes} per job, {why}",
        f"{_counted(threads, 'thread')} per slot: {_counted(engine.cores, 'core')} per node",
    ]
    # Experiments whose GPUs cannot be seen from here say themselves what they want (experiment.engine.check_engine).
    visible = replace(hardware, gpus=() if engine.is_elsewhere else hardware.gpus[: engine.gpus])
    batch, precision = _batch_and_precision(experiment.training, visible, per_gpu, reasons)
    device = "cuda:0" if engine.gpus else "cpu"
    names = [f"{engine.kind}-{k}" for k in range(count)]
    slots = tuple(Slot(name, device, threads, _thread_limits(threads)) for name in names)
    return MachinePlan(slots, batch, precision, tuple(reasons))


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def _thread_limits(threads: int) -> tuple[tuple[str, str], ...]:
    """Return the variables that keep the libraries of a slot to its threads."""
    limits = tuple(
        (name, str(threads))
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    )
    # zarr and its codecs start threads of their own otherwise.
    limits += (("BLOSC_NTHREADS", "1"),)
    # Threads that wait for each other by spinning starve the other slots of a busy machine.
    limits += (("OMP_WAIT_POLICY", "PASSIVE"), ("KMP_BLOCKTIME", "0"))
    return limits


def _gpu_slot(place: Place, threads: int, limits: tuple[tuple[str, str], ...], *, is_shared: bool) -> Slot:
    gpu = place.gpu
    name = f"gpu-{gpu.index}.{place.number}" if is_shared else f"gpu-{gpu.index}"
    if gpu.kind == "mps":
        # Operators that torch does not have for Apple's GPUs yet run on the CPU instead of failing.
        return Slot(name, "mps", threads, (*limits, ("PYTORCH_ENABLE_MPS_FALLBACK", "1")))
    if gpu.kind == "rocm":
        return Slot(name, "cuda:0", threads, (*limits, ("HIP_VISIBLE_DEVICES", gpu.address)))
    return Slot(name, "cuda:0", threads, (*limits, ("CUDA_VISIBLE_DEVICES", gpu.address)), gpu.address)


def _batch_and_precision(
    training: TrainingConfig, hardware: Hardware, per_gpu: int, reasons: list[str]
) -> tuple[int, Precision]:
    batch = training.batch_size
    if batch == "auto":
        if hardware.gpus:
            # The smallest card decides: arms on different cards must be trained alike.
            room = min(gpu.memory_bytes // (1 if gpu.is_exclusive else per_gpu) for gpu in hardware.gpus)
            batch = choose_batch_size(room)
            shared = f" ({per_gpu} slots share a GPU)" if per_gpu > 1 else ""
            reasons.append(f"batch of {batch}: the reference's choice for {room / GIB:.0f} GiB of GPU memory{shared}")
        else:
            batch = _CPU_BATCH
            reasons.append(f"batch of {batch}: no GPU")
    precision = training.precision
    if precision == "auto":
        if not hardware.gpus:
            precision = "float32"
            reasons.append("float32: half precision is slower on most CPUs")
        elif any(gpu.kind == "mps" for gpu in hardware.gpus):
            precision = "float32"
            reasons.append("float32: half precision is not reliable on Apple's GPUs")
        elif all(gpu.bfloat16 for gpu in hardware.gpus):
            precision = "bfloat16"
            reasons.append("bfloat16: every GPU has it")
        else:
            precision = "float16"
            reasons.append("float16 with gradient scaling: not every GPU has bfloat16")
    return batch, precision
