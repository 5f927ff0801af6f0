"""Workers: processes in a scheduler's jobs that train one trial at a time, submitted and reached through Parsl.

Parsl is optional: it is imported here and in ``interchange`` only, when workers are started.
"""

from __future__ import annotations

import importlib
import re
import shlex
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from counterpoise.engines import interchange
from counterpoise.engines.node import JOB_BEGAN, Assignment, NodeResult, train_on_node
from counterpoise.errors import ConfigError
from counterpoise.experiment.engine import EngineConfig

__all__ = ["Workers", "job_beginning", "start_workers"]

_LOOPBACK = "127.0.0.1"
_STRATEGY_S = 5.0
_HEARTBEAT_S = 30
_LOST_AFTER_S = 120
_COMMAND_TIMEOUT_S = 60
_CORES_PER_WORKER = 1e-3
"""Almost none: the number of workers per node is set, not derived from its cores."""

_DEAD_JOBS = 3
"""After so many jobs in a row that ended before a worker of theirs called, the next would end the same way."""


class Workers:
    """Workers of a cluster's jobs, for as long as :func:`start_workers` holds them."""

    def __init__(self, kernel: Any, executor: Any, engine: EngineConfig) -> None:
        from parsl import python_app

        self._executor, self._engine = executor, engine
        self._train = python_app(train_on_node, data_flow_kernel=kernel)
        self._dead: dict[str, Any] = {}
        executor.block_error_handler = self._note

    def train(self, assignment: Assignment) -> Future[NodeResult]:
        """Give a trial to the next worker that is free."""
        future: Future[NodeResult] = self._train(assignment)
        return future

    def lost(self, future: Future[NodeResult]) -> str:
        """Describe the worker that was lost with its trial, whatever happened to its node; empty if none was."""
        from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

        error = future.exception()
        return str(error) if isinstance(error, WorkerLost | ManagerLost) else ""

    def fault(self, is_training: Callable[[], bool]) -> ConfigError | None:
        """Return why nothing more can come of the workers; None if something can, or a trial is being trained."""
        if self._executor.bad_state_is_set:
            return self._useless("its workers cannot be used", str(self._executor.executor_exception))
        if self._executor.interchange_proc.poll() is not None:
            return self._useless("the interchange, which passes trials to the workers, has ended", "no process")
        newest = sorted(dict(self._executor.status_facade), key=int)[-_DEAD_JOBS:]
        if len(newest) == _DEAD_JOBS and all(block in self._dead for block in newest) and not is_training():
            what = f"the last {_DEAD_JOBS} jobs were refused, or ended before a worker of theirs was ready"
            return self._useless(what, _words_of(self._dead[newest[-1]]))
        return None

    def _note(self, _: Any, status: Mapping[str, Any]) -> None:
        """Record jobs that were refused, or ended before a worker called (Parsl calls its error handler for this)."""
        accepted = self._executor.blocks_to_job_id
        self._dead = {
            block: job for block, job in status.items() if job.status_name == "MISSING" or block not in accepted
        }

    def _useless(self, what: str, found: str) -> ConfigError:
        return ConfigError(
            f"[engine] kind = {self._engine.kind}: {what}",
            expected="jobs in which `process_worker_pool.py` and `counterpoise` start, and which reach this machine",
            found=found,
            remedy=f"read the scripts and logs in {self._executor.run_dir}, then fix worker_init, options or address",
        )


def _words_of(job: Any) -> str:
    """Write what is known of a job's end on one line."""
    lines = [line for line in (job.stderr_summary or "").splitlines() if line.strip()]
    words = [job.message or "", f"exit code {job.exit_code}" if job.exit_code else "", *lines[-3:]]
    return re.sub(r"\s+", " ", "; ".join(filter(None, words))) or "nothing is known of them"


@contextmanager
def start_workers(engine: EngineConfig, folder: Path, *, per_node: int) -> Iterator[Workers]:
    """Have jobs submitted as trials are given out, at most ``engine.jobs`` at a time; cancel them all in the end.

    Parameters
    ----------
    engine : EngineConfig
        What a job asks for.
    folder : Path
        For scripts and logs of jobs; every node sees it.
    per_node : int
        Workers on each node of a job.

    Raises
    ------
    ConfigError
        If Parsl is not installed, does not know the scheduler's commands, or cannot work in the folder.
    """
    _require_parsl(engine)
    from parsl import Config, DataFlowKernel
    from parsl.executors import HighThroughputExecutor

    if re.fullmatch(r"[\w.@:+,=/-]+", str(folder)) is None:
        raise ConfigError(
            f"[engine] kind = {engine.kind}: Parsl cannot work in {folder}",
            expected="a run folder whose path is letters, digits and . _ - @ : + , = / only",
            found=str(folder),
            remedy="choose another [run] folder; scripts of --print-jobs work in any folder",
        )
    executor = HighThroughputExecutor(
        label="workers",
        provider=_provider(engine),
        address=engine.address or _LOOPBACK,
        interchange_launch_cmd=[sys.executable, "-m", interchange.__name__],
        max_workers_per_node=per_node,
        cores_per_worker=_CORES_PER_WORKER,
        heartbeat_period=_HEARTBEAT_S,
        heartbeat_threshold=_LOST_AFTER_S,
        drain_period=engine.train_s,
        block_error_handler=False,
    )
    if engine.is_elsewhere and not engine.address:
        # Parsl's own search for addresses would also ask a server on the internet.
        executor.address, executor.all_addresses = None, _own_addresses()
    config = Config(
        executors=[executor],
        run_dir=str(folder),
        strategy_period=_STRATEGY_S,
        usage_tracking=0,
        initialize_logging=False,  # its own log would grow while nothing happens
    )
    kernel = DataFlowKernel(config)
    try:
        yield Workers(kernel, executor, engine)
    finally:
        if executor.interchange_proc.poll() is None:
            kernel.cleanup()
        else:  # Parsl asks the interchange before it cancels jobs
            executor.provider.cancel(list(executor.job_ids_to_block))


def _require_parsl(engine: EngineConfig) -> None:
    extra, modules = ("kubernetes", ("parsl", "kubernetes")) if engine.kind == "kubernetes" else ("cluster", ("parsl",))
    for name in modules:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ConfigError(
                f"[engine] kind = {engine.kind} needs a package that is not installed",
                expected=name,
                found=str(error),
                remedy=f'pip install "counterpoise[{extra}]", here and where the trials run',
            ) from error


def _own_addresses() -> set[str]:
    """Find the addresses of this machine that others may reach."""
    found = {
        address.address
        for interface in psutil.net_if_addrs().values()
        for address in interface
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    }
    return found or {_LOOPBACK}


def job_beginning(engine: EngineConfig) -> str:
    """Write the shell lines that every job begins with: its clock, this environment's commands, the user's own."""
    lines = [f"export {JOB_BEGAN}=$(date +%s)"]
    if engine.kind != "kubernetes":  # whose image has commands of its own
        lines.append(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"')
    return "\n".join([*lines, engine.worker_init.strip()])


def _provider(engine: EngineConfig) -> Any:
    from parsl import launchers, providers

    always = {"init_blocks": 0, "min_blocks": 0, "max_blocks": engine.jobs, "worker_init": job_beginning(engine)}
    if engine.kind == "parsl_local":
        return providers.LocalProvider(**always, launcher=launchers.SimpleLauncher())
    if engine.kind == "kubernetes":
        memory, cards = f"{engine.memory_gb}G", {"nvidia.com/gpu": str(engine.gpus)} if engine.gpus else {}
        return providers.KubernetesProvider(
            image=engine.image,
            namespace=engine.namespace,
            **always,
            init_cpu=engine.cores,
            max_cpu=engine.cores,
            init_mem=memory,
            max_mem=memory,
            extra_requests=cards,
            extra_limits=cards,
            persistent_volumes=list(engine.volumes.items()),
        )
    return _queue_provider(engine, always | {"walltime": engine.walltime, "cmd_timeout": _COMMAND_TIMEOUT_S})


def _queue_provider(engine: EngineConfig, always: dict[str, Any]) -> Any:
    """Make the provider of a scheduler with queues."""
    from parsl import launchers, providers

    if engine.kind == "slurm":
        heads = [f"#SBATCH --gpus-per-node={engine.gpus}"] if engine.gpus else []
        return providers.SlurmProvider(
            partition=engine.queue or None,
            account=engine.account or None,
            nodes_per_block=engine.nodes,
            cores_per_node=engine.cores,
            mem_per_node=engine.memory_gb,
            scheduler_options="\n".join([*heads, engine.options.strip()]),
            exclusive=False,
            launcher=launchers.SrunLauncher() if engine.nodes > 1 else launchers.SimpleLauncher(),
            **always,
        )
    always |= {"launcher": launchers.SimpleLauncher(), "queue": engine.queue or None}
    if engine.kind == "lsf":
        heads = [f'#BSUB -gpu "num={engine.gpus}"'] if engine.gpus else []
        return providers.LSFProvider(
            project=engine.account or None,
            request_by_nodes=False,
            cores_per_block=engine.cores,
            cores_per_node=engine.cores,
            scheduler_options="\n".join([*heads, engine.options.strip()]),
            bsub_redirection=True,
            **always,
        )
    gpus = [f"ngpus={engine.gpus}"] if engine.gpus else []
    return providers.PBSProProvider(
        account=engine.account or None,
        cpus_per_node=engine.cores,
        select_options=":".join([*gpus, f"mem={engine.memory_gb}gb"]),
        scheduler_options=engine.options.strip(),
        **always,
    )
