"""Checkpoints: whole or absent, and never code."""

import pickle
from pathlib import Path

import pytest
import torch

from counterpoise.training.checkpoint import load_checkpoint, save_checkpoint


class Evil:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("this must not run",))


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    content = {"weights": torch.arange(6.0).reshape(2, 3), "epoch": 3, "names": ["a", "b"], "best": None}
    save_checkpoint(tmp_path / "last.pt", content)
    loaded = load_checkpoint(tmp_path / "last.pt")
    assert loaded is not None
    assert torch.equal(loaded.pop("weights"), torch.arange(6.0).reshape(2, 3))
    assert loaded == {"epoch": 3, "names": ["a", "b"], "best": None}
    assert [f.name for f in tmp_path.iterdir()] == ["last.pt"]


def test_a_failing_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last.pt", {"epoch": 1})
    with pytest.raises((AttributeError, pickle.PicklingError, TypeError)):
        save_checkpoint(tmp_path / "last.pt", {"epoch": lambda: 2})
    assert load_checkpoint(tmp_path / "last.pt") == {"epoch": 1}
    assert [f.name for f in tmp_path.iterdir()] == ["last.pt"]


@pytest.mark.parametrize("content", [None, b"", b"text", b"PK\x03\x04", b"\x80\x02."])
def test_what_is_missing_or_damaged_is_none(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "last.pt"
    if content is not None:
        file.write_bytes(content)
    assert load_checkpoint(file) is None


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.99])
def test_a_torn_checkpoint_is_none(part: float, tmp_path: Path) -> None:
    file = tmp_path / "last.pt"
    save_checkpoint(file, {"weights": torch.randn(100, 100)})
    file.write_bytes(file.read_bytes()[: int(part * file.stat().st_size)])
    assert load_checkpoint(file) is None


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"trap": Evil()}, tmp_path / "last.pt")
    assert load_checkpoint(tmp_path / "last.pt") is None
    assert capsys.readouterr().out == ""


def test_a_checkpoint_that_is_no_table_is_none(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "last.pt")
    assert load_checkpoint(tmp_path / "last.pt") is None
