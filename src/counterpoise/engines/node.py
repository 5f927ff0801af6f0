"""What a worker on a cluster's node does: run one trial's command, watch the clock, and look for orders.

The engine and the node share nothing but the run folder: orders go through a small file in the trial's folder, which
the node looks at once a second, and everything the trial has to say is in its own files. A node that has lost touch
with the engine finds in that file that the trial was given to another, and ends its own.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from counterpoise.engines.local import RUNNER_VARIABLE
from counterpoise.files.atomic import read_json, write_json
from counterpoise.runs.layout import TrialFolder

__all__ = ["JOB_BEGAN", "Assignment", "Ended", "Order", "give_order", "train_on_node"]

JOB_BEGAN = "COUNTERPOISE_JOB_BEGAN"
"""Variable that a job's first line sets: seconds since 1970 when its time began to run."""

Order = Literal["", "soon", "now", "time", "replaced"]
"""Why a trial was asked to stop: not at all; after its checkpoint or at once, as the user wants; after its checkpoint,
because the job's time is nearly over; at once, because the trial is no longer this node's."""

_LOOK_S = 1.0
_GRACE_S = 10.0


@dataclass(frozen=True)
class Assignment:
    """One trial for one worker, once.

    Parameters
    ----------
    folder : str
        The trial's, as the nodes see it.
    token : str
        Different in every assignment; the trial's orders name the one that counts.
    attempt : int
        From 1.
    device, threads, environment
        As in :class:`~counterpoise.machine.plan.Slot`.
    gpus, per_gpu : int
        GPUs of the node's job (0: none), and workers on each.
    train_s : int, optional
        Seconds from the job's start after which the trial shall stop at its next checkpoint.
    """

    folder: str
    token: str
    attempt: int
    device: str
    threads: int
    environment: tuple[tuple[str, str], ...]
    gpus: int
    per_gpu: int
    train_s: int | None


class Ended(NamedTuple):
    """How a trial's process ended on a node: whether it was asked to, and its exit code (below 0: the signal)."""

    order: Order
    code: int
    node: str


def give_order(folder: TrialFolder, token: str, order: Literal["", "soon", "now"]) -> None:
    """Say whose the trial is now, and whether it shall stop."""
    write_json(folder.orders, {"token": token, "stop": order}, durable=False)


def train_on_node(assignment: Assignment) -> Ended:
    """Run a trial's command in a process group of its own until it ends or must stop.

    Raises
    ------
    RuntimeError
        If the job has fewer GPUs than were asked for.
    OSError
        If the command ``counterpoise`` cannot be started here.
    """
    folder = TrialFolder(Path(assignment.folder))
    order = _read_order(folder, assignment.token) or _order_of_the_clock(assignment)
    if order:
        return Ended(order, 0, socket.gethostname())
    process = _start(folder, assignment)
    given: Order = ""
    while True:
        try:
            return Ended(given, process.wait(_LOOK_S), socket.gethostname())
        except subprocess.TimeoutExpired:
            order = _read_order(folder, assignment.token) or _order_of_the_clock(assignment)
        if order in {"now", "replaced"}:
            _end(process)
        elif order and not given:
            process.send_signal(signal.SIGINT)  # a second one would stop it at once
        given = order or given


def _start(folder: TrialFolder, assignment: Assignment) -> subprocess.Popen[bytes]:
    command = ["counterpoise", "trial", assignment.folder]
    command += ["--device", assignment.device, "--threads", str(assignment.threads)]
    environment = {**os.environ, **dict(assignment.environment)}
    paths = (dict(assignment.environment).get("PYTHONPATH"), os.environ.get("PYTHONPATH"))
    environment |= {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        RUNNER_VARIABLE: str(os.getpid()),  # a trial ends with the worker that started it
    }
    if assignment.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = _own_gpu(assignment)
    with folder.log.open("ab") as log:
        log.write(f"--- on {socket.gethostname()}, attempt {assignment.attempt} ---\n".encode())
        log.flush()
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def _own_gpu(assignment: Assignment) -> str:
    """Choose this worker's GPU among those the scheduler gave to the job, by the worker's number on its node."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(k) for k in range(assignment.gpus)] if visible is None else visible.split(",")
    names = [name.strip() for name in names if name.strip()]
    if len(names) < assignment.gpus:
        shown = f"CUDA_VISIBLE_DEVICES={visible}"
        raise RuntimeError(f"engine.gpus is {assignment.gpus}, the job on {socket.gethostname()} has {shown}")
    return names[int(os.environ.get("PARSL_WORKER_RANK", "0")) // assignment.per_gpu % assignment.gpus]


def _read_order(folder: TrialFolder, token: str) -> Order:
    """Look what the engine wants; a file that cannot be read now (a shared disk hiccups) says nothing new."""
    try:
        content = read_json(folder.orders)
    except (OSError, ValueError, TypeError):
        return ""
    if content.get("token") != token:
        return "replaced"
    stop = content.get("stop")
    return stop if stop in {"soon", "now"} else ""


def _order_of_the_clock(assignment: Assignment) -> Order:
    began = os.environ.get(JOB_BEGAN, "")
    if assignment.train_s is None or not began.isdigit():
        return ""
    return "time" if time.time() >= int(began) + assignment.train_s else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a trial with all it has started: politely first, for good after a grace period."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(_GRACE_S)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue
        return
