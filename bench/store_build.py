"""Building a voxel store, against decoding the same raw and label chunks alone; and its memory for a large crop.

Both use the same files (in the page cache), the same decoder and the same number of threads, in turn. Memory is
measured in a process of its own: the growth of its peak beyond what it had before it began to build.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from decoding import decode_alone, request_for, store_arrays, warm_up
from made_crops import write_crops, write_large_crop
from measuring import CLASSES, Row, cache_folder, median, options, report, scratch, timed

from counterpoise.store import open_or_build
from counterpoise.store.build import voxels_to_decode
from counterpoise.volumes.crops import load_crops

AIM = 1.5


def write_alone(file: Path, size: int) -> None:
    """Write as many bytes as a store has, and nothing else: what the system takes for it."""
    piece = os.urandom(1 << 25)
    with file.open("wb", buffering=0) as stream:
        for start in range(0, size, len(piece)):
            stream.write(piece[: size - start])
    file.unlink()


def measure_build(datasplit: Path, repeats: int, workers: int) -> list[Row]:
    request = request_for(load_crops(datasplit, CLASSES))
    arrays = store_arrays(request)
    stored = warm_up(arrays)
    built, decoded, written, ratios, of_both = [], [], [], [], []
    for _ in range(repeats):
        floor, floor_cpu, _ = timed(lambda: decode_alone(arrays, workers))
        with scratch() as folder:
            wall, cpu, store = timed(lambda to=Path(folder): open_or_build(request, to, workers=workers))
            size = sum(file.stat().st_size for file in store.path.iterdir())
            writing, writing_cpu, _ = timed(lambda to=Path(folder) / "plain", size=size: write_alone(to, size))
        built.append(wall)
        decoded.append(floor)
        written.append(writing)
        ratios.append(wall / floor)
        of_both.append(wall / (floor + writing))
        print(
            f"  build {wall:.2f} s (CPU {cpu:.2f}), decode {floor:.2f} s (CPU {floor_cpu:.2f}), "
            f"write {writing:.2f} s (CPU {writing_cpu:.2f})",
            file=sys.stderr,
        )
    ratio = median(ratios)
    build = Row(
        f"store build, {len(request.crop_set.crops)} crops, {voxels_to_decode(request) / 1e9:.2f} G voxels "
        f"({stored / 1e9:.2f} GB compressed) into {size / 1e9:.2f} GB",
        f"{median(built):.2f} s",
        f"decode alone {median(decoded):.2f} s",
        f"{ratio:.2f} x",
        f"<= {AIM} x",
        ratio <= AIM,
        {"build_s": built, "decode_s": decoded, "workers": workers},
    )
    both = Row(
        "the same, beside decoding and then writing as many bytes to a file",
        build.measured,
        f"decode {median(decoded):.2f} s + write {median(written):.2f} s",
        f"{median(of_both):.2f} x",
        numbers={"write_s": written},
    )
    return [build, both]


_PEAK = """
import sys
from pathlib import Path
sys.path[:0] = [{bench!r}]
from decoding import request_for
from measuring import CLASSES
from counterpoise.volumes.crops import load_crops
from counterpoise.store import open_or_build

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024

request = request_for(load_crops(Path({datasplit!r}), CLASSES))
before = peak()
open_or_build(request, Path({folder!r}), workers=2)
print(peak() - before)
"""


def measure_peak(datasplit: Path) -> int:
    """Build in a fresh process; return how far its resident memory (files it maps included) rose at most."""
    with scratch() as folder:
        program = _PEAK.format(bench=str(Path(__file__).parent), datasplit=str(datasplit), folder=folder)
        found = subprocess.run([sys.executable, "-c", program], check=True, text=True, capture_output=True)
    return int(found.stdout)


def measure_memory(sides: tuple[int, ...]) -> Row:
    peaks = {}
    for side in sides:
        folder = cache_folder() / f"large-{side}"
        datasplit = folder / "datasplit.csv"
        peaks[side] = measure_peak(datasplit if datasplit.exists() else write_large_crop(folder, side))
    small, large = peaks[min(sides)], peaks[max(sides)]
    written = 2 * max(sides) ** 3
    return Row(
        f"memory of a store build, one crop of {max(sides)}^3 ({written / 1e9:.1f} GB written)",
        ", ".join(f"{side}^3: +{peak / 1e6:.0f} MB" for side, peak in peaks.items()),
        f"{min(sides)}^3",
        f"{large / small:.2f} x for {(max(sides) / min(sides)) ** 3:.0f} x the voxels",
        "bounded",
        large < small + 64e6,
        {"peak_bytes": {str(side): peak for side, peak in peaks.items()}},
    )


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--sides", type=int, nargs="*", default=[500, 1000, 1500], help="large crops for the memory")
    given = parser.parse_args()
    datasplit = write_crops(given.crops, crops=60, side=200, margin=92)
    rows = measure_build(datasplit, given.repeats, given.workers)
    if given.sides:
        rows.append(measure_memory(tuple(given.sides)))
    report(rows, given.out)


if __name__ == "__main__":
    main()
