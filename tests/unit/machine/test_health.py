"""How the machine is doing: inside a container, the container."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from counterpoise.machine.health import read_health

GIB = 1 << 30

Write = Callable[[Mapping[str, str]], Path]


@pytest.fixture
def machine(use_driver: Callable[..., Any], card: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this a machine of 64 GiB with 40 GiB available, and one GPU."""
    use_driver([card("GPU-1", total=80 * GIB, free=60 * GIB, busy=25)])
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * GIB, available=40 * GIB))


def group(limit: int, current: int, files: int = 0) -> dict[str, str]:
    return {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        "sys/fs/cgroup/memory.max": f"{limit * GIB}\n",
        "sys/fs/cgroup/memory.current": f"{current * GIB}\n",
        "sys/fs/cgroup/memory.stat": f"inactive_file {files * GIB}\n",
    }


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("files", "used", "memory"),
    [
        ({}, 24, 64),
        (group(16, 10), 10, 16),
        (group(16, 15, files=12), 3, 16),
        (group(60, 10), 24, 64),  # the machine has less left than the container may still take
    ],
)
def test_memory_is_that_of_the_machine_or_group_with_less_left(
    files: dict[str, str], used: int, memory: int, write_system: Write, tmp_path: Path
) -> None:
    health = read_health(tmp_path, write_system(files))
    assert (health.memory_used_bytes, health.memory_bytes) == (used * GIB, memory * GIB)
    assert not any("memory" in line for line in health.warnings)


@pytest.mark.usefixtures("machine")
def test_a_container_that_is_nearly_full_is_warned_of_even_if_the_machine_is_not(
    write_system: Write, tmp_path: Path
) -> None:
    health = read_health(tmp_path, write_system(group(20, 20, files=0)))
    assert "0 B of memory left" in health.warnings


@pytest.mark.usefixtures("machine")
def test_gpus_and_disk_are_looked_at(tmp_path: Path) -> None:
    health = read_health(tmp_path, tmp_path)
    assert [(gpu.busy, gpu.used_bytes, gpu.memory_bytes) for gpu in health.gpus] == [(0.25, 20 * GIB, 80 * GIB)]
    assert 0 < health.disk_free_bytes <= health.disk_bytes
    assert health.cores >= 1
