"""What every benchmark shares: the machine's description, medians, and rows for the table of results."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parent
CLASSES = ("cell", "nuc", "mito", "er", "ves")
"""Classes of the made crops: from one that fills most of a crop to one that is rare."""
VERSIONS = ("torch", "numpy", "numba", "zarr", "numcodecs", "cellmap-data", "monai")


@dataclass(frozen=True)
class Row:
    """One line of the table of results.

    ``met`` is None where nothing was aimed at.
    """

    what: str
    measured: str
    against: str = ""
    ratio: str = ""
    aim: str = ""
    met: bool | None = None
    numbers: dict[str, Any] = field(default_factory=dict)


def options(description: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """Make the parser that every benchmark starts from: where crops are, how often to repeat, where results go."""
    parser = argparse.ArgumentParser(
        description=(description or "").split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--crops", type=Path, default=cache_folder() / "crops-60", help="made crops; made if missing")
    parser.add_argument("--repeats", type=int, default=defaults.get("repeats", 5), help="times each thing is measured")
    parser.add_argument("--out", type=Path, help="write the rows here as JSON")
    return parser


def cache_folder() -> Path:
    """Return where made crops and environments are kept: ``$COUNTERPOISE_BENCH`` or the user's cache."""
    given = os.environ.get("COUNTERPOISE_BENCH")
    return Path(given) if given else Path.home() / ".cache" / "counterpoise" / "bench"


def peers_folder() -> Path:
    """Return where the environment of the other tools is: ``$COUNTERPOISE_PEERS`` or the user's cache."""
    given = os.environ.get("COUNTERPOISE_PEERS")
    return Path(given) if given else Path.home() / ".cache" / "counterpoise" / "peers"


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Make a folder for stores, on the same disk as the made crops (``/tmp`` may be memory)."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryDirectory(prefix="scratch-", dir=cache_folder())


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def timed(function: Callable[[], Any]) -> tuple[float, float, Any]:
    """Call once; return wall seconds, CPU seconds of this process (all threads) and the result."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = function()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def machine() -> dict[str, Any]:
    """Describe where and with what the numbers were made."""
    versions = {}
    for name in VERSIONS:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "versions": versions,
        "load": round(os.getloadavg()[0], 1),
        "commit": _commit(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


def _commit() -> str:
    found = subprocess.run(
        ["git", "-C", BENCH, "describe", "--always", "--dirty"], text=True, capture_output=True, check=False
    )
    return found.stdout.strip()


def markdown(rows: Sequence[Row]) -> str:
    """Lay rows out as a table; a missed aim is said so."""
    head = "| what | measured | against | ratio | aim | |\n| --- | --- | --- | --- | --- | --- |\n"
    verdict = {True: "met", False: "**missed**", None: ""}
    return head + "".join(
        f"| {row.what} | {row.measured} | {row.against} | {row.ratio} | {row.aim} | {verdict[row.met]} |\n"
        for row in rows
    )


def report(rows: Sequence[Row], out: Path | None) -> None:
    """Print the rows with the machine they were measured on, and write them where asked."""
    about = machine()
    print(markdown(rows))
    print(json.dumps(about))
    if out is not None:
        content = {"script": Path(sys.argv[0]).stem, "machine": about, "rows": [asdict(row) for row in rows]}
        out.write_text(json.dumps(content, indent=1), encoding="utf-8")
