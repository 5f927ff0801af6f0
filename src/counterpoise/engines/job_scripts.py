"""Job scripts: an array job with one task per trial, for sites where Parsl cannot be used; needs the program only.

The time of a task is kept by coreutils' ``timeout``, not by the scheduler's signals: SLURM and LSF differ in what
they signal and to whom, and a second SIGINT would stop a trial before its checkpoint.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from counterpoise.engines.node import JOB_BEGAN
from counterpoise.engines.workers import job_beginning
from counterpoise.errors import ConfigError
from counterpoise.experiment.engine import EngineConfig
from counterpoise.machine.plan import Slot
from counterpoise.runs.layout import TrialFolder

__all__ = ["OUT_OF_TIME", "array_script", "require_kind", "submit_command"]

OUT_OF_TIME = 124
"""Exit code of ``timeout`` when it had to interrupt its command."""


def array_script(
    kind: str,
    engine: EngineConfig,
    trials: Sequence[TrialFolder],
    slots: Sequence[Slot],
    *,
    logs: Path,
    environment: Mapping[str, str],
) -> str:
    """Write the script that trains trials as the tasks of one array job.

    A task asks for one GPU (or none), and for its share of a node's cores and memory. Some time before its walltime
    (:attr:`EngineConfig.train_s`) its trial is interrupted, stops after its checkpoint, and the task queues again.

    Parameters
    ----------
    kind : str
        ``slurm`` or ``lsf``.
    engine : EngineConfig
        What a node of a job asks for; of the same kind.
    trials : sequence of TrialFolder
        Their folders have a ``trial.toml``. Those that are finished when their task begins end it at once.
    slots : sequence of Slot
        As many as trials may run at the same time, all alike.
    logs : Path
        Existing folder for what the scheduler writes about tasks.
    environment : mapping
        Variables that every trial needs.

    Returns
    -------
    str
        For bash.

    Raises
    ------
    ConfigError
        If the engine is of another kind.
    """
    require_kind(kind, engine)
    slot, scheduler = slots[0], _SCHEDULERS[kind]
    share = max(engine.cores // slot.threads, 1)
    exports = {**dict(slot.environment), "PYTHONUNBUFFERED": "1", **environment}
    lines = [
        "#!/bin/bash",
        *scheduler.head(engine, len(trials), len(slots), slot, max(engine.memory_gb // share, 1), logs),
        *filter(None, [engine.options.strip()]),
        "",
        job_beginning(engine).rstrip(),
        *(f"export {name}={shlex.quote(value)}" for name, value in exports.items()),
        "",
        "folders=(",
        *(f"  {shlex.quote(str(trial.path))}" for trial in trials),
        ")",
        f"folder=${{folders[{scheduler.index}]}}",
        "",
        "# Interrupted before the task's time is over, a trial stops after its checkpoint, and timeout says 124.",
        f"left=$(( {JOB_BEGAN} + {engine.train_s} - $(date +%s) ))  # what comes before has taken its time",
        'timeout --foreground --signal=INT "$(( left > 0 ? left : 1 ))" \\',
        f'  counterpoise trial "$folder" --device {slot.device} --threads {slot.threads} >> "$folder"/log.txt 2>&1',
        "code=$?",
        *scheduler.again,
        'exit "$code"',
    ]
    return "\n".join(lines) + "\n"


def require_kind(kind: str, engine: EngineConfig) -> None:
    """Refuse an ``[engine]`` table of another kind: what to ask for would be a guess.

    Raises
    ------
    ConfigError
        If the engine is of another kind.
    """
    if engine.kind != kind:
        raise ConfigError(
            f"[engine] does not say what a job of {kind} asks for",
            expected=f'[engine] kind = "{kind}"',
            found=f'kind = "{engine.kind}"',
            remedy=f'set kind = "{kind}", walltime, queue and the like under [engine] (docs/{kind}.md)',
        )


def _slurm_head(engine: EngineConfig, trials: int, at_once: int, slot: Slot, memory_gb: int, logs: Path) -> list[str]:
    pairs = {
        "job-name": "counterpoise",
        "array": f"0-{trials - 1}%{at_once}",
        "time": engine.walltime,
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": str(slot.threads),
        "mem": f"{memory_gb}G",
        "gpus-per-node": "1" if engine.gpus else "",
        "partition": engine.queue,
        "account": engine.account,
        "output": f"{_plain(logs)}slurm-%A_%a.out",
        "open-mode": "append",
    }
    return [*(f"#SBATCH --{key}={value}" for key, value in pairs.items() if value), "#SBATCH --requeue"]


def _lsf_head(engine: EngineConfig, trials: int, at_once: int, slot: Slot, _: int, logs: Path) -> list[str]:
    hours, minutes, _seconds = engine.walltime.split(":")
    pairs = {
        "J": f'"counterpoise[1-{trials}]%{at_once}"',
        "W": f"{hours}:{minutes}",
        "n": str(slot.threads),
        "R": '"span[hosts=1]"',
        "gpu": '"num=1"' if engine.gpus else "",
        "q": engine.queue,
        "P": engine.account,
        "o": f"{_plain(logs)}lsf-%J_%I.out",
        "Q": f'"{OUT_OF_TIME}"',
    }
    return [*(f"#BSUB -{key} {value}" for key, value in pairs.items() if value), "#BSUB -r"]


def _plain(folder: Path) -> str:
    """Return a folder for a directive, with a slash; nothing (where the job is submitted) if it needs quotes there."""
    return f"{folder}/" if re.fullmatch(r"[\w./@:+,=-]+", str(folder)) else ""


@dataclass(frozen=True)
class _Scheduler:
    """What differs between schedulers: the head, the number of a task (from 0), queueing again, and submission."""

    head: Callable[[EngineConfig, int, int, Slot, int, Path], list[str]]
    index: str
    again: tuple[str, ...]
    submit: str


_SCHEDULERS = {
    "slurm": _Scheduler(
        _slurm_head,
        index="${SLURM_ARRAY_TASK_ID:?is set by sbatch}",
        again=(
            f'if [ "$code" -eq {OUT_OF_TIME} ]; then',
            '  scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"',
            "fi",
        ),
        submit="sbatch",
    ),
    "lsf": _Scheduler(
        _lsf_head,
        index="$(( ${LSB_JOBINDEX:?is set by bsub} - 1 ))",
        again=(f"# LSF queues a task again that ends with {OUT_OF_TIME} (-Q).",),
        submit="bsub <",
    ),
}


def submit_command(kind: str, script: Path) -> str:
    """Return the shell line that submits a script."""
    return f"{_SCHEDULERS[kind].submit} {shlex.quote(str(script))}"
