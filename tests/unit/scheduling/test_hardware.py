"""Hardware as containers, schedulers and CUDA_VISIBLE_DEVICES leave it, with a driver made up for the test."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from counterpoise.scheduling.hardware import GIB, find_hardware

CARDS = (
    ("GPU-aaaa-1111", "NVIDIA A100", 80 * GIB, 70 * GIB, 8),
    ("GPU-bbbb-2222", "Tesla V100", 16 * GIB, 16 * GIB, 7),
    ("GPU-bbbb-3333", "NVIDIA L4", 24 * GIB, 1 * GIB, 8),
)

UseDriver = Callable[..., ModuleType]


@pytest.fixture
def use_driver(monkeypatch: pytest.MonkeyPatch) -> UseDriver:
    """Return a function that puts a made driver in place of NVIDIA's."""

    def use(*, there: bool = True, answers: bool = True, as_bytes: bool = False) -> ModuleType:
        class NVMLError(Exception):
            pass

        def init() -> None:
            if not there:
                raise NVMLError("Driver Not Loaded")
            module.__dict__["open"] = 1

        def count() -> int:
            if not answers:
                raise NVMLError("GPU is lost")
            return len(CARDS)

        def text(value: str) -> str | bytes:
            return value.encode() if as_bytes else value

        module = ModuleType("pynvml")
        module.__dict__.update(
            NVMLError=NVMLError,
            open=0,
            nvmlInit=init,
            nvmlShutdown=lambda: setattr(module, "open", 0),
            nvmlDeviceGetCount=count,
            nvmlDeviceGetHandleByIndex=lambda index: index,
            nvmlDeviceGetUUID=lambda k: text(CARDS[k][0]),
            nvmlDeviceGetName=lambda k: text(CARDS[k][1]),
            nvmlDeviceGetMemoryInfo=lambda k: SimpleNamespace(total=CARDS[k][2], free=CARDS[k][3]),
            nvmlDeviceGetCudaComputeCapability=lambda k: (CARDS[k][4], 0),
        )
        monkeypatch.setitem(sys.modules, "pynvml", module)
        return module

    return use


@pytest.mark.parametrize("as_bytes", [False, True])
def test_cards_are_described_by_the_driver(as_bytes: bool, use_driver: UseDriver, tmp_path: Path) -> None:
    driver = use_driver(as_bytes=as_bytes)
    found = find_hardware({}, tmp_path)
    assert [(g.index, g.address, g.name, g.memory_bytes, g.free_bytes, g.bfloat16) for g in found.gpus] == [
        (0, "GPU-aaaa-1111", "NVIDIA A100", 80 * GIB, 70 * GIB, True),
        (1, "GPU-bbbb-2222", "Tesla V100", 16 * GIB, 16 * GIB, False),
        (2, "GPU-bbbb-3333", "NVIDIA L4", 24 * GIB, 1 * GIB, True),
    ]
    assert driver.open == 0  # the driver was let go


@pytest.mark.parametrize(
    ("visible", "addresses"),
    [
        ("1", ["GPU-bbbb-2222"]),
        ("2,0", ["GPU-bbbb-3333", "GPU-aaaa-1111"]),
        (" 0 , 1 ", ["GPU-aaaa-1111", "GPU-bbbb-2222"]),
        ("GPU-bbbb-3333", ["GPU-bbbb-3333"]),
        ("GPU-aa", ["GPU-aaaa-1111"]),
        ("0,7,1", ["GPU-aaaa-1111"]),  # CUDA stops at the first that is not there
        ("-1", []),
        ("", []),
        ("NoDevFiles", []),
    ],
)
def test_only_visible_devices_are_used_in_their_order(
    visible: str, addresses: list[str], use_driver: UseDriver, tmp_path: Path
) -> None:
    use_driver()
    found = find_hardware({"CUDA_VISIBLE_DEVICES": visible}, tmp_path)
    assert [g.address for g in found.gpus] == addresses
    assert [g.index for g in found.gpus] == list(range(len(addresses)))
    assert f"CUDA_VISIBLE_DEVICES={visible} leaves {len(addresses)} of 3 GPUs" in found.notes


def test_without_a_driver_training_runs_on_the_cpu_and_this_is_said(use_driver: UseDriver, tmp_path: Path) -> None:
    use_driver(there=False)
    found = find_hardware({"CUDA_VISIBLE_DEVICES": "0"}, tmp_path)
    assert found.gpus == ()
    assert "no NVIDIA driver" in found.notes[0]


def test_a_driver_that_does_not_answer_is_no_crash(use_driver: UseDriver, tmp_path: Path) -> None:
    driver = use_driver(answers=False)
    found = find_hardware({}, tmp_path)
    assert found.gpus == ()
    assert "GPU is lost" in found.notes[0]
    assert driver.open == 0


@pytest.mark.parametrize(
    ("content", "cores"),
    [
        ("250000 100000\n", 2),
        ("50000 100000\n", 1),  # half a core is one
        ("100000000 100000\n", 8),  # more than there are
        ("max 100000\n", 8),
        ("", 8),
        ("nonsense", 8),
    ],
)
def test_cores_are_those_the_container_allows(
    content: str, cores: int, use_driver: UseDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_driver(there=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (tmp_path / "cpu.max").write_text(content, encoding="ascii")
    found = find_hardware({}, tmp_path)
    assert found.cores == cores
    assert any("cores" in note for note in found.notes) == (cores < 8)


@pytest.mark.parametrize(
    ("content", "gib"), [(str(6 * GIB), 6), ("max\n", 32), (str(1 << 62), 32), ("9223372036854771712", 32), ("", 32)]
)
def test_memory_is_what_the_container_allows(
    content: str, gib: int, use_driver: UseDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_driver(there=False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=32 * GIB))
    (tmp_path / "memory.max").write_text(content, encoding="ascii")
    found = find_hardware({}, tmp_path)
    assert found.memory_bytes == gib * GIB
    assert any("GiB of memory" in note for note in found.notes) == (gib < 32)


def test_a_machine_without_control_groups_has_what_it_has(use_driver: UseDriver, tmp_path: Path) -> None:
    use_driver(there=False)
    found = find_hardware({}, tmp_path / "missing")
    assert found.memory_bytes == psutil.virtual_memory().total
    assert found.cores >= 1
