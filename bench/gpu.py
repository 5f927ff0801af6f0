"""The inner loop of the classic experiment on one GPU: UNet of width 64, 256 x 256, batch 64, bf16, our sampler.

    python bench/gpu.py                          one command, under 8 minutes on a recent GPU
    python bench/gpu.py --device cpu --tiny      the same code in seconds, on any machine

Printed are patches per second; the share of the device's arithmetic peak, with 289 GFLOP per sample's training step (a
multiplication and an addition are 2); bytes per second that the loss moves, beside what the memory can, compiled and
not, and what compiling it costs; the share of time in which kernels ran (the profiler's, over some steps), and in which
the trainer waited for a batch; patches per second of the sampler alone, with the voxels on the device and in host
memory, after both have given the same batches bit for bit; and the time that six arms of 60 epochs of 100 steps would
take one after the other. Peaks are those of the data sheets, dense, and of the device that is found: an unknown one
gets no shares unless ``--peak-tflops`` and ``--peak-gb-s`` say them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from decoding import request_for
from made_crops import write_crops
from measuring import CLASSES, Row, median, options, report, scratch
from torch.profiler import ProfilerActivity, profile
from trials import trial_config

from counterpoise.experiment.config import SamplingConfig
from counterpoise.experiment.trial import TrialConfig
from counterpoise.losses import words
from counterpoise.losses.tversky import TverskyLoss
from counterpoise.sampling.exposure import ExposureLedger
from counterpoise.sampling.gather_torch import DeviceStore
from counterpoise.sampling.patches import PatchPlan, draw_patches
from counterpoise.sampling.sampler import Sampler
from counterpoise.sampling.source import DeviceSource, HostSource
from counterpoise.store import VoxelStore, open_or_build
from counterpoise.training.device import Device, open_device
from counterpoise.training.seeding import prepare_torch
from counterpoise.training.trainer import Trainer
from counterpoise.volumes.crops import load_crops

GFLOP = {64: 289.0, 16: 18.0, 8: 4.5}
"""Of one sample's training step (forward and backward) at 256 x 256, by the UNet's width."""
PEAKS = {
    "H200": (989.0, 4800.0),
    "H100 PCIe": (756.0, 2000.0),
    "H100": (989.0, 3350.0),
    "A100": (312.0, 2039.0),
    "L40S": (362.0, 864.0),
}
"""Dense bf16 TFLOP/s and GB/s of memory, from the makers' data sheets; the first name that fits the device's."""
ARMS, EPOCHS, STEPS = 6, 60, 100
BUSY_AIM = 0.95
LOSSES = 10
"""Passes of the loss that are timed together: one alone would be little more than the wait for its end."""


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(function: Callable[[], object], device: torch.device) -> float:
    synchronise(device)
    began = time.perf_counter()
    function()
    synchronise(device)
    return time.perf_counter() - began


def measure_loss(device: torch.device, batch: int, side: int, repeats: int) -> tuple[float, float, int]:
    """Return seconds of the very first forward and backward pass of the loss, of a later one, and the bytes that move.

    Forward reads logits (bf16, channels last, as the network gives them) and two label words a pixel; backward reads
    them again and writes the gradient: that much at least.
    """
    classes = len(CLASSES)
    loss = TverskyLoss([1.0] * classes, 0.6, 0.4, 1e-6).to(device)
    logits = torch.randn(batch, classes, side, side, device=device, dtype=torch.bfloat16)
    logits = logits.contiguous(memory_format=torch.channels_last).requires_grad_()
    present = torch.randint(0, 2**classes, (batch, side, side), device=device, dtype=torch.uint8)
    known = torch.full_like(present, 2**classes - 1)

    def once() -> None:
        logits.grad = None
        loss.of_words(logits, present, known).backward()  # type: ignore[no-untyped-call]

    first = seconds_of(once, device)
    for _ in range(3):
        once()
    later = [seconds_of(lambda: [once() for _ in range(LOSSES)], device) / LOSSES for _ in range(max(repeats, 5))]
    pixels = batch * side * side
    return first, median(later), pixels * (2 * (classes * 2 + 2) + classes * 2)


def plain_loss(wanted: bool) -> None:
    """Let the loss run as it is on the device, or compiled anew."""
    words._sums_in_torch = words._CompiledOnCuda(words._sums_in_planes)  # noqa: SLF001
    words._gradient_in_torch = words._CompiledOnCuda(words._gradient_in_planes)  # noqa: SLF001
    words._sums_in_torch._failed = words._gradient_in_torch._failed = wanted  # noqa: SLF001
    torch.compiler.reset()


def busy_share(step: Callable[[], object], steps: int, device: torch.device) -> float | None:
    """Return the share of wall time in which at least one kernel or copy ran; None on a device without kernels."""
    if device.type != "cuda":
        return None
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        seconds = seconds_of(lambda: [step() for _ in range(steps)], device)
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        # A named range around an optimiser's step lies on the device's timeline, too, with the gaps between kernels.
        if event.device_type == torch.autograd.DeviceType.CUDA and not getattr(event, "is_user_annotation", False)
    )
    busy = end = 0.0
    for start, stop in spans:
        busy += max(stop - max(start, end), 0.0)
        end = max(end, stop)
    return busy / 1e6 / seconds


def measure_sources(
    store: VoxelStore, config: SamplingConfig, device: torch.device, *, batch: int, steps: int, repeats: int
) -> dict[str, float]:
    """Return patches per second of both sources alone, one batch after the other, after a check that they agree."""
    crops = store.of("train")
    plan = PatchPlan.of(store, "train", config)
    sources = {
        "device": DeviceSource(DeviceStore.load(store, crops, device), store, config),
        "host": HostSource(store, crops, config, device, threads=torch.get_num_threads(), buffers=2),
    }
    synchronise(device)
    for step in range(3):
        patches = draw_patches(plan, seed=0, step=step, batch_size=batch)
        both = [source.gather(patches).ready() for source in sources.values()]
        assert all(torch.equal(a, b) for a, b in zip(*both, strict=True)), "the two gathers differ"
    rates = {}
    for name, source in sources.items():

        def gather(source: Any = source) -> None:
            for step in range(steps):
                source.gather(draw_patches(plan, seed=0, step=step, batch_size=batch)).ready()

        rates[name] = batch * steps / median([seconds_of(gather, device) for _ in range(repeats)])
        source.close()
    return rates


@dataclass(frozen=True)
class Training:
    """What steps of a trainer took: seconds per step, several times, and of the very first one; shares of that time."""

    step_s: list[float]
    first_s: float
    waiting: float
    busy: float | None
    placement: str
    room: str


def measure_training(store: VoxelStore, config: TrialConfig, device: Device, *, repeats: int) -> Training:
    """Train endlessly, as an epoch of a trial does."""
    steps = config.training.steps_per_epoch
    sampler = Sampler(store, "train", config.sampling, threads=torch.get_num_threads(), device=device.torch)
    trainer, ledger = Trainer(config, sampler, device), ExposureLedger(config.classes)
    trainer.model.train()
    trainer._schedule.step = lambda: None  # type: ignore[method-assign]  # noqa: SLF001 - more steps than one epoch
    count = itertools.count()

    def step() -> None:
        trainer._step(next(count), ledger)  # noqa: SLF001 - the inner loop alone

    first = seconds_of(step, device.torch)
    for _ in range(min(steps, 5)):
        step()
    waited = sampler.waited_s
    times = [seconds_of(lambda: [step() for _ in range(steps)], device.torch) / steps for _ in range(repeats)]
    waiting = (sampler.waited_s - waited) / (sum(times) * steps)
    busy = busy_share(step, min(steps, 20), device.torch)
    room = ""
    if device.torch.type == "cuda":
        memory = torch.cuda.max_memory_allocated(device.torch) / 1e9
        room = f", {memory:.1f} GB at most, {trainer._parts.size} patches at a time"  # noqa: SLF001
    sampler.close()
    return Training(times, first, waiting, busy, sampler.placement, room)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a small network and few steps, to see that it runs")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=50, help="per measurement")
    parser.add_argument("--peak-tflops", type=float, help="arithmetic peak of the device (dense bf16)")
    parser.add_argument("--peak-gb-s", type=float, help="peak of its memory")
    given = parser.parse_args()
    width, batch, side, steps, depth = given.width, given.batch, 256, given.steps, 4
    crops, size, margin = 60, 200, 92
    if given.tiny:
        width, batch, side, steps, depth, crops, size, margin = 8, 2, 64, 3, 2, 5, 64, 16
    device = open_device(given.device, "bfloat16" if given.device != "cpu" else "float32")
    name = torch.cuda.get_device_name(device.torch) if device.torch.type == "cuda" else "CPU"
    known = next((peaks for key, peaks in PEAKS.items() if key in name), (None, None))
    peak_tflops, peak_gb_s = given.peak_tflops or known[0], given.peak_gb_s or known[1]
    prepare_torch(0, threads=torch.get_num_threads())
    with scratch() as folder:
        path = Path(folder) / "crops" if given.tiny else given.crops
        datasplit = write_crops(path, crops=crops, side=size, margin=margin)
        store = open_or_build(request_for(load_crops(datasplit, CLASSES)), Path(folder) / "store", workers=8)
        config = trial_config(
            store, width=width, depth=depth, side=side, batch_size=batch, steps=steps, precision=device.precision
        )
        rates = measure_sources(
            store, config.sampling, device.torch, batch=batch, steps=min(steps, 20), repeats=given.repeats
        )
        training = measure_training(store, config, device, repeats=given.repeats)
    plain_loss(wanted=True)
    _, plain_s, loss_bytes = measure_loss(device.torch, batch, side, given.repeats)
    plain_loss(wanted=False)
    compile_s, loss_s, _ = measure_loss(device.torch, batch, side, given.repeats)
    per_step = median(training.step_s)
    tflops = GFLOP[width] * (side / 256) ** 2 * batch / per_step / 1e3 if width in GFLOP and depth == 4 else None
    whole = ARMS * EPOCHS * STEPS * per_step
    what = f"UNet of width {width}, {side} x {side}, batch {batch}, {device.precision}, {name}"
    report(
        [
            Row(
                f"training, {what}",
                f"{batch / per_step:,.1f} patches/s{training.room}",
                training.placement,
                f"{1e3 * per_step:.1f} ms a step; the first one {training.first_s:.1f} s",
                numbers={"step_s": training.step_s},
            ),
            Row(
                "arithmetic",
                f"{tflops:,.0f} TFLOP/s" if tflops else "not known for this network",
                f"peak {peak_tflops:,.0f}" if peak_tflops else "",
                f"{tflops / peak_tflops:.0%}" if tflops and peak_tflops else "",
            ),
            Row(
                "loss, forward and backward",
                f"{1e3 * loss_s:.2f} ms, {loss_bytes / loss_s / 1e9:,.0f} GB/s of what must move",
                f"memory's peak {peak_gb_s:,.0f} GB/s" if peak_gb_s else "",
                f"{loss_bytes / loss_s / 1e9 / peak_gb_s:.0%}" if peak_gb_s else "",
            ),
            Row(
                "loss, not compiled",
                f"{1e3 * plain_s:.2f} ms",
                f"a process compiles it in {compile_s:.1f} s, or {compile_s / per_step:,.0f} steps",
                f"saves {1e3 * (plain_s - loss_s):.2f} ms of {1e3 * per_step:.1f} ms a step",
            ),
            Row(
                "device busy",
                f"{training.busy:.1%}" if training.busy is not None else "not measured on a CPU",
                f"the trainer waited for data {training.waiting:.2%} of the time",
                "",
                f">= {BUSY_AIM:.0%}",
                training.busy >= BUSY_AIM if training.busy is not None else None,
            ),
            Row(
                "sampler alone",
                f"{rates['device']:,.0f} patches/s from voxels on the device",
                f"{rates['host']:,.0f} patches/s from host memory, {torch.get_num_threads()} threads",
                f"training takes {batch / per_step:,.0f}",
            ),
            Row(f"{ARMS} arms x {EPOCHS} epochs x {STEPS} steps, steps alone", f"{whole / 60:,.1f} min"),
        ],
        given.out,
    )


if __name__ == "__main__":
    main()
