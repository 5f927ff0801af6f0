"""Small runs for benchmarks that disturb them: an experiment of seconds, its processes, and what it must end as."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import psutil
import torch
from tensorboardX.proto.event_pb2 import Event

from counterpoise.files.atomic import is_leftover, read_lines
from counterpoise.phantom.make import write_phantom
from counterpoise.runs.layout import RunFolder, TrialFolder

__all__ = ["differences", "find_children", "start_run", "write_data", "write_run"]

_CLOCKS = {"train_s", "validation_s", "data_wait_s"}
"""What differs between two equal epochs."""


def write_data(folder: Path) -> Path:
    """Write the small made volume; return its list of crops."""
    return write_phantom(folder, seed=3, size="small")


def write_run(
    folder: Path,
    datasplit: Path,
    *,
    epochs: int = 3,
    steps: int = 20,
    seeds: int = 1,
    width: int = 4,
    slots: int = 2,
    retries: int = 1,
    store: Path = Path("store"),
) -> Path:
    """Write an experiment of two arms into a new folder; return its configuration. The run is ``folder/run``."""
    folder.mkdir(parents=True)
    experiment = folder / "experiment.toml"
    experiment.write_text(
        f"""\
preset = "demo"
[data]
datasplit = {json.dumps(str(datasplit))}
classes = ["nuc", "mito_mem", "pm"]
voxel_size_nm = [16, 16, 16]
store = {json.dumps(str(store))}
[sampling]
patch_shape = [32, 32]
[model]
width = {width}
depth = 2
[training]
epochs = {epochs}
steps_per_epoch = {steps}
batch_size = 4
precision = "float32"
[validation]
tiles_per_crop = 4
[arms]
strategies = ["weight_uniform", "weight_inv_freq"]
seeds = {seeds}
[run]
folder = "run"
slots = {slots}
threads = 1
retries = {retries}
""",
        encoding="utf-8",
    )
    return experiment


def start_run(
    experiment: Path, output: IO[bytes], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start ``counterpoise run`` as the leader of a process group."""
    return subprocess.Popen(
        [sys.executable, "-m", "counterpoise", "run", experiment],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )


def find_children(runner: int) -> tuple[dict[Path, int], list[int]]:
    """Find the processes that a runner has started: those of trials by their folders, and others."""
    trials, others = {}, []
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(runner).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                words = child.cmdline()
                if "trial" in words:
                    trials[Path(words[words.index("trial") + 1])] = child.pid
                else:
                    others.append(child.pid)
    return trials, others


def differences(expected: RunFolder, found: RunFolder) -> list[str]:
    """Compare all that two runs of one experiment have left; name what is not the same to the bit.

    Times differ, and so do the bytes around equal tensors: values are compared. Nothing temporary may be left.
    """
    wrong = [f"{file} is left over" for file in found.path.rglob("*") if is_leftover(file.name)]
    names = ("class_frequencies.json", "weights.json", "validation_tiles.json", "results.csv", "verdict.json")
    wrong += [n for n in names if (expected.path / n).read_bytes() != (found.path / n).read_bytes()]
    if [(t.arm, t.seed) for t in expected.trials()] != [(t.arm, t.seed) for t in found.trials()]:
        return [*wrong, "its trials are others"]
    for one, other in zip(expected.trials(), found.trials(), strict=True):
        wrong += [f"{one.arm}/{one.path.name}: {what}" for what in _trial_differences(one, other)]
    return wrong


def _trial_differences(expected: TrialFolder, found: TrialFolder) -> Iterator[str]:
    if _without_store(expected) != _without_store(found):
        yield "trial.toml"
    if json.loads(found.status.read_text())["state"] != "finished":
        yield "not finished"
        return
    for name in ("counts.npz", "thresholds.npz", "examples.npz"):
        if not _same(_arrays(expected.path / name), _arrays(found.path / name)):
            yield name
    for name in ("last.pt", "best.pt"):
        if not _same(_checkpoint(expected.path / name), _checkpoint(found.path / name)):
            yield name
    if _epochs(expected) != _epochs(found):
        yield "metrics.jsonl"
    if _scalars(expected) != _scalars(found):
        yield "TensorBoard's scalars"
    if found.previous_checkpoint.exists():
        yield "previous.pt is left over"


def _without_store(trial: TrialFolder) -> dict[str, Any]:
    content = tomllib.loads(trial.config.read_text(encoding="utf-8"))
    return {key: value for key, value in content.items() if key != "store"}


def _arrays(file: Path) -> dict[str, Any]:
    with np.load(file, allow_pickle=False) as content:
        return dict(content)


def _checkpoint(file: Path) -> Any:
    return torch.load(file, map_location="cpu", weights_only=True)


def _same(one: Any, other: Any) -> bool:
    """Compare nested values; arrays and tensors by type, shape and bytes."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and _same(one.numpy(), other.numpy())
    if isinstance(one, np.ndarray):
        return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _epochs(trial: TrialFolder) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k not in _CLOCKS} for line in read_lines(trial.metrics)]


def _scalars(trial: TrialFolder) -> dict[tuple[str, int], float]:
    """Read what TensorBoard would show: a file that begins anew at an epoch takes back what was said of it before."""
    found: dict[tuple[str, int], float] = {}
    for file in sorted(trial.path.glob("events.out.tfevents.*")):
        for event in _events(file.read_bytes()):
            if event.HasField("session_log"):
                found = {key: value for key, value in found.items() if key[1] < event.step}
            found |= {(value.tag, event.step): value.simple_value for value in event.summary.value}
    return found


def _events(data: bytes) -> Iterator[Event]:
    """Read records (length, checksum, protocol buffer, checksum) up to the first that is torn."""
    at = 0
    while at + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, at)
        if at + 16 + length > len(data):
            return
        yield Event.FromString(data[at + 12 : at + 12 + length])
        at += 16 + length
