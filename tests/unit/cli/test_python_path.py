from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from counterpoise.cli.python_path import find_own_modules


def test_folders_go_first_once_and_are_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/lib", str(tmp_path)])
    monkeypatch.setenv("PYTHONPATH", "/mine")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        find_own_modules(Path("experiments"), Path())
    first = [str(tmp_path / "experiments"), str(tmp_path)]
    assert sys.path == [*first, "/lib"]
    assert os.environ["PYTHONPATH"] == os.pathsep.join([*first, "/mine"])


def test_an_empty_variable_does_not_mean_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", ["/lib"])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    find_own_modules(tmp_path)
    assert os.environ["PYTHONPATH"] == str(tmp_path)
