"""A fake driver, and folders of control groups: no test depends on this machine's hardware."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pynvml
import pytest

GIB = 1 << 30


@dataclass(frozen=True)
class FakeCard:
    """A card of the fake driver; ``parts`` are its MIG instances by their number, None for a whole card."""

    uuid: str
    name: str = "NVIDIA A100"
    total: int = 80 * GIB
    free: int = 79 * GIB
    major: int = 8
    mode: int = pynvml.NVML_COMPUTEMODE_DEFAULT
    processes: int = 0
    busy: int | None = 50
    parts: Mapping[int, "FakeCard"] | None = None
    instance: tuple[int, int] = (0, 0)
    failure: int = 0
    memory_failure: int = 0


UseDriver = Callable[..., ModuleType]


@pytest.fixture
def card() -> type[FakeCard]:
    """Return the type of cards for :func:`use_driver`."""
    return FakeCard


@pytest.fixture
def use_driver(monkeypatch: pytest.MonkeyPatch) -> UseDriver:
    """Return a function that puts a fake driver with these cards in place of NVIDIA's; None for no driver."""

    def use(cards: Sequence[FakeCard] | None, *, as_bytes: bool = False, listing_fails: bool = False) -> ModuleType:
        module = ModuleType("pynvml")
        # Errors and constants are those of the real library.
        module.__dict__.update({k: v for k, v in vars(pynvml).items() if k.startswith(("NVMLError", "NVML_"))})
        module.__dict__.update(_functions(module, cards, as_bytes=as_bytes, listing_fails=listing_fails), open=0)
        monkeypatch.setitem(sys.modules, "pynvml", module)
        return module

    return use


def _functions(  # noqa: C901 - one small function per function of the library
    module: ModuleType, cards: Sequence[FakeCard] | None, *, as_bytes: bool, listing_fails: bool
) -> dict[str, Callable[..., Any]]:
    def fail(code: int) -> None:
        if code:
            raise pynvml.NVMLError(code)

    def init() -> None:
        fail(pynvml.NVML_ERROR_DRIVER_NOT_LOADED if cards is None else 0)
        module.__dict__["open"] += 1

    def shutdown() -> None:
        module.__dict__["open"] -= 1

    def count() -> int:
        fail(pynvml.NVML_ERROR_UNKNOWN if listing_fails else 0)
        return len(cards or ())

    def by_index(index: int) -> FakeCard:
        found = (cards or ())[index]
        fail(found.failure)
        return found

    def by_uuid(uuid: str | bytes) -> FakeCard:
        wanted = uuid.decode() if isinstance(uuid, bytes) else uuid
        every = [item for whole in cards or () for item in (whole, *(whole.parts or {}).values())]
        found = next((item for item in every if item.uuid == wanted), None)
        if found is None:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        fail(found.failure)
        return found

    def part(whole: FakeCard, index: int) -> FakeCard:
        if index not in (whole.parts or {}):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return (whole.parts or {})[index]

    def memory(device: FakeCard) -> SimpleNamespace:
        fail(device.memory_failure)
        return SimpleNamespace(total=device.total, free=device.free, used=device.total - device.free)

    def mig_mode(device: FakeCard) -> list[int]:
        fail(0 if device.major >= 8 else pynvml.NVML_ERROR_NOT_SUPPORTED)
        return [int(device.parts is not None), 0]

    def utilization(device: FakeCard) -> SimpleNamespace:
        fail(pynvml.NVML_ERROR_NOT_SUPPORTED if device.busy is None else 0)
        return SimpleNamespace(gpu=device.busy, memory=1)

    def text(value: str) -> str | bytes:
        return value.encode() if as_bytes else value

    return {
        "nvmlInit": init,
        "nvmlShutdown": shutdown,
        "nvmlDeviceGetCount": count,
        "nvmlDeviceGetHandleByIndex": by_index,
        "nvmlDeviceGetHandleByUUID": by_uuid,
        "nvmlDeviceGetUUID": lambda device: text(device.uuid),
        "nvmlDeviceGetName": lambda device: text(device.name),
        "nvmlDeviceGetMemoryInfo": memory,
        "nvmlDeviceGetCudaComputeCapability": lambda device: (device.major, 0),
        "nvmlDeviceGetComputeMode": lambda device: device.mode,
        "nvmlDeviceGetComputeRunningProcesses": lambda device: list(range(device.processes)),
        "nvmlDeviceGetUtilizationRates": utilization,
        "nvmlDeviceGetMigMode": mig_mode,
        "nvmlDeviceGetMaxMigDeviceCount": lambda device: 7 if device.parts is not None else 0,
        "nvmlDeviceGetMigDeviceHandleByIndex": part,
        "nvmlDeviceGetGpuInstanceId": lambda device: device.instance[0],
        "nvmlDeviceGetComputeInstanceId": lambda device: device.instance[1],
    }


@pytest.fixture
def write_system(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Return a function that writes files below a root of its own, and returns the root."""

    def write(files: Mapping[str, str]) -> Path:
        root = tmp_path / "system"
        root.mkdir(exist_ok=True)
        for name, content in files.items():
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
        return root

    return write
