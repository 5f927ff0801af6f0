"""What this process may use, all sources together: driver, torch, control groups, schedulers, CPU set."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.machine import hardware
from counterpoise.machine.gpus import Gpu
from counterpoise.machine.hardware import find_gpus, find_hardware, usable_cores
from counterpoise.machine.limits import Limit, Resource, tightest

GIB = 1 << 30

Make = Callable[..., Any]
Write = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def machine(use_driver: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this a machine of 8 cores and 32 GiB without a GPU."""
    use_driver(None)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=32 * GIB))


def groups(files: Mapping[str, str]) -> dict[str, str]:
    mount = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    return {
        "proc/self/cgroup": "0::/job\n",
        "proc/self/mountinfo": mount,
        **{f"sys/fs/cgroup/{name}": content for name, content in files.items()},
    }


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("quota", "cores", "said"),
    [
        ("250000 100000", 2, "2.5 of 8 cores"),
        ("150000 100000", 1, "1.5 of 8 cores"),
        ("50000 100000", 1, "0.5 of 8 cores"),  # half a core is one
        ("800000 100000", 8, ""),
        ("100000000 100000", 8, ""),  # more than there are
        ("max 100000", 8, ""),
    ],
)
def test_cores_are_the_whole_ones_the_group_allows(quota: str, cores: int, said: str, write_system: Write) -> None:
    found = find_hardware({}, write_system(groups({"job/cpu.max": quota})))
    assert found.cores == cores
    assert sum("cores" in note for note in found.notes) == bool(said)
    assert any(note.startswith(said) and "job/cpu.max" in note for note in found.notes) == bool(said)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("limit", "gib"), [(str(6 * GIB), 6), ("max", 32), (str(1 << 62), 32), ("9223372036854771712", 32), ("", 32)]
)
def test_memory_is_what_the_group_allows(limit: str, gib: int, write_system: Write) -> None:
    found = find_hardware({}, write_system(groups({"job/memory.max": limit})))
    assert found.memory_bytes == gib * GIB
    assert any("6.4 GB of 34.4 GB of memory" in note for note in found.notes) == (gib == 6)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("quota", "task", "affinity", "cores", "source"),
    [
        ("500000 100000", "4", 6, 4, "SLURM_CPUS_PER_TASK=4"),
        ("300000 100000", "4", 6, 3, "cpu.max"),
        ("500000 100000", "4", 2, 2, "the CPU set of this process"),
        ("max 100000", "64", 8, 8, ""),
    ],
)
def test_the_tightest_of_all_sources_counts_and_is_named(
    quota: str,
    task: str,
    affinity: int,
    cores: int,
    source: str,
    write_system: Write,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(affinity)))
    environment = {"SLURM_JOB_ID": "1", "SLURM_CPUS_PER_TASK": task}
    root = write_system(groups({"job/cpu.max": quota}))
    found = find_hardware(environment, root)
    assert found.cores == usable_cores(environment, root) == cores
    about_cores = found.notes[1:]  # behind "no NVIDIA driver"
    assert [note for note in about_cores if "cores" in note and source in note] == list(about_cores)
    assert bool(about_cores) == bool(source)


@pytest.mark.usefixtures("machine")
def test_memory_of_a_job_limits_where_the_site_does_not_enforce_it(write_system: Write) -> None:
    environment = {"SLURM_JOB_ID": "1", "SLURM_MEM_PER_NODE": "8192"}
    found = find_hardware(environment, write_system(groups({"job/memory.max": str(16 * GIB)})))
    assert found.memory_bytes == 8 * GIB
    assert found.notes[1:] == ("8.6 GB of 34.4 GB of memory may be used: SLURM_MEM_PER_NODE=8192",)


@pytest.mark.usefixtures("machine")
def test_nonsense_is_noted_and_limits_nothing(write_system: Write) -> None:
    found = find_hardware({"PBS_JOBID": "1", "NCPUS": "lots"}, write_system(groups({"job/memory.max": "lots"})))
    assert (found.cores, found.memory_bytes) == (8, 32 * GIB)
    assert sum("ignored" in note for note in found.notes) == 2


def test_a_machine_without_control_groups_has_what_it_has(use_driver: Make, tmp_path: Path) -> None:
    use_driver(None)
    found = find_hardware({}, tmp_path / "missing")
    assert found.memory_bytes == psutil.virtual_memory().total
    assert 1 <= found.cores <= (os.cpu_count() or 1)


def test_asking_for_hardware_does_not_import_torch() -> None:
    code = "import sys; import counterpoise.machine.hardware, counterpoise.machine.plan; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@given(st.lists(st.floats(0.1, 1e6), max_size=6), st.floats(0.1, 1e6))
def test_a_limit_is_tight_only_below_what_there_is(amounts: list[float], most: float) -> None:
    others = [Limit(Resource.MEMORY, 0.01, "other"), Limit(Resource.CORES, None, "unread")]
    limits = [Limit(Resource.CORES, amount, f"source {k}") for k, amount in enumerate(amounts)]
    usable, source = tightest(others + limits, Resource.CORES, most)
    assert usable == min([*amounts, most])
    assert source == (f"source {amounts.index(usable)}" if usable < most else "")


# GPUs -----------------------------------------------------------------------------------------------------------


def test_a_torch_without_cuda_leaves_the_gpus_alone_and_this_is_said(
    use_driver: Make, card: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_driver([card("GPU-1"), card("GPU-2")])
    monkeypatch.setattr(hardware, "torch_without_cuda", lambda: None)
    assert [gpu.address for gpu in find_gpus({}, tmp_path)[0]] == ["GPU-1", "GPU-2"]
    monkeypatch.setattr(hardware, "torch_without_cuda", lambda: "2.6.0+cpu")
    assert find_gpus({}, tmp_path) == (
        (),
        ("torch 2.6.0+cpu cannot use NVIDIA A100: install a build of torch with CUDA",),
    )


def test_gpus_of_others_than_nvidia_are_looked_for_where_there_are_none_of_hers(
    use_driver: Make, card: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    radeon = Gpu(0, "0", "AMD", 64 * GIB, 64 * GIB, bfloat16=True, kind="rocm")
    monkeypatch.setattr(hardware, "find_by_torch", lambda *_: ((radeon,), ("by torch",)))
    monkeypatch.setattr(hardware, "torch_without_cuda", lambda: None)
    use_driver(None)
    assert find_gpus({}, tmp_path) == ((radeon,), ("by torch",))  # that there is no NVIDIA driver is no news then
    use_driver([card("GPU-1")])
    assert [gpu.kind for gpu in find_gpus({}, tmp_path)[0]] == ["cuda"]
