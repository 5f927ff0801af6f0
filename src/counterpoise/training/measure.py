"""How fast a trial trains here: a few real steps, validation batches and one checkpoint, in a process of their own.

``python -m counterpoise.training.measure TRIAL.toml FOLDER --device cpu --threads 1`` gets ready (network, store, a
warm-up), writes the line ``ready`` and waits for a line on its standard input, so that the processes of all slots can
measure at the same time. Then it writes one line of JSON: a :class:`counterpoise.runs.speed.Speed`. With ``--brief``
it times two steps and one batch of tiles: enough to know that a trial can be trained here, and what room it takes.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import torch

from counterpoise.errors import CounterpoiseError
from counterpoise.experiment.trial import TrialConfig
from counterpoise.runs.speed import READY, Speed
from counterpoise.sampling.sampler import Sampler
from counterpoise.sampling.tiles import list_tiles
from counterpoise.store import open_store
from counterpoise.training.checkpoint import save_checkpoint
from counterpoise.training.device import keep_freed_memory, open_device
from counterpoise.training.seeding import prepare_torch
from counterpoise.training.trainer import Trainer
from counterpoise.training.validation import validate

__all__ = ["main", "measure"]

_BLOCK = 2
"""Steps at a time. The first block is not timed: it allocates, compiles and chooses kernels."""

_MANY = 100_000
_KIB = 1024


def measure(
    config: TrialConfig,
    folder: Path,
    *,
    device: str,
    threads: int,
    brief: bool = False,
    wait: Callable[[], object] = lambda: None,
) -> Speed:
    """Train a few steps of a trial, score a few batches, save once, and forget all of it.

    Parameters
    ----------
    config : TrialConfig
        The trial.
    folder : Path
        Where to save, for as long as it takes: the disk the trial would use.
    device : str
        As for ``counterpoise trial``.
    threads : int
        Threads of this process.
    brief : bool
        Whether two steps and one batch of tiles are enough: times are then rough.
    wait : callable
        Called between warm-up and measurement.

    Returns
    -------
    Speed
        Means over at least six steps and two seconds; over fewer if that takes longer than twenty seconds.

    Raises
    ------
    CounterpoiseError
        If the trial could not be trained here.
    """
    prepare_torch(config.seed, threads=threads)
    place = open_device(device, config.training.precision)
    if place.torch.type == "cpu":
        keep_freed_memory()
    store = open_store(config.store)
    # Very short epochs, so that a few steps are what `train_epoch` trains.
    steps = config.training.model_copy(update={"epochs": _MANY, "steps_per_epoch": _BLOCK})
    # As a trial opens them, in the same order: where the voxels lie depends on what is free on the device.
    training = Sampler(store, "train", config.sampling, threads=threads, device=place.torch)
    sampler = Sampler(store, "validate", config.sampling, threads=threads, device=place.torch)
    trainer = Trainer(config.model_copy(update={"training": steps}), training, place)
    tiles = list_tiles(sampler.plan, store, cap=config.validation.tiles_per_crop)
    batch = min(config.training.batch_size, len(tiles.patches))
    few = replace(tiles, patches=tiles.patches[:batch])
    epochs = itertools.count(1)
    micro_batches: list[int] = []

    def train() -> None:
        micro_batches.append(trainer.train_epoch(next(epochs), lambda _step, _loss: None).micro_batch)

    def score() -> None:
        validate(trainer.averaged.module, sampler, few, trainer.loss, place, batch_size=batch)

    def save(name: str, content: dict[str, object]) -> int:
        save_checkpoint(folder / name, content)
        return (folder / name).stat().st_size

    train()
    score()
    startup = time.time() - psutil.Process().create_time()
    wait()
    block_s = _mean_seconds(train, at_least=1 if brief else 3, seconds=0.0 if brief else 2.0)
    batch_s = _mean_seconds(score, at_least=1 if brief else 2, seconds=0.0 if brief else 1.0)
    averaged = {"model_state_dict": trainer.averaged.module.state_dict()}
    began = time.perf_counter()
    last = save("last.pt", {**averaged, "trainer": trainer.state()})
    save_s = time.perf_counter() - began
    return Speed(
        startup_s=startup,
        step_s=block_s / _BLOCK,
        tile_s=batch_s / batch,
        save_s=save_s,
        steps=(next(epochs) - 2) * _BLOCK,
        parameters=sum(p.numel() for p in trainer.model.parameters()),
        last_bytes=last,
        best_bytes=save("best.pt", dict(averaged)),
        memory_bytes=_peak_memory_bytes(),
        gpu_memory_bytes=torch.cuda.max_memory_reserved(place.torch) if place.torch.type == "cuda" else 0,
        micro_batch=micro_batches[-1],
        nonfinite_steps=trainer.nonfinite_steps,
    )


def _mean_seconds(work: Callable[[], None], *, at_least: int, seconds: float, patience: float = 20.0) -> float:
    """Repeat until both are reached, or until patience is over; return the mean duration."""
    took: list[float] = []
    while (len(took) < at_least or sum(took) < seconds) and sum(took) < patience:
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return sum(took) / len(took)


def _peak_memory_bytes() -> int:
    """Return the most memory this process has held, pages of the store it has read included."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KIB


def main() -> int:
    """Measure what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description="Measure how fast a trial trains here.")
    parser.add_argument("trial", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--brief", action="store_true")
    asked = parser.parse_args()
    answers = sys.stdout  # for them alone: what a network of one's own prints goes elsewhere

    def wait() -> None:
        answers.write(READY + "\n")
        answers.flush()
        if not sys.stdin.readline():  # whoever asked is gone
            raise SystemExit(1)

    try:
        with contextlib.redirect_stdout(sys.stderr):
            config = TrialConfig.read(asked.trial)
            speed = measure(
                config, asked.folder, device=asked.device, threads=asked.threads, brief=asked.brief, wait=wait
            )
    except CounterpoiseError as error:
        sys.stderr.write(f"{error.problem}: {error.found}\n")
        return 2
    answers.write(json.dumps(asdict(speed)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
