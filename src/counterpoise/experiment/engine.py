"""``[engine]``: whose processes train, and what to ask a cluster's scheduler for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from counterpoise.experiment.explain import broken

__all__ = ["ENGINES", "EngineConfig", "EngineKind", "EngineType", "check_engine", "walltime_seconds"]


@dataclass(frozen=True)
class EngineType:
    """What is known of a kind of engine before one is started.

    Parameters
    ----------
    module : str
        Where its ``open_engine`` is (:mod:`counterpoise.engines.engine`); imported when trials run, because it may need
        packages that are optional.
    is_elsewhere : bool
        Whether trials run on machines that this one cannot see.
    has_walltime : bool
        Whether its jobs have a longest time, which must be given.
    has_image : bool
        Whether its jobs run in a container image, which must be given.
    has_nodes : bool
        Whether a job may have several nodes.
    """

    module: str
    is_elsewhere: bool = True
    has_walltime: bool = False
    has_image: bool = False
    has_nodes: bool = False


_CLUSTER = "counterpoise.engines.cluster"

ENGINES: Final[Mapping[str, EngineType]] = {
    "local": EngineType("counterpoise.engines.local", is_elsewhere=False),
    "slurm": EngineType(_CLUSTER, has_walltime=True, has_nodes=True),
    "lsf": EngineType(_CLUSTER, has_walltime=True),
    "pbs": EngineType(_CLUSTER, has_walltime=True),
    "kubernetes": EngineType(_CLUSTER, has_image=True),
    "parsl_local": EngineType(_CLUSTER, is_elsewhere=False),
}
"""The register of engines by ``engine.kind``; the only place that names their modules."""

if TYPE_CHECKING:
    EngineKind = str
else:
    EngineKind = Literal[tuple(ENGINES)]

_SHORTEST_S = 120
_MOST_SPARE_S = 600
_WALLTIME = re.compile(r"(\d{1,4}):([0-5]\d):([0-5]\d)")
_WORD = re.compile(r"[\w.@:+,=/-]*")
"""What names of queues and accounts are made of; they become part of shell lines."""

_WALLTIME_RULE = "H:MM:SS, two minutes or more"
Count = Annotated[int, Field(ge=1)]


class EngineConfig(BaseModel):
    """``[engine]``: where trials run, and what each job of a cluster asks for. It never changes a result."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    kind: EngineKind = "local"
    """local: this machine. slurm, lsf, pbs, kubernetes: jobs there. parsl_local: like a cluster, on this machine."""
    jobs: Count = 1
    """Most jobs at the same time."""
    nodes: Count = 1
    """Nodes per job; more than one with slurm only."""
    gpus: Annotated[int, Field(ge=0)] = 1
    """GPUs per node of a job; run.per_gpu trials share one. 0: trials train on the cores."""
    cores: Count = 8
    """Cores per node of a job; its trials share them."""
    memory_gb: Count = 32
    """Memory per node of a job, in GB."""
    walltime: str = ""
    """Longest time of a job, H:MM:SS; slurm, lsf and pbs need it. Trials that reach it go on in the next job."""
    queue: str = ""
    """Partition (slurm) or queue (lsf, pbs); the site's own choice if empty."""
    account: str = ""
    """Account (slurm, pbs) or project (lsf) to charge."""
    options: str = ""
    """More lines for the head of a job's script, as the scheduler reads them: #SBATCH --qos=short."""
    worker_init: str = ""
    """Shell lines that a job begins with: what it takes to find counterpoise there (module load, source activate)."""
    address: str = ""
    """IP address of this machine that the nodes can reach; if empty, they try all it has."""
    image: str = ""
    """kubernetes: the container image; counterpoise[cluster] is installed in it."""
    namespace: str = "default"
    """kubernetes: where pods are made."""
    volumes: dict[str, str] = {}
    """kubernetes: persistent volume claims, and where each is mounted: the same paths as on this machine."""

    @property
    def is_elsewhere(self) -> bool:
        """Whether trials run on machines that this one cannot see."""
        return ENGINES[self.kind].is_elsewhere

    @property
    def walltime_s(self) -> int | None:
        """Longest time of a job in seconds, in whole minutes; None without a limit.

        LSF, and Parsl for SLURM, ask for whole minutes: a plan that counts the seconds would overrun the job.
        """
        return walltime_seconds(self.walltime) // 60 * 60 if self.walltime else None

    @property
    def train_s(self) -> int | None:
        """Seconds from a job's start until its trials stop at their next checkpoint; None without a walltime.

        A tenth of the walltime, ten minutes at most, is left for the epoch they are in.
        """
        walltime = self.walltime_s
        return None if walltime is None else walltime - min(walltime // 10, _MOST_SPARE_S)

    @field_validator("walltime")
    @classmethod
    def _is_a_time(cls, value: str) -> str:
        if value and (_WALLTIME.fullmatch(value) is None or walltime_seconds(value) < _SHORTEST_S):
            raise broken(_WALLTIME_RULE, value, remedy='write four hours as walltime = "4:00:00"')
        return value

    @field_validator("queue", "account", "address", "image", "namespace")
    @classmethod
    def _is_a_word(cls, value: str) -> str:
        if _WORD.fullmatch(value) is None:
            raise broken("letters, digits and . _ - @ : + , = / only", value)
        return value

    @model_validator(mode="after")
    def _has_what_its_scheduler_needs(self) -> Self:
        engine = ENGINES[self.kind]
        if engine.has_walltime and not self.walltime:
            remedy = 'add walltime = "4:00:00", or what your site allows, under [engine]'
            raise broken(
                f"{_WALLTIME_RULE}: {self.kind} must know", self.walltime, remedy=remedy, key="engine.walltime"
            )
        if engine.has_image and not self.image:
            remedy = "name an image with counterpoise[cluster] in it"
            raise broken("the container image of the pods", self.image, remedy=remedy, key="engine.image")
        if self.nodes > 1 and not engine.has_nodes:
            remedy = "ask for more jobs instead: engine.jobs"
            raise broken(f"1: a job of {self.kind} has one node here", self.nodes, remedy=remedy, key="engine.nodes")
        return self


def check_engine(
    engine: EngineConfig, slots: int | str, batch_size: int | str, precision: str
) -> PydanticCustomError | None:
    """Ask for what this machine cannot find out about others; batch size and precision change results.

    Returns
    -------
    PydanticCustomError or None
        About ``run.slots``, ``training.batch_size`` or ``training.precision``; None if all is said.
    """
    if engine.kind != "local" and slots != "auto":
        rule = f"auto: with {engine.kind}, engine.jobs, nodes and gpus say how many trials run at the same time"
        return broken(rule, slots, remedy='write slots = "auto", or leave it out', key="run.slots")
    if not engine.is_elsewhere or not engine.gpus:
        return None
    why = f"this machine cannot see the GPUs of {engine.kind}"
    if batch_size == "auto":
        rule = f"a number: {why}"
        remedy = "choose by their memory: 28 for 11 GB, 48 for 24 GB, 64 for 40 GB or more"
        return broken(rule, batch_size, remedy=remedy, key="training.batch_size")
    if precision == "auto":
        rule = f"float32, bfloat16 or float16: {why}"
        remedy = "write bfloat16 if all of them have it (compute capability 8 and later), else float16"
        return broken(rule, precision, remedy=remedy, key="training.precision")
    return None


def walltime_seconds(walltime: str) -> int:
    """Read ``H:MM:SS``.

    Raises
    ------
    ValueError
        If it is something else.
    """
    found = _WALLTIME.fullmatch(walltime)
    if found is None:
        raise ValueError(f"{walltime!r} is not H:MM:SS")
    hours, minutes, seconds = (int(part) for part in found.groups())
    return (hours * 60 + minutes) * 60 + seconds
