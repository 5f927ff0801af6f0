"""The node's side: what a worker in a cluster's job does. It runs one trial's command, within its time and its orders.

The engine and the node share nothing but the run folder: orders go through a small file in the trial's folder, which
the node reads once a second, and everything the trial has to say is in its own files. A node that has lost contact
with the engine finds in that file that the trial was given to another, and ends its own.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

from counterpoise.engines.process import signal_group, start_trial
from counterpoise.files.atomic import read_json, write_json
from counterpoise.runs.layout import TrialFolder

__all__ = ["JOB_BEGAN", "Assignment", "NodeResult", "Order", "give_order", "train_on_node"]

JOB_BEGAN = "COUNTERPOISE_JOB_BEGAN"
"""Variable that a job's first line sets: seconds since 1970 when its time began to run."""

_LOOK_S = 1.0
_GRACE_S = 10.0


class Order(StrEnum):
    """Why a trial was asked to stop; NONE is false."""

    NONE = ""
    STOP_SOON = "soon"
    """After its checkpoint: the user wants it."""
    STOP_NOW = "now"
    OUT_OF_TIME = "time"
    """After its checkpoint: the job's time is nearly over."""
    REPLACED = "replaced"
    """At once: the trial was given to another worker."""


@dataclass(frozen=True)
class Assignment:
    """One trial for one worker.

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


class NodeResult(NamedTuple):
    """How a trial's process ended on a node: what it was ordered, and its exit code (below 0: minus the signal)."""

    order: Order
    code: int
    node: str


def give_order(folder: TrialFolder, token: str, order: Order) -> None:
    """Write to which assignment the trial belongs now, and whether it shall stop."""
    write_json(folder.orders, {"token": token, "stop": order}, durable=False)


def train_on_node(assignment: Assignment) -> NodeResult:
    """Run a trial's command in a process group of its own until it ends or must stop.

    Raises
    ------
    RuntimeError
        If the job has fewer GPUs than were asked for.
    OSError
        If the command ``counterpoise`` cannot be started here.
    """
    folder, node = TrialFolder(Path(assignment.folder)), socket.gethostname()
    order = _current_order(folder, assignment)
    if order:
        return NodeResult(order, 0, node)
    process = _start(folder, assignment, node)
    given = Order.NONE
    while True:
        try:
            return NodeResult(given, process.wait(_LOOK_S), node)
        except subprocess.TimeoutExpired:
            order = _current_order(folder, assignment)
        if order in {Order.STOP_NOW, Order.REPLACED}:
            _end(process)
        elif order and not given:
            process.send_signal(signal.SIGINT)  # a second one would stop it at once
        given = order or given


def _start(folder: TrialFolder, assignment: Assignment, node: str) -> subprocess.Popen[bytes]:
    environment = dict(assignment.environment)
    paths = (environment.get("PYTHONPATH"), os.environ.get("PYTHONPATH"))
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    if assignment.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = _own_gpu(assignment)
    return start_trial(
        ["counterpoise"],
        folder,
        device=assignment.device,
        threads=assignment.threads,
        environment=environment,
        heading=f"on {node}, attempt {assignment.attempt}",
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


def _current_order(folder: TrialFolder, assignment: Assignment) -> Order:
    return _read_order(folder, assignment.token) or _order_of_the_clock(assignment)


def _read_order(folder: TrialFolder, token: str) -> Order:
    """Read the engine's order; a file that cannot be read now (a shared disk fails for a moment) says nothing new."""
    try:
        content = read_json(folder.orders)
    except (OSError, ValueError, TypeError):
        return Order.NONE
    if content.get("token") != token:
        return Order.REPLACED
    return next((o for o in (Order.STOP_SOON, Order.STOP_NOW) if o == content.get("stop")), Order.NONE)


def _order_of_the_clock(assignment: Assignment) -> Order:
    began = os.environ.get(JOB_BEGAN, "")
    if assignment.train_s is None or not began.isdigit():
        return Order.NONE
    return Order.OUT_OF_TIME if time.time() >= int(began) + assignment.train_s else Order.NONE


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a trial with all it has started: by SIGTERM first, by SIGKILL after a grace period."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        signal_group(process, number)
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            continue
        return
