"""Run trials through an engine: start, retry, stop, give up. The same for every engine."""

from __future__ import annotations

import time

from counterpoise.engines.engine import Engine, EngineRequest, StoppedError, TrialOutcome, open_engine
from counterpoise.engines.queue import TrialQueue
from counterpoise.engines.stopping import StopRequest, stop_requests

__all__ = ["run_trials"]

_POLL_S = 0.2


def run_trials(request: EngineRequest) -> tuple[TrialOutcome, ...]:
    """Run trials until each has finished, or failed for good; which engine runs them changes no result.

    A failed trial is started again, ``request.retries`` times. One that was interrupted (its GPU, worker, node or job
    was lost, or the job had no time left) continues in another slot or job, and the attempt does not count; the
    fifth interruption in a row without a finished epoch is a failure. One whose folder another process holds waits.

    Returns
    -------
    tuple of TrialOutcome
        One per trial, in the order given, then those that followed. A trial is left waiting if no slot is left
        (every GPU was lost).

    Raises
    ------
    StoppedError
        On Ctrl-C, after every running trial has reached its next checkpoint; on a second one, SIGTERM or a closed
        terminal at once. All trial processes have ended and all jobs are cancelled; a later call continues.
    TrialError
        If all arms fail at once with the same error.
    CounterpoiseError
        If the engine cannot be started, or nothing more can come of it.
    """
    queue = TrialQueue(request.trials, retries=request.retries, say=request.say)
    if request.later is not None:
        queue.add(request.later.more(()))
    if queue.is_settled:
        return queue.outcomes()  # no engine is started for nothing
    try:
        _drive(queue, request)
    finally:
        queue.close()
    return queue.outcomes()


def _drive(queue: TrialQueue, request: EngineRequest) -> None:
    passed_on = StopRequest.NONE
    with stop_requests() as stop, open_engine(request) as engine:
        while not _is_over(queue, request):
            if not stop.request:
                _start(queue, request, engine)
            time.sleep(_POLL_S)
            asked = stop.request
            if asked is StopRequest.NOW:  # before anything else: the signal may have hit the engine's helpers, too
                raise StoppedError
            if asked and not passed_on:
                if engine.is_training():
                    request.say(
                        "Stopping: every running trial goes on to its next checkpoint. Ctrl-C again stops them now."
                    )
                engine.ask_to_stop()
            passed_on = asked
            for ended in engine.ended():
                queue.settle(ended, is_stopping=bool(asked))
            request.on_change()
            if asked and not engine.is_training():
                raise StoppedError
            if not queue.has_started and not engine.free():
                return  # every GPU is lost


def _start(queue: TrialQueue, request: EngineRequest, engine: Engine) -> None:
    """Start trials in the free slots: those that wait, then those that follow from what is known by now."""
    while engine.free():
        if not queue.has_waiting and request.later is not None:
            queue.add(request.later.more(queue.pending))
        if not queue.has_waiting:
            return
        engine.start(*queue.take())


def _is_over(queue: TrialQueue, request: EngineRequest) -> bool:
    """Whether nothing is left to train, or nothing that is trained is needed."""
    if request.later is not None:
        if queue.is_settled:
            queue.add(request.later.more(()))
        if request.later.is_over():
            return True
    return queue.is_settled
