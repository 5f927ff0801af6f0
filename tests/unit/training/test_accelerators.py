"""What torch says of its GPUs, in a process of its own and with made devices."""

import json
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from counterpoise.training.accelerators import list_accelerators


def test_the_process_writes_one_line_that_can_be_read() -> None:
    command = [sys.executable, "-m", "counterpoise.training.accelerators"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert found["torch"] == torch.__version__
    assert found["kind"] in {None, "rocm", "mps"}
    assert bool(found["gpus"]) == bool(found["kind"])


def test_amd_gpus_are_described_in_the_order_of_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "hip", "6.2")
    made = SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 2,
        mem_get_info=lambda number: (10 + number, 20 + number),
        get_device_name=lambda number: f"AMD {number}",
        is_bf16_supported=lambda: True,
        device=lambda _: nullcontext(),
    )
    monkeypatch.setattr(torch, "cuda", made)
    assert list_accelerators() == {
        "torch": torch.__version__,
        "kind": "rocm",
        "gpus": [
            {"name": "AMD 0", "memory_bytes": 20, "free_bytes": 10, "bfloat16": True},
            {"name": "AMD 1", "memory_bytes": 21, "free_bytes": 11, "bfloat16": True},
        ],
    }


def test_nvidia_gpus_are_left_to_their_own_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(is_available=lambda: True))
    assert list_accelerators() == {"torch": torch.__version__, "kind": None, "gpus": []}


def test_apples_gpu_has_the_memory_that_torch_recommends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 11)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess("sysctl", 0, "Apple M2\n", ""))
    expected = {"name": "Apple M2", "memory_bytes": 11, "free_bytes": 11, "bfloat16": False}
    assert list_accelerators() == {"torch": torch.__version__, "kind": "mps", "gpus": [expected]}


def test_a_chip_that_does_not_say_its_name_is_apples_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 11)
    monkeypatch.setattr(subprocess, "run", fail)
    assert list_accelerators()["gpus"][0]["name"] == "Apple"
