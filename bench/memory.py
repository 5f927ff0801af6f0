"""Memory of a second, third and fourth training process on one machine, and whether a process grows.

Processes train side by side from one store, one thread each. A process of the same kind trains the same network on
tensors of its own that never change: what it takes is the framework's. PSS (``smaps_rollup``) counts shared pages by
the share that falls to each process, so that sums over processes are what the machine spends; pages of the store's
files are the page cache's, one copy for all. Growth is that of one process over 1000 batches.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

from decoding import request_for
from made_crops import write_crops
from measuring import BENCH, CLASSES, Row, median, options, report, scratch

from counterpoise.store import open_or_build
from counterpoise.volumes.crops import load_crops

AIM_BYTES, PROCESSES = 50e6, 4

_TRAIN = """
import gc, json, sys
from pathlib import Path
sys.path[:0] = [{bench!r}]
import torch
from counterpoise.sampling.sampler import Batch, Sampler
from counterpoise.store import open_store
from counterpoise.training.device import keep_freed_memory, open_device
from counterpoise.training.seeding import prepare_torch
from counterpoise.training.trainer import Trainer
from counterpoise.sampling.exposure import ExposureLedger
from trials import trial_config

class Fixed:
    waited_s = 0.0
    def __init__(self, batch):
        self._batch = batch
    def batch(self, seed, step, batch_size):
        return self._batch

def say(**values):
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
    found = {{line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines}}
    print(json.dumps({{"pss": found["Pss"], "anonymous": found["Anonymous"]}}), flush=True)
    sys.stdin.readline()

keep_freed_memory()
prepare_torch(0, threads=1)
store = open_store(Path({store!r}))
side, batch = {side}, 8
config = trial_config(store, width=2, depth=1, side=side, batch_size=batch, steps=10**6)
if {kind!r} == "trial":
    sampler = Sampler(store, "train", config.sampling, threads=1)
else:
    words = torch.zeros((batch, side, side), dtype=torch.uint8)
    sampler = Fixed(Batch(torch.rand(batch, 1, side, side), words, words + 31, torch.zeros(batch, dtype=torch.int64)))
trainer = Trainer(config, sampler, open_device("cpu", "float32"))
ledger = ExposureLedger(config.classes)
trainer.model.train()
for step in range({warm_up}):
    trainer._step(step, ledger)
say()
for step in range({warm_up}, {warm_up} + {more}):
    trainer._step(step, ledger)
say()
"""


def train_together(
    kind: str, store: Path, processes: int, *, side: int, more: int, warm_up: int = 20
) -> list[list[dict[str, int]]]:
    """Train in some processes at once; return what each takes, when all have warmed up and when all have ended."""
    program = _TRAIN.format(bench=str(BENCH), store=str(store), kind=kind, side=side, more=more, warm_up=warm_up)
    running = [
        subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(processes)
    ]
    found: list[list[dict[str, int]]] = []
    for _ in range(2):
        answers = []
        for process in running:
            assert process.stdout is not None
            answers.append(json.loads(process.stdout.readline()))
        found.append(answers)
        for process in running:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
    for process in running:
        process.wait()
    return found


def extra_bytes(store: Path, *, side: int) -> dict[int, float]:
    """Return what the 2nd, 3rd, ... process adds beyond what it adds without data."""

    def total(kind: str, processes: int) -> int:
        return sum(process["pss"] for process in train_together(kind, store, processes, side=side, more=0)[0])

    sums = {kind: [total(kind, n) for n in range(1, PROCESSES + 1)] for kind in ("trial", "framework")}
    added = {kind: [b - a for a, b in itertools.pairwise(totals)] for kind, totals in sums.items()}
    return {n + 2: added["trial"][n] - added["framework"][n] for n in range(PROCESSES - 1)}


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--batches", type=int, default=1000, help="over which growth is measured")
    parser.add_argument("--side", type=int, default=256, help="of a patch")
    given = parser.parse_args()
    datasplit = write_crops(given.crops, crops=60, side=200, margin=92)
    with scratch() as folder:
        store = open_or_build(request_for(load_crops(datasplit, CLASSES)), Path(folder), workers=2)
        rounds = [extra_bytes(store.path, side=given.side) for _ in range(given.repeats)]
        before, after = train_together("trial", store.path, 1, side=given.side, more=given.batches, warm_up=200)
    extra = {n: median([r[n] for r in rounds]) for n in rounds[0]}
    growth = {key: after[0][key] - before[0][key] for key in ("pss", "anonymous")}
    report(
        [
            Row(
                f"PSS that the 2nd to {PROCESSES}th trial process adds beyond the framework's",
                ", ".join(f"{n}: {value / 1e6:.0f} MB" for n, value in extra.items()),
                "",
                "",
                f"< {AIM_BYTES / 1e6:.0f} MB each",
                max(extra.values()) < AIM_BYTES,
                {"rounds": rounds},
            ),
            Row(
                f"growth of a trial process over {given.batches} batches",
                f"memory of its own {growth['anonymous'] / 1e6:+.1f} MB "
                f"(PSS {growth['pss'] / 1e6:+.0f} MB: pages of the store it has come to share)",
                "",
                f"{growth['anonymous'] / given.batches / 1e3:.2f} kB per batch",
                "none (< 2 kB per batch)",
                growth["anonymous"] < 2e3 * given.batches,
                {"before": before[0], "after": after[0]},
            ),
        ],
        given.out,
    )


if __name__ == "__main__":
    main()
