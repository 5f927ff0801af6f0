"""How fast a trial trains here: a few real steps, validation batches and one checkpoint, in a process of their own.

``python -m counterpoise.training.measure TRIAL.toml FOLDER --device cpu --threads 1`` gets ready (network, store, a
warm-up), writes the line ``ready`` and waits for a line on its standard input, so that the processes of all slots can
measure at the same time. Then it writes one line of JSON: a :class:`counterpoise.runs.speed.Speed`. With ``--brief``
it times two steps and one batch of tiles: enough to know that a trial can be trained here, and what space it takes.
With ``--small FILE`` it does not wait: it times steps of growing small batches for a few seconds, and writes what it
knows so far, a :class:`counterpoise.runs.speed.SmallSteps`, into a file.

torch is imported in functions only: the planning process imports this module for its name.
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

from counterpoise.errors import CounterpoiseError
from counterpoise.experiment.trial import TrialConfig
from counterpoise.runs.speed import READY, SmallSteps, Speed
from counterpoise.sampling.tiles import list_tiles
from counterpoise.store import open_store

__all__ = ["main", "measure", "measure_small"]

_BLOCK = 2
"""Steps at a time. The first block is not timed: it allocates, compiles and chooses kernels."""

_MANY = 100_000
_KIB = 1024

_GROWTH = 4
"""Of small batches, from one to the next."""

_SMALL_S = 8.0
"""Seconds for the steps of small batches; the smallest makes one in any case."""


class _Bench:
    """A trial that trains epochs of a few steps, scores a batch of tiles and saves, as often as asked."""

    def __init__(self, config: TrialConfig, folder: Path, *, device: str, threads: int) -> None:
        from counterpoise.sampling.sampler import Sampler
        from counterpoise.training.device import keep_freed_memory, open_device
        from counterpoise.training.seeding import prepare_torch

        prepare_torch(config.seed, threads=threads)
        self.place = open_device(device, config.training.precision)
        if self.place.torch.type == "cpu":
            keep_freed_memory()
        store = open_store(config.store)
        # As a trial opens them, in the same order: where the voxels lie depends on what is free on the device.
        self._training = Sampler(store, "train", config.sampling, threads=threads, device=self.place.torch)
        self._sampler = Sampler(store, "validate", config.sampling, threads=threads, device=self.place.torch)
        self._tiles = list_tiles(self._sampler.plan, store, cap=config.validation.tiles_per_crop)
        self._config, self._folder = config, folder

    def set_batch(self, patches: int, *, steps: int) -> None:
        """Make a new network that trains batches of so many patches, in epochs of so many steps."""
        from counterpoise.training.trainer import Trainer

        # Very short epochs, so that a few steps are what `train_epoch` trains.
        few = {"epochs": _MANY, "steps_per_epoch": steps, "batch_size": patches}
        training = self._config.training.model_copy(update=few)
        self.trainer = Trainer(self._config.model_copy(update={"training": training}), self._training, self.place)
        self.batch = min(patches, len(self._tiles.patches))
        self._epochs = itertools.count(1)
        self.micro_batch = patches

    @property
    def parameters(self) -> int:
        """Count the network's parameters."""
        return sum(p.numel() for p in self.trainer.model.parameters())

    def train(self) -> None:
        """Train one short epoch."""
        self.micro_batch = self.trainer.train_epoch(next(self._epochs), lambda _step, _loss: None).micro_batch

    def score(self) -> None:
        """Score one batch of tiles."""
        from counterpoise.training.validation import validate

        few = replace(self._tiles, patches=self._tiles.patches[: self.batch])
        network = self.trainer.averaged.module
        validate(network, self._sampler, few, self.trainer.loss, self.place, batch_size=self.batch)

    def save(self) -> tuple[float, int, int]:
        """Write both checkpoints; return the seconds that the last one takes, and the bytes of last and best."""
        from counterpoise.training.checkpoint import save_checkpoint

        averaged = {"model_state_dict": self.trainer.averaged.module.state_dict()}
        contents = {"last.pt": {**averaged, "trainer": self.trainer.state()}, "best.pt": dict(averaged)}
        took = []
        for name, content in contents.items():
            began = time.perf_counter()
            save_checkpoint(self._folder / name, content)
            took.append(time.perf_counter() - began)
        last, best = ((self._folder / name).stat().st_size for name in contents)
        return took[0], last, best

    def memory_bytes(self) -> tuple[int, int]:
        """Return the most memory this process has held, pages of the store included, and that on a CUDA device."""
        import torch

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        place = self.place.torch
        reserved = torch.cuda.max_memory_reserved(place) if place.type == "cuda" else 0
        return peak if sys.platform == "darwin" else peak * _KIB, reserved


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
    bench = _Bench(config, folder, device=device, threads=threads)
    bench.set_batch(config.training.batch_size, steps=_BLOCK)
    blocks = 0

    def train() -> None:
        nonlocal blocks
        blocks += 1
        bench.train()

    bench.train()
    bench.score()
    startup_s = time.time() - psutil.Process().create_time()
    wait()
    block_s = _mean_seconds(train, at_least=1 if brief else 3, seconds=0.0 if brief else 2.0)
    batch_s = _mean_seconds(bench.score, at_least=1 if brief else 2, seconds=0.0 if brief else 1.0)
    save_s, last_bytes, best_bytes = bench.save()
    memory, gpu_memory = bench.memory_bytes()
    return Speed(
        startup_s=startup_s,
        step_s=block_s / _BLOCK,
        tile_s=batch_s / bench.batch,
        save_s=save_s,
        steps=blocks * _BLOCK,
        parameters=bench.parameters,
        last_bytes=last_bytes,
        best_bytes=best_bytes,
        memory_bytes=memory,
        gpu_memory_bytes=gpu_memory,
        micro_batch=bench.micro_batch,
        nonfinite_steps=bench.trainer.nonfinite_steps,
    )


def measure_small(
    config: TrialConfig, folder: Path, *, device: str, threads: int, tell: Callable[[SmallSteps], object]
) -> SmallSteps:
    """Train steps of growing small batches as long as there is time, score a batch of tiles, save once.

    A step is timed after another one of its size, unless there is no time for a second one: where one takes seconds,
    what the first one does in addition is a small part of it. Where the whole batch is reached, nothing is left to
    scale.

    Parameters
    ----------
    config, folder, device, threads
        As for :func:`measure`.
    tell : callable
        Receives what is known so far: before the first step, and after each measurement.

    Raises
    ------
    CounterpoiseError
        If the trial could not be trained here.
    """
    bench = _Bench(config, folder, device=device, threads=threads)
    sizes = _small_batches(config)
    bench.set_batch(sizes[0], steps=1)
    found = SmallSteps(time.time() - psutil.Process().create_time(), bench.parameters, sizes[0])
    tell(found)
    began = time.perf_counter()

    def left_s() -> float:
        return _SMALL_S - (time.perf_counter() - began)

    for patches in sizes:
        if found.steps and 2 * found.step_s(patches) > left_s():
            break
        if found.steps:
            bench.set_batch(patches, steps=1)
        took = _mean_seconds(bench.train, at_least=1, seconds=0.0)
        if took < left_s():
            took = _mean_seconds(bench.train, at_least=1, seconds=0.5, patience=left_s() - took)
        memory, gpu_memory = bench.memory_bytes()
        steps = (*found.steps, (patches, took))
        found = replace(found, steps=steps, memory_bytes=memory, gpu_memory_bytes=gpu_memory)
        tell(found)
    took = _mean_seconds(bench.score, at_least=1, seconds=0.0)
    if took < left_s():
        took = _mean_seconds(bench.score, at_least=1, seconds=0.5, patience=left_s() - took)
    found = replace(found, tile_s=took / bench.batch)
    tell(found)
    save_s, last_bytes, best_bytes = bench.save()
    found = replace(found, save_s=save_s, last_bytes=last_bytes, best_bytes=best_bytes)
    tell(found)
    return found


def _small_batches(config: TrialConfig) -> tuple[int, ...]:
    """Return the batch sizes to try, up to the trial's own.

    A single patch is a batch only for our own network, and where it is larger than one pixel at the network's bottom:
    batch normalisation needs more than one value.
    """
    own, halved = config.training.batch_size, 2**config.model.depth
    takes_one = config.model.name == "unet2d" and any(side // halved > 1 for side in config.sampling.patch_shape)
    sizes = [min(1 if takes_one else 2, own)]
    while sizes[-1] < own:
        sizes.append(min(sizes[-1] * _GROWTH, own))
    return tuple(sizes)


def _mean_seconds(work: Callable[[], None], *, at_least: int, seconds: float, patience: float = 20.0) -> float:
    """Repeat until both are reached, or until patience (seconds) is over; return the mean duration."""
    took: list[float] = []
    while not took or ((len(took) < at_least or sum(took) < seconds) and sum(took) < patience):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return sum(took) / len(took)


def main() -> int:
    """Measure what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(description="Measure how fast a trial trains here.")
    parser.add_argument("trial", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--brief", action="store_true")
    parser.add_argument("--small", type=Path)
    asked = parser.parse_args()
    answers = sys.stdout  # for them alone: what a network of one's own prints goes elsewhere

    def wait() -> None:
        answers.write(READY + "\n")
        answers.flush()
        if not sys.stdin.readline():  # the planning process has ended
            raise SystemExit(1)

    try:
        with contextlib.redirect_stdout(sys.stderr):
            config = TrialConfig.read(asked.trial)
            if asked.small is not None:
                measure_small(
                    config,
                    asked.folder,
                    device=asked.device,
                    threads=asked.threads,
                    tell=lambda found: found.write(asked.small),
                )
                return 0
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
