"""Seconds from a process's imports to its first batch, with the store present, against the number of crops.

Two starts are measured, each in fresh processes. A **trial** opens the store it was planned on, checks that its content
is the planned one, and draws: every training process pays this. A **run** first reads the list and the metadata of
every crop, looks at every chunk's file to see whether the store is still that of these crops, and whether the store was
changed since it was last read in full: one process per experiment pays this. Crops are small (64^3), because
their number is what is varied; files are in the page cache. cellmap-data's loader is measured on the same crops with
``--peers``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from made_crops import write_crops
from measuring import BENCH, Row, cache_folder, median, options, peers_folder, report, scratch

AIM_S = 0.5
BATCH = 8

_PROGRAM = """
import json, sys, time
from pathlib import Path
sys.path[:0] = [{bench!r}]
from decoding import request_for
from measuring import CLASSES
from counterpoise.data.crops import load_crops
from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.sampler import Sampler
from counterpoise.store import open_or_build, open_store

def first_batch(store):
    Sampler(store, "train", SamplingConfig(patch_shape=(256, 256))).batch(0, 0, {batch})

def trial():
    store = open_store(Path({store!r}))
    store.content_hash()
    first_batch(store)

def run():
    first_batch(open_or_build(request_for(load_crops(Path({datasplit!r}), CLASSES)), Path({folder!r}), workers=2))

began = time.perf_counter()
{what}()
print(time.perf_counter() - began)
"""


def measure(what: str, datasplit: Path, folder: Path, store: str) -> float:
    """Start once in a fresh process; return the seconds it took after its imports."""
    program = _PROGRAM.format(
        bench=str(BENCH), batch=BATCH, store=store, datasplit=str(datasplit), folder=str(folder), what=what
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, text=True, capture_output=True)
    return float(found.stdout)


def prepare(datasplit: Path, folder: Path) -> str:
    """Build the store, and let it be read in full once its files have settled; return its path."""
    measure("run", datasplit, folder, "")
    time.sleep(2.1)
    measure("run", datasplit, folder, "")
    (index,) = folder.glob("*/index.json")
    return str(index.parent)


def measure_cellmap_data(datasplit: Path) -> float:
    python, script = peers_folder() / "bin" / "python", BENCH / "peers" / "loaders.py"
    found = subprocess.run(
        [python, script, "cellmap-data straight", datasplit], input="", check=True, text=True, capture_output=True
    )
    return float(json.loads(found.stdout.splitlines()[0])["first_batch_s"])


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--numbers", type=int, nargs="*", default=[20, 60, 200, 300, 1000])
    parser.add_argument("--peers", action="store_true", help="measure cellmap-data's loader too")
    given = parser.parse_args()
    whole = write_crops(cache_folder() / f"small-{max(given.numbers)}", crops=max(given.numbers), side=64, margin=16)
    lines = whole.read_text(encoding="utf-8").splitlines(keepends=True)
    seconds: dict[str, dict[int, float]] = {"trial": {}, "run": {}, "cellmap-data": {}}
    for number in given.numbers:
        with scratch() as name:
            folder = Path(name)
            datasplit = folder / "datasplit.csv"
            datasplit.write_text("".join(lines[:number]), encoding="utf-8")
            store = prepare(datasplit, folder / "store")
            times = {
                what: [measure(what, datasplit, folder / "store", store) for _ in range(given.repeats)]
                for what in ("trial", "run")
            }
            if given.peers:
                times["cellmap-data"] = [measure_cellmap_data(datasplit) for _ in range(3)]
        for what, values in times.items():
            seconds[what][number] = median(values)
        print(f"  {number}: {json.dumps({k: round(v[number], 3) for k, v in seconds.items() if v})}", file=sys.stderr)
    peers = ", ".join(f"{n}: {s:.2f}" for n, s in seconds["cellmap-data"].items())
    report(
        [
            Row(
                f"{what}: start to first batch, beyond imports (s)",
                ", ".join(f"{number}: {value:.3f}" for number, value in seconds[what].items()),
                f"cellmap-data {peers}" if peers else "",
                f"{seconds[what][max(given.numbers)] / seconds[what][min(given.numbers)]:.1f} x from "
                f"{min(given.numbers)} to {max(given.numbers)}",
                f"< {AIM_S} s, flat",
                max(seconds[what].values()) < AIM_S,
                {"seconds": seconds[what]},
            )
            for what in ("trial", "run")
        ],
        given.out,
    )


if __name__ == "__main__":
    main()
