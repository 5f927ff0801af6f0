"""Checkpoints: whole or absent, and never code."""

import errno
import pickle
import struct
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.errors import DiskFullError
from counterpoise.files.atomic import temporary_name
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


@given(st.data())
@settings(max_examples=60)
def test_no_flipped_bit_becomes_another_weight(data: st.DataObject) -> None:
    weights = torch.arange(300.0)
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "last.pt"
        save_checkpoint(file, {"weights": weights, "epoch": 3})
        damaged = bytearray(file.read_bytes())
        place = data.draw(st.integers(0, len(damaged) - 1))
        damaged[place] ^= 1 << data.draw(st.integers(0, 7))
        file.write_bytes(damaged)
        loaded = load_checkpoint(file)
    # Some bytes mean nothing (padding, dates): then all is as it was.
    assert loaded is None or (torch.equal(loaded["weights"], weights) and loaded["epoch"] == 3)


def test_a_flipped_bit_of_a_tensor_is_damage(tmp_path: Path) -> None:
    file = tmp_path / "last.pt"
    save_checkpoint(file, {"weights": torch.full((1000,), 1.5)})
    damaged = bytearray(file.read_bytes())
    damaged[damaged.index(struct.pack("<4f", 1.5, 1.5, 1.5, 1.5)) + 2] ^= 0x40
    file.write_bytes(damaged)
    loaded = torch.load(file, weights_only=True)  # torch itself takes it
    assert not torch.equal(loaded["weights"], torch.full((1000,), 1.5))
    assert load_checkpoint(file) is None


def test_the_checkpoint_before_is_kept_and_a_third_one_replaces_it(tmp_path: Path) -> None:
    last, previous = tmp_path / "last.pt", tmp_path / "previous.pt"
    for epoch in (1, 2, 3):
        save_checkpoint(last, {"epoch": epoch}, previous=previous)
    assert (load_checkpoint(last), load_checkpoint(previous)) == ({"epoch": 3}, {"epoch": 2})
    assert {f.name for f in tmp_path.iterdir()} == {"last.pt", "previous.pt"}


def test_after_a_kill_between_the_two_names_nothing_is_left_over(tmp_path: Path) -> None:
    """Killed when both names were of one file: giving it the second name once more does nothing, and is tidied up."""
    last, previous = tmp_path / "last.pt", tmp_path / "previous.pt"
    save_checkpoint(last, {"epoch": 1})
    previous.hardlink_to(last)
    save_checkpoint(last, {"epoch": 2}, previous=previous)
    assert (load_checkpoint(last), load_checkpoint(previous)) == ({"epoch": 2}, {"epoch": 1})
    assert {f.name for f in tmp_path.iterdir()} == {"last.pt", "previous.pt"}


def test_without_hard_links_the_checkpoint_before_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    last, previous = tmp_path / "last.pt", tmp_path / "previous.pt"
    for epoch in (1, 2):
        save_checkpoint(last, {"epoch": epoch}, previous=previous)
    assert (load_checkpoint(last), load_checkpoint(previous)) == ({"epoch": 2}, {"epoch": 1})
    assert {f.name for f in tmp_path.iterdir()} == {"last.pt", "previous.pt"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_leaves_the_checkpoint_and_says_how_much_room_the_new_one_needs(tmp_path: Path) -> None:
    last, previous = tmp_path / "last.pt", tmp_path / "previous.pt"
    save_checkpoint(last, {"epoch": 1})
    temporary_name(last).symlink_to("/dev/full")
    with pytest.raises(DiskFullError) as told:
        save_checkpoint(last, {"epoch": 2, "weights": torch.zeros(1_000_000)}, previous=previous)
    assert told.value.expected == f"4.1 MB free for {last}"  # 4 MB of zeros and some bytes around them
    assert load_checkpoint(last) == load_checkpoint(previous) == {"epoch": 1}
    assert {f.name for f in tmp_path.iterdir()} == {"last.pt", "previous.pt"}
