"""Training patches per second and core: our sampler, cellmap-data's loader as its users call it, MONAI's cached crops.

256 x 256 at 8 nm, five classes, the same crops, one thread each, no loader processes. Every loader runs in a process of
its own, with the Python it needs, and they take turns; rates are medians over the turns. Rates per CPU second are what
a core yields when nothing else runs on it. The environment of the others is made by ``peers/make_environment.py``.

"Rotated" is mirror, transposition and rotation. For cellmap-data it is what its toolbox's 2-D example configures, which
turns patches about x and y; "in plane" turns them about z and leaves transposition out, which its users would have to
find out. The others rotate in the plane.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from made_crops import write_crops
from measuring import Row, median, options, peers_folder, report

sys.path.insert(0, str(Path(__file__).resolve().parent / "peers"))
from make_environment import make_environment

BATCHES = {"cellmap-data": 4, "MONAI": 32, "ours": 320}
"""Batches per turn, so that a turn takes a few seconds whoever's it is: a process that has just waited for the others
finds its memory cold."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
KINDS = (
    "cellmap-data rotated", "cellmap-data in plane", "cellmap-data straight", "MONAI rotated", "MONAI straight",
    "ours rotated", "ours planes", "ours straight",
)  # fmt: skip


class Loader:
    """A loader in its own process."""

    def __init__(self, kind: str, datasplit: Path, peers_python: Path) -> None:
        self.kind = kind
        self.turns: list[dict[str, Any]] = []
        script = Path(__file__).resolve().parent / "peers" / "loaders.py"
        python = sys.executable if kind.startswith("ours") else peers_python
        self._process = subprocess.Popen(
            [python, script, kind, datasplit],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ONE_THREAD,
        )
        self.first_batch_s = float(self._answer()["first_batch_s"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.kind} ended with exit code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def take_turn(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{BATCHES[self.kind.split()[0]]}\n")
        self._process.stdin.flush()
        self.turns.append(self._answer())

    def close(self) -> None:
        self._process.communicate()

    def rate(self, what: str, per: str) -> float:
        return median([turn[what] / turn[per] for turn in self.turns])

    def numbers(self) -> dict[str, float]:
        """Rates are medians over the turns; how much is labelled varies from patch to patch and is pooled."""
        share = sum(turn["labelled"] for turn in self.turns) / sum(turn["pixels"] for turn in self.turns)
        return {
            "patches_per_s": self.rate("patches", "wall"),
            "patches_per_cpu_s": self.rate("patches", "cpu"),
            "labelled_pixels_per_cpu_s": self.rate("pixels", "cpu") * share,
            "labelled_share": share,
            "first_batch_s": self.first_batch_s,
        }


def compare(found: dict[str, dict[str, float]], ours: str, other: str, what: str, aim: float | None) -> Row:
    """Make the row that sets one of our rates beside another's."""
    mine, theirs = found[ours], found[other]
    ratio = mine[what] / theirs[what]
    unit = "patches/s and core" if what == "patches_per_cpu_s" else "labelled pixels/CPU s"
    return Row(
        f"{unit}: {ours}",
        f"{mine[what]:,.0f} ({100 * mine['labelled_share']:.1f} % labelled)",
        f"{other}: {theirs[what]:,.1f} ({100 * theirs['labelled_share']:.1f} % labelled)",
        f"{ratio:,.0f} x",
        f">= {aim:,.0f} x" if aim else "",
        ratio >= aim if aim else None,
        {"ours": mine, "other": theirs},
    )


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--without-peers", action="store_true", help="measure our sampler only")
    given = parser.parse_args()
    datasplit = write_crops(given.crops, crops=60, side=200, margin=92)
    kinds = [kind for kind in KINDS if kind.startswith("ours") or not given.without_peers]
    python = Path(sys.executable) if given.without_peers else make_environment(peers_folder())
    loaders = [Loader(kind, datasplit, python) for kind in kinds]
    for _ in range(given.repeats):
        for loader in loaders:
            loader.take_turn()
    for loader in loaders:
        loader.close()
    found = {loader.kind: loader.numbers() for loader in loaders}
    print(json.dumps(found, indent=1), file=sys.stderr)
    if given.without_peers:
        report([Row(f"patches/s and core: {k}", f"{n['patches_per_cpu_s']:,.0f}") for k, n in found.items()], given.out)
        return
    rate, labelled = "patches_per_cpu_s", "labelled_pixels_per_cpu_s"
    report(
        [
            compare(found, "ours rotated", "cellmap-data rotated", rate, 250),
            compare(found, "ours rotated", "MONAI rotated", rate, 50),
            compare(found, "ours rotated", "cellmap-data rotated", labelled, 1000),
            compare(found, "ours planes", "cellmap-data rotated", rate, None),
            compare(found, "ours rotated", "cellmap-data in plane", rate, None),
            compare(found, "ours straight", "cellmap-data straight", rate, None),
            compare(found, "ours straight", "MONAI straight", rate, None),
        ],
        given.out,
    )


if __name__ == "__main__":
    main()
