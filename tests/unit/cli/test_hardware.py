"""The screen of ``hardware``: a fake machine, on terminals and without one."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from counterpoise.cli import hardware
from counterpoise.cli.app import app
from counterpoise.cli.screen import plain_console, print_table
from counterpoise.machine.gpus import Gpu
from counterpoise.machine.hardware import Hardware
from counterpoise.machine.limits import GIB

NODE = Hardware(
    gpus=(
        Gpu(0, "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "NVIDIA A100-SXM4-80GB", 80 * GIB, 79 * GIB, bfloat16=True),
        Gpu(
            index=1,
            address="MIG-1c2b7a11-5e0e-5b1a-9a53-2b8f5f7f6a10",
            name="NVIDIA A100-SXM4-80GB MIG 3g.40gb",
            memory_bytes=40 * GIB,
            free_bytes=1 * GIB,
            bfloat16=True,
            processes=1,
        ),
    ),
    cores=8,
    memory_bytes=64 * GIB,
    notes=("8 of 128 cores may be used: SLURM_CPUS_PER_TASK=8", "CUDA_VISIBLE_DEVICES=[0] leaves 2 of 4 GPUs"),
)


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that shows the node on a terminal of some width, or without one, as lines."""

    def shown(*, width: int | None = None, file: Path | None = None) -> list[str]:
        screen = plain_console(file=io.StringIO())
        if width is not None:
            screen = type(screen)(file=io.StringIO(), force_terminal=True, width=width, no_color=True)
        monkeypatch.setattr(hardware, "find_hardware", lambda: NODE)
        monkeypatch.setattr(hardware, "console", screen)
        monkeypatch.setattr(hardware, "print_table", lambda columns: print_table(columns, to=screen))
        hardware.hardware(file)
        stream = screen.file
        assert isinstance(stream, io.StringIO)
        return stream.getvalue().splitlines()

    return shown


def test_without_a_terminal_every_fact_is_on_one_line(show: Callable[..., list[str]]) -> None:
    lines = show()
    assert lines[0] == "8 cores, 68.7 GB of memory"
    assert lines[1].split() == ["GPU", "name", "memory", "free", "bfloat16", "programs", "address"]
    assert lines[2].split()[-3:] == ["yes", "0", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"]
    assert "42.9 GB   1.1 GB" in lines[3]
    assert lines[4:] == [
        "- 8 of 128 cores may be used: SLURM_CPUS_PER_TASK=8",
        "- CUDA_VISIBLE_DEVICES=[0] leaves 2 of 4 GPUs",
        "Plan for the classic experiment (at most 30 trials)",
        "- GPU 1 is shared with others: 1 program on it, 41.9 GB of 42.9 GB in use",
        "- GPU 1 skipped: full",
        "- 1 slot: one per GPU",
        "- 8 threads per slot: 8 cores / 1",
        "- batch of 64: the reference's choice for 42.9 GB of GPU memory",
        "- bfloat16: every GPU has it",
    ]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_on_a_terminal_nothing_is_wider_than_it_and_nothing_is_lost(width: int, show: Callable[..., list[str]]) -> None:
    lines = show(width=width)
    plain = [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in lines]
    assert max(len(line.rstrip()) for line in plain) <= width
    text = " ".join(" ".join(plain).split())
    for fact in (*NODE.notes, NODE.gpus[1].address, NODE.gpus[1].name, "batch of 64: the reference's choice for"):
        assert fact in text


def test_an_experiment_of_ones_own_is_planned_for(show: Callable[..., list[str]], tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(
        'data.datasplit = "a.csv"\ndata.classes = ["nuc"]\narms.seeds = 2\nrun.threads = 3\n'
        'training.batch_size = 5\ntraining.precision = "float32"\n',
        encoding="utf-8",
    )
    lines = show(file=file)
    assert f"Plan for {file} (at most 12 trials)" in lines
    assert lines[-3:] == [
        "- 3 threads per slot: as configured",
        "- batch of 5: as configured",
        "- float32: as configured",
    ]


def test_as_json_everything_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "find_hardware", lambda: NODE)
    done = CliRunner().invoke(app, ["hardware", "--json"])
    document = json.loads(done.stdout)
    assert (document["cores"], document["memory_bytes"], document["notes"]) == (8, 64 * GIB, list(NODE.notes))
    assert [gpu["address"] for gpu in document["gpus"]] == [gpu.address for gpu in NODE.gpus]
    plan = document["plan"]
    assert (plan["trials"], plan["batch_size"], plan["precision"]) == (30, 64, "bfloat16")
    (slot,) = plan["slots"]
    assert (slot["name"], slot["device"], slot["gpu"]) == ("gpu-0", "cuda:0", NODE.gpus[0].address)
    assert slot["environment"]["CUDA_VISIBLE_DEVICES"] == NODE.gpus[0].address
    assert slot["environment"]["OMP_NUM_THREADS"] == "8"
