"""What a cluster's scheduler gave to this job, according to the variables it sets.

Most sites enforce this with control groups and CPU sets, which are read as well; where a site does not, only these
variables keep a job from using what belongs to others.

``OMP_NUM_THREADS`` and similar variables are no limits: they set how many threads one library starts, many sites set
them to 1 for everybody, and every slot sets its own.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from counterpoise.machine.limits import Limit, Resource, whole_number

__all__ = ["read_allocation"]

_MIB = 1 << 20
_UNITS = {"K": 1 << 10, "M": _MIB, "G": 1 << 30, "T": 1 << 40}


def read_allocation(environment: Mapping[str, str], host: str | None = None) -> list[Limit]:
    """Read what the job of this process was given on this machine.

    SLURM (sbatch(1), srun(1)): ``SLURM_CPUS_PER_TASK``, ``SLURM_CPUS_ON_NODE``, ``SLURM_JOB_CPUS_PER_NODE``; memory in
    MiB by ``SLURM_MEM_PER_NODE`` (0 is all of it), ``SLURM_MEM_PER_CPU`` or ``SLURM_MEM_PER_GPU``. LSF ("Environment
    variables set for job execution"): ``LSB_MCPU_HOSTS``, else ``LSB_DJOB_NUMPROC``, else ``LSB_MAX_NUM_PROCESSORS``.
    PBS: ``NCPUS``, else ``PBS_NCPUS``, else Torque's ``PBS_NUM_PPN``.

    Parameters
    ----------
    environment : mapping
        Of this process. Outside of a job (no ``SLURM_JOB_ID``, ``LSB_JOBID``, ``PBS_JOBID``) there is no limit.
    host : str, optional
        Name of this machine.

    Returns
    -------
    list of Limit
        Without an amount where a value makes no sense.
    """
    limits: list[Limit] = []
    if environment.get("SLURM_JOB_ID"):
        on_node = partial(_cpus_of_node, node=whole_number(environment.get("SLURM_NODEID", "")) or 0)
        limits += _cores(
            environment,
            SLURM_CPUS_PER_TASK=whole_number,
            SLURM_CPUS_ON_NODE=whole_number,
            SLURM_JOB_CPUS_PER_NODE=on_node,
        )
        # A task may have fewer cores than the job has on this node; memory is that of the job.
        limits += _slurm_memory(environment, max((limit.amount or 0 for limit in limits), default=0))
    if environment.get("LSB_JOBID"):
        slots = partial(_slots_of_host, host=host or socket.gethostname())
        limits += _first(
            _cores(
                environment,
                LSB_MCPU_HOSTS=slots,
                LSB_DJOB_NUMPROC=whole_number,
                LSB_MAX_NUM_PROCESSORS=whole_number,
            )
        )
    if environment.get("PBS_JOBID"):
        limits += _first(_cores(environment, NCPUS=whole_number, PBS_NCPUS=whole_number, PBS_NUM_PPN=whole_number))
    return limits


def _cores(environment: Mapping[str, str], **variables: Callable[[str], int | None]) -> Iterator[Limit]:
    """Read variables, each with its own function, as numbers of cores."""
    for name, count in variables.items():
        if text := environment.get(name, "").strip():
            yield Limit(Resource.CORES, count(text) or None, f"{name}={text}")


def _first(limits: Iterator[Limit]) -> Iterator[Limit]:
    """Stop after the first limit that can be read."""
    for limit in limits:
        yield limit
        if limit.amount:
            return


def _cpus_of_node(text: str, node: int) -> int | None:
    """Read ``72(x2),36`` (two nodes with 72, one with 36) for the node with this number; None if it cannot be read."""
    counts: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"([1-9][0-9]{0,5})(?:\(x([1-9][0-9]{0,3})\))?", part.strip())
        if found is None:
            return None
        counts += [int(found[1])] * int(found[2] or 1)
    return counts[node] if node < len(counts) else counts[0]


def _slots_of_host(text: str, host: str) -> int | None:
    """Read ``h1 8 h2 4`` for this host, else for the first: a job's own process runs there, whatever its name is."""
    words = text.split()
    slots = {_short(name): count for name, count in zip(words[::2], words[1::2], strict=False)}
    return whole_number(slots.get(_short(host), next(iter(slots.values()), "")))


def _short(host: str) -> str:
    return host.partition(".")[0].lower()


def _slurm_memory(environment: Mapping[str, str], cores: float) -> Iterator[Limit]:
    gpus = whole_number(environment.get("SLURM_GPUS_ON_NODE", "")) or 0
    for name, count in (("SLURM_MEM_PER_NODE", 1), ("SLURM_MEM_PER_CPU", cores), ("SLURM_MEM_PER_GPU", gpus)):
        text = environment.get(name, "").strip()
        found = re.fullmatch(r"([0-9]{1,12})([KMGT]?)", text)
        size = int(found[1]) * _UNITS.get(found[2], _MIB) if found else None
        if text and size != 0:  # 0 means all the node has
            times = "" if name == "SLURM_MEM_PER_NODE" else f", times {count or 'an unknown number'}"
            yield Limit(Resource.MEMORY, size * count if size and count else None, f"{name}={text}{times}")
