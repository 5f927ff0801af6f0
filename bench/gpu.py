"""The inner loop of the classic experiment on one GPU: UNet of width 64, 256 x 256, batch 64, bf16, our sampler.

    python bench/gpu.py                          one command, under 8 minutes on a recent GPU
    python bench/gpu.py --device cpu --tiny      the same code in seconds, on any machine

Printed are patches per second; the share of the device's arithmetic peak, with 289 GFLOP per sample's training step (a
multiplication and an addition are 2); bytes per second that the loss moves, beside what the memory can; the share of
time in which kernels ran (the profiler's, over some steps), and in which the trainer waited for a batch; and the time
that six arms of 60 epochs of 100 steps would take one after the other. Peaks are those of the data sheets, dense, and
of the device that is found: an unknown one gets no shares unless ``--peak-tflops`` and ``--peak-gb-s`` say them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from decoding import request_for
from made_crops import write_crops
from measuring import CLASSES, Row, median, options, report, scratch
from torch.profiler import ProfilerActivity, profile
from trials import trial_config

from counterpoise.data.crops import load_crops
from counterpoise.losses.tversky import TverskyLoss
from counterpoise.sampling.exposure import ExposureLedger
from counterpoise.sampling.sampler import Sampler
from counterpoise.store import open_or_build
from counterpoise.training.device import open_device
from counterpoise.training.seeding import prepare_torch
from counterpoise.training.trainer import Trainer

GFLOP = {64: 289.0, 16: 18.0, 8: 4.5}
"""Of one sample's training step (forward and backward) at 256 x 256, by the UNet's width."""
PEAKS = {"H200": (989.0, 4800.0), "H100": (989.0, 3350.0), "A100": (312.0, 2039.0), "L40S": (362.0, 864.0)}
"""Dense bf16 TFLOP/s and GB/s of memory, from the makers' data sheets; the first name that fits the device's."""
ARMS, EPOCHS, STEPS = 6, 60, 100
BUSY_AIM = 0.95


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(function: Callable[[], object], device: torch.device) -> float:
    synchronise(device)
    began = time.perf_counter()
    function()
    synchronise(device)
    return time.perf_counter() - began


def measure_loss(device: torch.device, batch: int, side: int, repeats: int) -> tuple[float, float]:
    """Return seconds of forward and backward of the loss, and the bytes that must move at least.

    Forward reads logits (bf16) and two label words a pixel; backward reads them again and writes the gradient.
    """
    classes = len(CLASSES)
    loss = TverskyLoss([1.0] * classes, 0.6, 0.4, 1e-6).to(device)
    logits = torch.randn(batch, classes, side, side, device=device, dtype=torch.bfloat16).requires_grad_()
    words = torch.randint(0, 2**classes, (batch, side, side), device=device, dtype=torch.uint8)
    known = torch.full_like(words, 2**classes - 1)

    def once() -> None:
        logits.grad = None
        loss.of_words(logits, words, known).backward()  # type: ignore[no-untyped-call]

    for _ in range(3):
        once()
    seconds = median([seconds_of(once, device) for _ in range(max(repeats, 5))])
    pixels = batch * side * side
    return seconds, pixels * (2 * (classes * 2 + 2) + classes * 2)


def busy_share(step: Callable[[], object], steps: int, device: torch.device) -> float | None:
    """Return the share of wall time in which at least one kernel ran; None on a device without kernels."""
    if device.type != "cuda":
        return None
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        seconds = seconds_of(lambda: [step() for _ in range(steps)], device)
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if event.device_type == torch.autograd.DeviceType.CUDA
    )
    busy = end = 0.0
    for start, stop in spans:
        busy += max(stop - max(start, end), 0.0)
        end = max(end, stop)
    return busy / 1e6 / seconds


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
    with scratch() as folder:
        path = Path(folder) / "crops" if given.tiny else given.crops
        datasplit = write_crops(path, crops=crops, side=size, margin=margin)
        store = open_or_build(request_for(load_crops(datasplit, CLASSES)), Path(folder) / "store", workers=8)
        prepare_torch(0, threads=torch.get_num_threads())
        config = trial_config(
            store, width=width, depth=depth, side=side, batch_size=batch, steps=steps, precision=device.precision
        )
        sampler = Sampler(store, "train", config.sampling, threads=torch.get_num_threads(), device=device.torch)
        trainer, ledger = Trainer(config, sampler, device), ExposureLedger(config.classes)
        trainer.model.train()
        count = iter(range(10**9))

        def step() -> None:
            trainer._step(next(count) % steps, ledger)  # noqa: SLF001 - the inner loop alone

        trainer._schedule.step = lambda: None  # type: ignore[method-assign]  # noqa: SLF001 - endless
        for _ in range(5 if not given.tiny else 1):
            step()
        waited = sampler.waited_s
        times = [seconds_of(lambda: [step() for _ in range(steps)], device.torch) / steps for _ in range(given.repeats)]
        waiting = (sampler.waited_s - waited) / (sum(times) * steps)
        busy = busy_share(step, min(steps, 20), device.torch)
        placement = sampler.placement
        sampler.close()
    loss_s, loss_bytes = measure_loss(device.torch, batch, side, given.repeats)
    per_step = median(times)
    tflops = GFLOP[width] * (side / 256) ** 2 * batch / per_step / 1e3 if width in GFLOP and depth == 4 else None
    whole = ARMS * EPOCHS * STEPS * per_step
    what = f"UNet of width {width}, {side} x {side}, batch {batch}, {device.precision}, {name}"
    report(
        [
            Row(
                f"training, {what}", f"{batch / per_step:,.1f} patches/s", placement, f"{1e3 * per_step:.1f} ms a step"
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
                "device busy",
                f"{busy:.1%}" if busy is not None else "not measured on a CPU",
                f"the trainer waited for data {waiting:.2%} of the time",
                "",
                f">= {BUSY_AIM:.0%}",
                busy >= BUSY_AIM if busy is not None else None,
            ),
            Row(f"{ARMS} arms x {EPOCHS} epochs x {STEPS} steps, steps alone", f"{whole / 60:,.1f} min"),
        ],
        given.out,
    )


if __name__ == "__main__":
    main()
