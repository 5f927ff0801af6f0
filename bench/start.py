"""Seconds from a process's imports to its first batch, with the store present, against the number of crops.

Two starts are measured, each in fresh processes. A **trial** does what every training process does before its first
step, but for the network: it opens the store it was planned on, checks that its content and its validation tiles are
those that were planned, and draws. A **run** does what one process per experiment does: it reads the configuration,
looks whether every file that the store was made from is as it was, derives weights, tiles and trials, and then draws a
batch itself. For comparison, ``opened`` is a run that opens every crop, as it does when something has changed, and
``files`` is the least that a run can take: asking the system for the state of every file, and nothing else.

numba loads most of its own modules at the first call of a compiled function, in a time that depends on no crop. They
count as imports here, and are shown beside the others. Crops are small (64^3), because their number is what is varied;
files are in the page cache. cellmap-data's loader is measured on the same crops with ``--peers``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from made_crops import write_crops
from measuring import BENCH, CLASSES, Row, cache_folder, median, options, peers_folder, report, scratch

AIM_S = 0.5
BATCH = 8
STARTS = ("trial", "run", "opened", "files")

_EXPERIMENT = """
[data]
datasplit = "datasplit.csv"
classes = {classes}
voxel_size_nm = [8, 8, 8]
store = "store"
[sampling]
patch_shape = [256, 256]
[training]
batch_size = {batch}
precision = "float32"
"""

_PROGRAM = """
import json, os, sys, time
began = time.perf_counter()
from pathlib import Path
from numba.core.registry import cpu_target
from counterpoise.experiment.load import load_experiment
from counterpoise.sampling.sampler import Sampler
from counterpoise.sampling.tiles import list_tiles
from counterpoise.preflight.design import design_experiment
from counterpoise.preflight.inputs import read_inputs
from counterpoise.machine.hardware import find_hardware
from counterpoise.store import open_store
imported = time.perf_counter()
cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()
loaded = time.perf_counter()

folder, what, batch = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
file, found = folder / "experiment.toml", None

def trial():
    experiment = load_experiment(file)
    (path,) = [index.parent for index in experiment.data.store.glob("*/index.json")]
    store = open_store(path)
    store.content_hash()
    training, validation = (Sampler(store, split, experiment.sampling) for split in ("train", "validate"))
    list_tiles(validation.plan, store, cap=experiment.validation.tiles_per_crop).hash()
    training.batch(0, 0, batch)

def run(open_crops=False):
    global found
    experiment = load_experiment(file)
    hardware = find_hardware()
    found = read_inputs(experiment, open_crops=open_crops).require_usable()
    design = design_experiment(found, hardware)
    Sampler(design.store, "train", experiment.sampling).batch(0, 0, batch)

def opened():
    run(open_crops=True)

def files():
    for name in names:
        try:
            os.stat(name)
        except OSError:
            pass

if what == "files":
    listed = max((folder / "store").glob("known-*"), key=lambda file: file.stat().st_mtime_ns)
    _, _, *names = listed.read_bytes().split(b"\\0")
wall, computed = time.perf_counter(), time.process_time()
globals()[what]()
print(json.dumps({
    "wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - computed,
    "imports_s": imported - began, "numba_s": loaded - imported,
    "is_recognised": found is not None and found.is_recognised,
}))
"""

Times = dict[str, float]


def measure(what: str, folder: Path) -> Times:
    """Start once in a fresh process; return wall and CPU seconds after its imports, and those of the imports."""
    arguments = [sys.executable, "-c", _PROGRAM, str(folder), what, str(BATCH)]
    done = subprocess.run(arguments, check=False, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"a start ({what}) failed: {done.stderr}")
    found: Times = json.loads(done.stdout)
    return found


def prepare(folder: Path, lines: list[str]) -> None:
    """Build the store, and let it be read in full once it has settled: from then on it is recognised."""
    (folder / "datasplit.csv").write_text("".join(lines), encoding="utf-8")
    text = _EXPERIMENT.format(classes=json.dumps(CLASSES), batch=BATCH)
    (folder / "experiment.toml").write_text(text, encoding="utf-8")
    measure("run", folder)
    time.sleep(2.1)
    measure("run", folder)
    if not measure("run", folder)["is_recognised"]:
        raise RuntimeError(f"the store in {folder} is not recognised after it was built and read")


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
    starts: dict[str, dict[int, Times]] = {what: {} for what in STARTS}
    peers: dict[int, float] = {}
    imports: list[Times] = []
    for number in given.numbers:
        with scratch() as name:
            folder = Path(name)
            prepare(folder, lines[:number])
            times: dict[str, list[Times]] = {what: [] for what in STARTS}
            for _ in range(given.repeats):
                for what, turns in times.items():
                    turns.append(measure(what, folder))
            if given.peers:
                peers[number] = median([measure_cellmap_data(folder / "datasplit.csv") for _ in range(3)])
        for what, turns in times.items():
            starts[what][number] = {key: median([turn[key] for turn in turns]) for key in ("wall_s", "cpu_s")}
            imports += turns
        said = {what: {key: round(value, 3) for key, value in starts[what][number].items()} for what in STARTS}
        print(f"  {number}: {json.dumps(said)} {peers.get(number, '')}", file=sys.stderr)
    report([*(_row(what, starts[what], peers) for what in STARTS), _imports(imports)], given.out)


def _row(what: str, times: dict[int, Times], peers: dict[int, float]) -> Row:
    has_aim = what in ("trial", "run")
    first, last = (times[number]["wall_s"] for number in (min(times), max(times)))
    against = "cellmap-data " + ", ".join(f"{number}: {seconds:.2f}" for number, seconds in peers.items())
    return Row(
        f"{what}: start to first batch, beyond imports (s; in brackets, of a processor)"
        if what != "files"
        else "the state of every file (s; in brackets, of a processor)",
        ", ".join(f"{number}: {time['wall_s']:.3f} ({time['cpu_s']:.3f})" for number, time in times.items()),
        against if peers and has_aim else "",
        f"{last / first:.1f} x from {min(times)} to {max(times)}",
        f"< {AIM_S} s, flat" if has_aim else "",
        max(time["wall_s"] for time in times.values()) < AIM_S if has_aim else None,
        {"seconds": times},
    )


def _imports(turns: list[Times]) -> Row:
    own, numba = (median([turn[key] for turn in turns]) for key in ("imports_s", "numba_s"))
    measured = f"imports {own:.2f}, what numba loads at its first call {numba:.2f}"
    return Row("modules of every start (s)", measured, numbers={"imports_s": own, "numba_s": numba})


if __name__ == "__main__":
    main()
