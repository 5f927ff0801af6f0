"""From an experiment and a machine to concrete numbers: device, slots, threads, batch size, precision. And why."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from counterpoise.errors import ConfigError
from counterpoise.experiment.config import Experiment, Precision, RunConfig, TrainingConfig
from counterpoise.machine.gpus import Gpu
from counterpoise.machine.hardware import Hardware
from counterpoise.machine.limits import GIB
from counterpoise.machine.places import Place, list_places, usable_gpus
from counterpoise.text import counted, size

__all__ = ["MachinePlan", "Slot", "choose_batch_size", "plan_machine"]

_BATCH_BY_MEMORY_GIB = ((39.0, 64), (22.0, 48), (10.5, 28), (7.5, 16))
"""The reference's batch sizes for cards sold as 40, 24 and 11 GB, and one below. They have a little less in GiB, with
error correction a little less again: an L4 or an A10 of 24 GB shows 22.5."""

_CPU_BATCH = 8
_SLOT_BYTES = 3 * GIB
"""Of the machine's memory; a trial on a GPU needs as much of it as one on the CPU."""


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
    """Slots, batch size and precision; what limits the machine, and the reason for each choice."""

    slots: tuple[Slot, ...]
    batch_size: int
    precision: Precision
    limits: tuple[str, ...]
    choices: tuple[str, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return the limits, then the choices."""
        return (*self.limits, *self.choices)


def choose_batch_size(memory_bytes: int) -> int:
    """Choose the reference protocol's batch size for a GPU's memory."""
    return next((batch for gib, batch in _BATCH_BY_MEMORY_GIB if memory_bytes >= gib * GIB), _CPU_BATCH)


def plan_machine(experiment: Experiment, hardware: Hardware, *, trials: int) -> MachinePlan:
    """Decide where and how trials run.

    ``run.per_gpu`` slots per GPU; without a GPU, one slot per core (as memory allows), because several
    single-threaded trials finish sooner than one trial on all cores. Cores are divided among the slots, and slots that
    share a GPU share its memory. GPUs that others have filled get no slot, but count for batch size and precision:
    those must not depend on other users, or a run could not continue at another time.

    Parameters
    ----------
    experiment : Experiment
        ``run.slots``, ``run.per_gpu``, ``run.threads``, ``training.batch_size`` and ``training.precision`` override
        what is found.
    hardware : Hardware
        What there is.
    trials : int
        How many trials are left; there are no more slots than that.
    """
    if experiment.engine.kind != "local":
        return _plan_jobs(experiment, hardware, trials)
    run = experiment.run
    usable, choices = usable_gpus(hardware.gpus)
    share = _slots_per_gpu(run, hardware.gpus)
    # Where GPUs are skipped, the configured number of slots needs more on the others; never more than trials.
    places = list_places(usable, min(max(share, _slots_per_gpu(run, usable)), max(trials, 1)))
    count = _count_slots(run, places, hardware, trials, share, choices)
    threads = max(hardware.cores // count, 1) if run.threads == "auto" else run.threads
    if run.threads == "auto":
        choices.append(f"{counted(threads, 'thread')} per slot: {counted(hardware.cores, 'core')} / {count}")
    batch, precision = _batch_and_precision(experiment.training, hardware.gpus, share, choices)
    if places:
        is_shared = places[count - 1].number > 0
        slots = tuple(_gpu_slot(place, threads, is_shared=is_shared) for place in places[:count])
    else:
        slots = tuple(Slot(f"cpu-{k}", "cpu", threads, _thread_limits(threads)) for k in range(count))
    return MachinePlan(slots, batch, precision, hardware.notes, tuple(choices))


def _slots_per_gpu(run: RunConfig, gpus: Sequence[Gpu]) -> int:
    return run.per_gpu if run.slots == "auto" or not gpus else math.ceil(run.slots / len(gpus))


def _count_slots(
    run: RunConfig, places: Sequence[Place], hardware: Hardware, trials: int, share: int, choices: list[str]
) -> int:
    by_memory = max(hardware.memory_bytes // _SLOT_BYTES, 1)
    memory = f"{size(hardware.memory_bytes)} of memory, {size(_SLOT_BYTES)} for each"
    where, unit = ("", "GPU") if places else (" on the CPU", "core")
    most = len(places) or hardware.cores
    limits = [(trials, "one per trial")]
    if run.slots == "auto":
        limits = [(most, f"{share if places and share > 1 else 'one'} per {unit}"), (by_memory, memory), *limits]
    elif places and most < min(run.slots, trials):
        limits = [(most, f"{run.slots} configured, and GPUs that take one process each"), *limits]
    else:
        limits = [(run.slots, "as configured"), *limits]
    lowest, why = min(limits, key=lambda limit: limit[0])
    count = max(lowest, 1)
    choices.append(f"{counted(count, 'slot')}{where}: {why}")
    if count > by_memory:
        choices.append(f"that may be too many: {memory}, is enough for {by_memory}")
    return count


def _plan_jobs(experiment: Experiment, hardware: Hardware, trials: int) -> MachinePlan:
    """Decide the same for a cluster engine, from what its jobs ask for; all its slots are alike."""
    engine, per_gpu, configured = experiment.engine, experiment.run.per_gpu, experiment.run.threads
    if engine.kind == "parsl_local" and engine.gpus > len(hardware.gpus):
        raise ConfigError(
            "engine.gpus asks for more than this machine has",
            expected=f"{len(hardware.gpus)} or fewer",
            found=str(engine.gpus),
            remedy="lower engine.gpus; 0 trains on the CPU",
        )
    if engine.gpus:
        on_node = engine.gpus * per_gpu
        why = f"{counted(engine.gpus, 'GPU')} per node, {counted(per_gpu, 'trial')} on each"
    else:
        by_memory = engine.memory_gb * GIB // _SLOT_BYTES
        on_node = max(min(engine.cores // (1 if configured == "auto" else configured), by_memory), 1)
        why = f"{counted(on_node, 'trial')} per node, on its cores"
    threads = max(engine.cores // on_node, 1) if configured == "auto" else configured
    count = min(engine.jobs * engine.nodes * on_node, max(trials, 1))
    jobs, nodes = counted(engine.jobs, "job"), counted(engine.nodes, "node")
    choices = [
        f"{counted(count, 'slot')}: up to {jobs} of {engine.kind}, {nodes} per job, {why}",
        f"{counted(threads, 'thread')} per slot: {counted(engine.cores, 'core')} per node",
    ]
    # Where GPUs are invisible from here, the experiment sets both values (experiment.engine.check_engine).
    visible = () if engine.is_elsewhere else hardware.gpus[: engine.gpus]
    batch, precision = _batch_and_precision(experiment.training, visible, per_gpu, choices)
    device, limits = "cuda:0" if engine.gpus else "cpu", _thread_limits(threads)
    slots = tuple(Slot(f"{engine.kind}-{k}", device, threads, limits) for k in range(count))
    return MachinePlan(slots, batch, precision, (), tuple(choices))


def _thread_limits(threads: int) -> tuple[tuple[str, str], ...]:
    """Return the variables that keep the libraries of a slot to its threads."""
    libraries = ("OMP", "MKL", "OPENBLAS", "NUMBA")
    return (
        *((f"{library}_NUM_THREADS", str(threads)) for library in libraries),
        # zarr and its codecs start threads of their own otherwise.
        ("BLOSC_NTHREADS", "1"),
        # Threads that wait for each other by spinning slow down the other slots of a busy machine.
        ("OMP_WAIT_POLICY", "PASSIVE"),
        ("KMP_BLOCKTIME", "0"),
    )


def _gpu_slot(place: Place, threads: int, *, is_shared: bool) -> Slot:
    gpu, limits = place.gpu, _thread_limits(threads)
    name = f"gpu-{gpu.index}.{place.number}" if is_shared else f"gpu-{gpu.index}"
    if gpu.kind == "mps":
        # Operators that torch does not have for Apple's GPUs yet run on the CPU instead of failing.
        return Slot(name, "mps", threads, (*limits, ("PYTORCH_ENABLE_MPS_FALLBACK", "1")))
    if gpu.kind == "rocm":
        return Slot(name, "cuda:0", threads, (*limits, ("HIP_VISIBLE_DEVICES", gpu.address)))
    return Slot(name, "cuda:0", threads, (*limits, ("CUDA_VISIBLE_DEVICES", gpu.address)), gpu.address)


def _batch_and_precision(
    training: TrainingConfig, gpus: Sequence[Gpu], per_gpu: int, choices: list[str]
) -> tuple[int, Precision]:
    """Take what is configured; choose the rest, and say why."""
    batch, precision = training.batch_size, training.precision
    if batch == "auto":
        batch, why = _choose_batch(gpus, per_gpu)
        choices.append(f"batch of {batch}: {why}")
    if precision == "auto":
        precision, why = _choose_precision(gpus)
        choices.append(f"{precision}{why}")
    return batch, precision


def _choose_batch(gpus: Sequence[Gpu], per_gpu: int) -> tuple[int, str]:
    if not gpus:
        return _CPU_BATCH, "no GPU"
    # The smallest GPU decides: arms on different GPUs must be trained alike.
    memory = min(gpu.memory_bytes // (1 if gpu.is_exclusive else per_gpu) for gpu in gpus)
    shared = f" ({per_gpu} slots share a GPU)" if per_gpu > 1 else ""
    return choose_batch_size(memory), f"the reference's choice for {size(memory)} of GPU memory{shared}"


def _choose_precision(gpus: Sequence[Gpu]) -> tuple[Precision, str]:
    if not gpus:
        return "float32", ": half precision is slower on most CPUs"
    if any(gpu.kind == "mps" for gpu in gpus):
        return "float32", ": half precision is not reliable on Apple's GPUs"
    if all(gpu.bfloat16 for gpu in gpus):
        return "bfloat16", ": every GPU has it"
    return "float16", " with gradient scaling: not every GPU has bfloat16"
