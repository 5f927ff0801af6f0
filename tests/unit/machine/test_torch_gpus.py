"""GPUs of AMD and Apple: when torch is asked, what becomes of its answer, and what becomes of none."""

import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from counterpoise.machine import torch_gpus
from counterpoise.machine.torch_gpus import ask_torch, find_by_torch, torch_without_cuda

GIB = 1 << 30

RADEON = {"name": "AMD Instinct MI250X", "memory_bytes": 64 * GIB, "free_bytes": 60 * GIB, "bfloat16": True}
APPLE = {"name": "Apple arm", "memory_bytes": 11 * GIB, "free_bytes": 11 * GIB, "bfloat16": False}


@pytest.fixture(autouse=True)
def _not_this_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    ask_torch.cache_clear()
    yield
    ask_torch.cache_clear()


@pytest.fixture
def amd(tmp_path: Path) -> Path:
    """Return a root with AMD's driver."""
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev" / "kfd").touch()
    return tmp_path


def answer(monkeypatch: pytest.MonkeyPatch, found: Mapping[str, Any]) -> None:
    monkeypatch.setattr(torch_gpus, "ask_torch", lambda: found)


def test_torch_is_not_asked_where_there_can_be_no_such_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError

    monkeypatch.setattr(torch_gpus, "ask_torch", refuse)
    assert find_by_torch({}, tmp_path) == ((), ())


@pytest.mark.parametrize(
    ("environment", "addresses"),
    [
        ({}, ["0", "1"]),
        ({"HIP_VISIBLE_DEVICES": "3,1"}, ["3", "1"]),
        ({"CUDA_VISIBLE_DEVICES": "2, 0"}, ["2", "0"]),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3", "HIP_VISIBLE_DEVICES": "4,5"}, ["4", "5"]),
        ({"ROCR_VISIBLE_DEVICES": "4,5"}, ["0", "1"]),  # numbers count what is left
        ({"ROCR_VISIBLE_DEVICES": "4,5,6", "HIP_VISIBLE_DEVICES": "2,0"}, ["2", "0"]),
        ({"HIP_VISIBLE_DEVICES": "5"}, ["0", "1"]),  # torch sees more than the list names: as torch counts them
    ],
)
def test_each_amd_gpu_has_the_entry_that_shows_it_alone(
    environment: dict[str, str], addresses: list[str], amd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, {"torch": "2.6.0+rocm6.2", "kind": "rocm", "gpus": [RADEON, RADEON]})
    gpus, notes = find_by_torch(environment, amd)
    assert [(g.index, g.address, g.kind) for g in gpus] == [(k, a, "rocm") for k, a in enumerate(addresses)]
    assert [(g.name, g.memory_bytes, g.free_bytes, g.bfloat16) for g in gpus] == [tuple(RADEON.values())] * 2
    named = [name for name in ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES") if name in environment]
    assert all(any(note.startswith(name) for note in notes) for name in named)
    assert bool(notes) == bool(environment)


def test_a_mac_has_one_gpu_that_computes_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    answer(monkeypatch, {"torch": "2.6.0", "kind": "mps", "gpus": [APPLE]})
    ((gpu,), notes) = find_by_torch({"CUDA_VISIBLE_DEVICES": "0"}, tmp_path)
    assert (gpu.address, gpu.kind, gpu.name, gpu.bfloat16, notes) == ("", "mps", "Apple arm", False, ())


def test_a_torch_that_cannot_use_the_amd_gpu_is_named(amd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, {"torch": "2.6.0+cpu", "kind": None, "gpus": []})
    assert find_by_torch({}, amd) == (
        (),
        ("there is an AMD driver, but torch 2.6.0+cpu finds no GPU to use with it (ROCm)",),
    )


def test_torch_answers_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        return subprocess.CompletedProcess(command, 0, 'a warning\n{"torch": "2.6.0", "kind": null, "gpus": []}\n', "")

    monkeypatch.setattr(subprocess, "run", run)
    assert ask_torch() == ask_torch() == {"torch": "2.6.0", "kind": None, "gpus": []}
    assert calls == [[sys.executable, "-m", "counterpoise.training.accelerators"]]


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (subprocess.CalledProcessError(1, "x", stderr="Traceback\nImportError: libamdhip64.so\n"), "libamdhip64.so"),
        (subprocess.CalledProcessError(-11, "x", stderr=""), "exit code -11"),
        (subprocess.TimeoutExpired("x", 120), "TimeoutExpired"),
        (OSError("cannot start"), "cannot start"),
        (subprocess.CompletedProcess("x", 0, "", ""), "IndexError"),
        (subprocess.CompletedProcess("x", 0, "no json", ""), "JSONDecodeError"),
    ],
)
def test_a_torch_that_cannot_be_asked_is_a_note(
    failure: Exception | subprocess.CompletedProcess[str], words: str, amd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        if isinstance(failure, Exception):
            raise failure
        return failure

    monkeypatch.setattr(subprocess, "run", run)
    gpus, notes = find_by_torch({}, amd)
    assert gpus == ()
    assert len(notes) == 1
    assert words in notes[0]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("2.6.0", None),
        ("2.6.0+cu124", None),
        ("2.6.0+cpu", "2.6.0+cpu"),
        ("2.6.0+rocm6.2.4", "2.6.0+rocm6.2.4"),
        ("2.6.0+xpu", "2.6.0+xpu"),
        ("2.7.0a0+git1234", None),
    ],
)
def test_builds_of_torch_without_cuda_are_known_by_their_version(
    version: str, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: version)
    assert torch_without_cuda() == expected
