"""A training step on the CPU: where its time goes, and patches per second, against torch's own parts.

    python bench/train_step.py [--threads 1 2] [--repeats 15] [--give-back]

Two trainers take turns, step by step: ours, and one whose loss is the vectorised one over unpacked planes, whose AdamW
updates one tensor after the other, and whose average is ``AveragedModel.update_parameters``. Each case has a process
of its own. ``--give-back`` leaves out that freed memory stays with the process: compare two runs.
"""

# ruff: noqa: SLF001 - a trainer is taken apart to see where its time goes
from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from made_crops import write_crops
from measuring import CLASSES, Row, median, options, report, scratch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from counterpoise.experiment.load import parse_experiment
from counterpoise.experiment.trial import TrialConfig
from counterpoise.preflight.inputs import store_request
from counterpoise.sampling.sampler import Sampler, unpack_words
from counterpoise.store import VoxelStore, open_or_build
from counterpoise.training.device import keep_freed_memory, open_device
from counterpoise.training.seeding import prepare_torch
from counterpoise.training.trainer import Trainer
from counterpoise.volumes.crops import load_crops

CASES = {"small": (8, 3, 64, 8), "medium": (8, 3, 128, 8), "large": (16, 3, 256, 4)}
"""Width, depth, side of a patch, batch size."""
PARTS = ("data", "forward", "loss", "backward", "clipping", "optimiser", "average")


class Clock:
    """Seconds spent in the functions it stands in front of."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)

    def watch(self, owner: Any, name: str, part: str) -> None:
        """Replace a function by itself with its time taken."""
        function: Callable[..., Any] = getattr(owner, name)

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[part] += time.perf_counter() - began

        setattr(owner, name, timed)


def make_trainer(store: VoxelStore, case: str, threads: int) -> Trainer:
    """Build a trainer as a trial does, of one endless epoch."""
    width, depth, side, batch_size = CASES[case]
    config = experiment(case)
    trial = TrialConfig.model_validate(
        {
            "arm": "bench", "seed": 0, "classes": CLASSES, "class_weights": dict.fromkeys(CLASSES, 1.0),
            "store": store.path, "store_fingerprint": "", "tiles_hash": "",
            **{k: getattr(config, k).model_dump() for k in ("sampling", "model", "loss", "training", "validation")},
        }
    )  # fmt: skip
    assert (trial.model.width, trial.model.depth, trial.training.batch_size) == (width, depth, batch_size)
    assert trial.sampling.patch_shape == (side, side)
    prepare_torch(0, threads=threads)
    return Trainer(trial, Sampler(store, "train", trial.sampling, threads=threads), open_device("cpu", "float32"))


def experiment(case: str) -> Any:
    width, depth, side, batch_size = CASES[case]
    return parse_experiment(
        f"""
        [data]
        datasplit = "datasplit.csv"
        classes = {list(CLASSES)}
        voxel_size_nm = [8, 8, 8]
        [sampling]
        patch_shape = [{side}, {side}]
        [model]
        width = {width}
        depth = {depth}
        [training]
        epochs = 100
        steps_per_epoch = 100
        batch_size = {batch_size}
        precision = "float32"
        """
    )


def use_torchs_parts(trainer: Trainer) -> None:
    """Put torch's own parts, and the loss over planes, in place of ours."""
    config, loss, averaged = trainer._config, trainer.loss, trainer.averaged
    classes = len(config.classes)

    def plain_loss(logits: Tensor, present: Tensor, known: Tensor) -> Tensor:
        return loss(logits, unpack_words(present, classes).float(), unpack_words(known, classes))

    loss.of_words = plain_loss
    for group in trainer._optimizer.param_groups:
        group["fused"] = False
    averaged.multi_avg_fn = get_ema_multi_avg_fn(config.training.ema_decay)
    trainer._averaging.update = lambda: averaged.update_parameters(trainer.model)


def measure(case: str, threads: int, repeats: int) -> dict[str, dict[str, float]]:
    """Take steps in turn; return the median milliseconds of every part and of the whole."""
    with scratch() as folder:
        datasplit = write_crops(Path(folder) / "crops", crops=5, side=128, margin=64, workers=1)
        request = store_request(experiment(case), load_crops(datasplit, CLASSES))
        store = open_or_build(request, Path(folder) / "store", workers=1)
        trainers = {"ours": make_trainer(store, case, threads), "torch's parts": make_trainer(store, case, threads)}
        use_torchs_parts(trainers["torch's parts"])
        clocks, times = {name: Clock() for name in trainers}, {name: [] for name in trainers}
        for name, trainer in trainers.items():
            clock = clocks[name]
            clock.watch(trainer._sampler, "batch", "data")
            clock.watch(trainer.model, "forward", "forward")
            clock.watch(trainer.loss, "of_words", "loss")
            clock.watch(trainer._optimizer, "step", "optimiser")
            clock.watch(trainer._averaging, "update", "average")
        now = {"clock": Clock()}
        stand_in(torch.Tensor, "backward", "backward", now)
        stand_in(nn.utils, "clip_grad_norm_", "clipping", now)
        epochs = {name: steps_of(trainer) for name, trainer in trainers.items()}
        for index in range(repeats + 2):
            for name, step in epochs.items():
                now["clock"] = clocks[name]
                clocks[name].seconds = dict.fromkeys(PARTS, 0.0)
                began = time.perf_counter()
                step(index)
                whole = time.perf_counter() - began
                if index >= 2:  # the first ones compile and fill caches
                    times[name].append({**clocks[name].seconds, "step": whole})
    return {
        name: {part: median([t[part] for t in taken]) * 1e3 for part in (*PARTS, "step")}
        for name, taken in times.items()
    }


def stand_in(owner: Any, name: str, part: str, now: dict[str, Clock]) -> None:
    """Time a function that both trainers share for the one whose turn it is."""
    function = getattr(owner, name)

    @wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            now["clock"].seconds[part] += time.perf_counter() - began

    setattr(owner, name, timed)


def steps_of(trainer: Trainer) -> Callable[[int], Any]:
    from counterpoise.sampling.exposure import ExposureLedger

    ledger = ExposureLedger(trainer._config.classes)
    trainer.model.train()
    return lambda index: trainer._step(index, ledger)


def main() -> None:
    parser = options(__doc__, repeats=15)
    parser.add_argument("--case", choices=list(CASES), action="append", help="only these; may be repeated")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--give-back", action="store_true", help="hand freed memory back, as without our setting")
    parser.add_argument("--worker", action="store_true", help="measure one case and print JSON")
    given = parser.parse_args()
    if given.worker:
        if not given.give_back:
            assert keep_freed_memory()
        print(json.dumps(measure(given.case[0], given.threads[0], given.repeats)))
        return
    rows = []
    for case in given.case or list(CASES):
        for threads in given.threads:
            rows += compare(case, threads, given.repeats, give_back=given.give_back)
    report(rows, given.out)


def compare(case: str, threads: int, repeats: int, *, give_back: bool) -> list[Row]:
    """Measure one case in a process of its own and describe it."""
    command = [sys.executable, __file__, "--worker", "--case", case, "--threads", str(threads)]
    command += ["--repeats", str(repeats), *(["--give-back"] if give_back else [])]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    width, depth, side, batch_size = CASES[case]
    slowest = found["torch's parts"]["step"]
    rows = []
    for name, parts in found.items():
        whole = parts["step"]
        shares = ", ".join(f"{part} {100 * parts[part] / whole:.1f} %" for part in PARTS)
        rows.append(
            Row(
                what=f"step, width {width}, depth {depth}, {side}^2, batch {batch_size}, threads {threads}: {name}",
                measured=f"{whole:.1f} ms, {1e3 * batch_size / whole:.1f} patches/s; {shares}",
                against=f"torch's parts {slowest:.1f} ms",
                ratio=f"{slowest / whole:.2f} x as fast",
                numbers=parts,
            )
        )
    return rows


if __name__ == "__main__":
    main()
