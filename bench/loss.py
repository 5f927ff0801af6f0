"""The loss, forward and backward: time on one core and extra memory, against how others compute it.

    python bench/loss.py [--repeats 7] [--out loss.json]

All contenders get the same logits and labels (a third of the pixels unknown) and are timed in turn, round after round,
in CPU time of one thread, which other programs on the machine change less than wall time. MONAI and
segmentation_models_pytorch are timed with the Python of the peers' environment (bench/peers), beside the same loop, if
they are installed there; neither knows a mask, so they do less. A batch holds label words: ours and `TverskyLoss` are
timed from there; the loop and the peers get planes that are ready. Extra memory is the highest resident memory of one
pass, in a process of its own, above what was there before.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from measuring import Row, median, options, peers_folder, report, timed
from torch import Tensor

ALPHA, BETA, SMOOTH = 0.6, 0.4, 1e-6
SHAPES = {"5": (24, 5, 256, 256), "14": (28, 14, 256, 256)}
AIMS = {"5": 3.0, "14": 6.0}
HERE = ("loop", "plain", "compiled", "compiled, planes", "ours", "ours, channels last")
PEERS = {"monai": "monai", "smp": "segmentation_models_pytorch"}
NAMES = {
    "loop": "loop over classes, NaN masks",
    "plain": "vectorised torch (`TverskyLoss`), words unpacked",
    "compiled": "the same, torch.compile",
    "compiled, planes": "vectorised torch, torch.compile, planes ready before",
    "ours": "fused, from words",
    "ours, channels last": "fused, from words, channels-last logits",
    "monai": "MONAI's TverskyLoss (no mask)",
    "smp": "segmentation_models_pytorch's TverskyLoss (no mask)",
}

Loss = Callable[[Tensor], Tensor]


def make_batch(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Draw logits and label words: unknown by patch and class (as crops annotate) and by blobs of pixels."""
    generator = torch.Generator().manual_seed(0)
    batch, classes, rows, columns = shape
    word = torch.uint8 if classes <= 8 else torch.int16
    logits = 3.0 * torch.randn(shape, generator=generator)
    bit = (1 << torch.arange(classes)).view(1, -1, 1, 1)
    annotated = torch.rand((batch, classes, 1, 1), generator=generator) < 0.8
    inside = torch.rand((batch, 1, rows // 8, columns // 8), generator=generator) < 0.85
    inside = inside.repeat_interleave(8, 2).repeat_interleave(8, 3)
    present = (torch.rand((batch, classes, rows // 8, columns // 8), generator=generator) < 0.2).long()
    present = (present * bit).sum(1).repeat_interleave(8, 1).repeat_interleave(8, 2)
    known = (((annotated & inside).long()) * bit).sum(1)
    return logits, present.to(word), known.to(word)


def unpack(words: Tensor, classes: int) -> Tensor:
    bits = torch.arange(classes).to(words.dtype).view(1, -1, 1, 1)
    return ((words.unsqueeze(1) >> bits) & 1).bool()


def loop(logits: Tensor, target: Tensor) -> Tensor:
    """Take one class at a time and pick its known pixels, as reference experiments do."""
    total = torch.zeros(())
    for c in range(logits.shape[1]):
        known = ~torch.isnan(target[:, c])
        p, t = torch.sigmoid(logits[:, c][known]), target[:, c][known]
        true_pos = (p * t).sum()
        false_pos, false_neg = (p * (1 - t)).sum(), ((1 - p) * t).sum()
        total = total + 1 - (true_pos + SMOOTH) / (true_pos + ALPHA * false_pos + BETA * false_neg + SMOOTH)
    return total / logits.shape[1]


def make_loss(name: str, present: Tensor, known: Tensor, classes: int) -> Loss:
    """Prepare a contender: what its users have ready before the loss is called is made here, outside the time."""
    if name in {"loop", "monai", "smp"}:
        planes = unpack(present, classes).float()
        if name == "loop":
            target = planes.masked_fill(~unpack(known, classes), float("nan"))
            return lambda logits: loop(logits, target)
        if name == "monai":
            from monai.losses import TverskyLoss as Monai

            monai = Monai(sigmoid=True, alpha=ALPHA, beta=BETA, batch=True, smooth_nr=SMOOTH, smooth_dr=SMOOTH)
            return lambda logits: monai(logits, planes)
        from segmentation_models_pytorch.losses import TverskyLoss as Smp

        smp = Smp(mode="multilabel", from_logits=True, alpha=ALPHA, beta=BETA, smooth=SMOOTH)
        return lambda logits: smp(logits, planes)
    from counterpoise.losses.tversky import TverskyLoss

    ours = TverskyLoss([1.0] * classes, ALPHA, BETA, SMOOTH)
    if name.startswith("ours"):
        return lambda logits: ours.of_words(logits, present, known)

    def plain(logits: Tensor) -> Tensor:
        return ours(logits, unpack(present, classes).float(), unpack(known, classes))

    if name == "compiled, planes":
        planes, mask = unpack(present, classes).float(), unpack(known, classes)
        compiled = torch.compile(ours, dynamic=False)
        return lambda logits: compiled(logits, planes, mask)
    return torch.compile(plain, dynamic=False) if name == "compiled" else plain


def contender(name: str, shape: tuple[int, ...]) -> Callable[[], float]:
    """Return one pass, forward and backward, that returns the loss; the first one may compile."""
    logits, present, known = make_batch(shape)
    if name.endswith("channels last"):
        logits = logits.contiguous(memory_format=torch.channels_last)
    logits.requires_grad_()
    loss = make_loss(name, present, known, shape[1])

    def once() -> float:
        value = loss(logits)
        torch.autograd.grad(value, logits)
        return float(value.detach())

    return once


def time_in_turn(names: list[str], shape: tuple[int, ...], repeats: int) -> dict[str, list[float]]:
    """Time contenders round after round: milliseconds of CPU time of every round, in one thread."""
    passes = {name: contender(name, shape) for name in names}
    values = {name: once() for name, once in passes.items()}
    masked = [values[name] for name in names if name not in PEERS]
    assert max(masked) - min(masked) < 1e-5, values
    times: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(repeats):
        for name, once in passes.items():
            times[name].append(timed(once)[1] * 1e3)
    return times


def extra_memory(name: str, shape: tuple[int, ...]) -> int:
    """Return the bytes by which one pass raises the highest resident memory (Linux)."""
    once = contender(name, shape)
    if name.startswith("compiled"):
        once()
        ctypes.CDLL(None).malloc_trim(0)  # what the first pass has freed is not there for the second
    else:  # load and compile what a first call loads, without the memory of a large batch
        contender(name, (1, *shape[1:2], 16, 16))()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the highest value so far
    before = resident("VmRSS")
    once()
    return resident("VmHWM") - before


def resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def ask(python: str | Path, *arguments: str) -> Any:
    """Run this script in a process of its own and read what it prints; None if it fails."""
    done = subprocess.run([python, __file__, *arguments], text=True, capture_output=True, check=False)
    if done.returncode:
        print(f"{arguments} failed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def compare(label: str, repeats: int) -> list[Row]:
    """Measure all contenders at one shape."""
    times = time_in_turn(list(HERE), SHAPES[label], repeats)
    yardstick = dict.fromkeys(HERE, median(times["loop"]))
    pythons: dict[str, str | Path] = dict.fromkeys(HERE, sys.executable)
    peers = peers_folder() / "bin" / "python"
    for name in PEERS:
        found = ask(peers, "--time", name, "--shape", label, "--repeats", str(repeats)) if peers.exists() else None
        if found is None:
            print(f"{NAMES[name]}: not installed in {peers_folder()}, left out")
            continue
        times[name], yardstick[name], pythons[name] = found[name], median(found["loop"]), peers
    memory = {name: ask(pythons[name], "--memory", name, "--shape", label) for name in times}
    rows = []
    for name, values in times.items():
        speed = yardstick[name] / median(values)
        share = memory[name] / memory["loop"]
        rows.append(
            Row(
                what=f"loss {SHAPES[label]}: {NAMES[name]}",
                measured=f"{median(values):.0f} ms, {memory[name] / 1e6:.0f} MB",
                against=f"loop {yardstick[name]:.0f} ms, {memory['loop'] / 1e6:.0f} MB",
                ratio=f"{speed:.1f} x as fast, {share:.2f} of the memory",
                aim=f">= {AIMS[label]:.0f} x, <= 0.5" if name.startswith("ours") else "",
                met=speed >= AIMS[label] and share <= 0.5 if name.startswith("ours") else None,
                numbers={"ms": values, "extra_bytes": memory[name], "loop_ms": yardstick[name]},
            )
        )
    return rows


def main() -> None:
    parser = options(__doc__, repeats=7)
    parser.add_argument("--shape", choices=list(SHAPES), help="only this number of classes")
    parser.add_argument("--time", metavar="NAME", help="time one peer beside the loop and print milliseconds")
    parser.add_argument("--memory", metavar="NAME", help="measure one contender's extra memory and print bytes")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.time:
        if find_spec(PEERS[given.time]) is None:
            sys.exit(f"{PEERS[given.time]} is not installed")
        print(json.dumps(time_in_turn(["loop", given.time], SHAPES[given.shape], given.repeats)))
    elif given.memory:
        print(json.dumps(extra_memory(given.memory, SHAPES[given.shape])))
    else:
        labels = [given.shape] if given.shape else list(SHAPES)
        report([row for label in labels for row in compare(label, given.repeats)], given.out)


if __name__ == "__main__":
    main()
