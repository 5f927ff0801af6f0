"""What a cluster's scheduler gave to this job, by the variables it sets.

Most sites enforce this by control groups and cpusets, which are looked at as well; where a site does not, these
variables are all that keeps a job from using what belongs to others.

``OMP_NUM_THREADS`` and its like are no limits: they say how many threads one library starts, sites set them to 1 for
everybody, and every slot sets its own.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping

from counterpoise.machine.limits import Limit, Limits, whole_number

__all__ = ["read_allocation"]

_MIB = 1 << 20
_UNITS = {"K": 1 << 10, "M": _MIB, "G": 1 << 30, "T": 1 << 40}


def read_allocation(environment: Mapping[str, str], host: str | None = None) -> Limits:
    """Read what the job this process belongs to was given on this machine.

    SLURM (sbatch(1), srun(1)): ``SLURM_CPUS_PER_TASK``, ``SLURM_CPUS_ON_NODE``, ``SLURM_JOB_CPUS_PER_NODE``; memory in
    MiB by ``SLURM_MEM_PER_NODE`` (0 is all of it), ``SLURM_MEM_PER_CPU`` or ``SLURM_MEM_PER_GPU``. LSF ("Environment
    variables set for job execution"): ``LSB_MCPU_HOSTS``, else ``LSB_DJOB_NUMPROC``, else ``LSB_MAX_NUM_PROCESSORS``.
    PBS: ``NCPUS``, ``PBS_NCPUS``, and Torque's ``PBS_NUM_PPN``.

    Parameters
    ----------
    environment : mapping
        Of this process. Outside of a job (no ``SLURM_JOB_ID``, ``LSB_JOBID``, ``PBS_JOBID``) nothing limits.
    host : str, optional
        Name of this machine.

    Returns
    -------
    Limits
        A value that makes no sense is left out and noted.
    """
    limits = Limits()
    if environment.get("SLURM_JOB_ID"):
        limits += _slurm(environment)
    if environment.get("LSB_JOBID"):
        limits += _lsf(environment, host or socket.gethostname())
    if environment.get("PBS_JOBID"):
        limits += _first(environment, ("NCPUS", "PBS_NCPUS", "PBS_NUM_PPN"))
    return limits


def _slurm(environment: Mapping[str, str]) -> Limits:
    notes: list[str] = []
    cores = [
        Limit(count, f"{name}={environment[name]}")
        for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")
        if (count := _count(environment, name, notes)) is not None
    ]
    name = "SLURM_JOB_CPUS_PER_NODE"
    if text := environment.get(name):
        per_node = _cpus_of_node(text, environment.get("SLURM_NODEID", "0"))
        if per_node is None:
            notes.append(f"{name}={text} cannot be read: ignored")
        else:
            cores.append(Limit(per_node, f"{name}={text}"))
    on_node = max((limit.amount for limit in cores), default=None)  # a task may have fewer than the job has here
    gpus = _count(environment, "SLURM_GPUS_ON_NODE", notes)
    memory = []
    for name, times in (("SLURM_MEM_PER_NODE", 1), ("SLURM_MEM_PER_CPU", on_node), ("SLURM_MEM_PER_GPU", gpus)):
        size = _memory_bytes(environment, name, notes)
        if size and times:
            of_all = "" if name == "SLURM_MEM_PER_NODE" else f" MiB for each of {times:g}"
            memory.append(Limit(size * times, f"{name}={environment[name]}{of_all}"))
    return Limits(tuple(cores), tuple(memory), tuple(notes))


def _cpus_of_node(text: str, node: str) -> int | None:
    """Read ``72(x2),36`` (two nodes with 72, one with 36) for the node with this number; None if it cannot be read."""
    counts: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"([1-9][0-9]{0,5})(?:\(x([1-9][0-9]{0,3})\))?", part.strip())
        if found is None:
            return None
        counts += [int(found[1])] * int(found[2] or 1)
    position = whole_number(node) or 0
    return counts[position] if position < len(counts) else counts[0]


def _lsf(environment: Mapping[str, str], host: str) -> Limits:
    name = "LSB_MCPU_HOSTS"
    words = environment.get(name, "").split()
    slots = {_short(words[k]): words[k + 1] for k in range(0, len(words) - 1, 2)}
    # The job's own process runs on the first host, whatever that calls itself.
    count = whole_number(slots.get(_short(host), next(iter(slots.values()), "")))
    if count:
        return Limits(cores=(Limit(count, f"{name}={environment[name]}"),))
    unread = Limits(notes=(f"{name}={environment[name]} cannot be read: ignored",) if words else ())
    return unread + _first(environment, ("LSB_DJOB_NUMPROC", "LSB_MAX_NUM_PROCESSORS"))


def _short(host: str) -> str:
    return host.partition(".")[0].lower()


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> Limits:
    """Take the first variable that says something."""
    notes: list[str] = []
    for name in names:
        count = _count(environment, name, notes)
        if count is not None:
            return Limits(cores=(Limit(count, f"{name}={environment[name]}"),), notes=tuple(notes))
    return Limits(notes=tuple(notes))


def _count(environment: Mapping[str, str], name: str, notes: list[str]) -> int | None:
    text = environment.get(name, "").strip()
    if count := whole_number(text):
        return count
    if text:
        notes.append(f"{name}={text} is not a number above 0: ignored")
    return None


def _memory_bytes(environment: Mapping[str, str], name: str, notes: list[str]) -> int | None:
    text = environment.get(name, "").strip()
    found = re.fullmatch(r"([0-9]{1,12})([KMGT]?)", text)
    if found:
        return int(found[1]) * _UNITS.get(found[2], _MIB)
    if text:
        notes.append(f"{name}={text} is not an amount of memory: ignored")
    return None
