from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from counterpoise import OWN_MODULES
from counterpoise.cli.python_path import find_own_modules


def test_folders_go_last_once_and_are_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), "/lib"])
    monkeypatch.setenv("PYTHONPATH", "/mine")
    monkeypatch.delenv(OWN_MODULES, raising=False)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        find_own_modules(Path("experiments"), Path())
    own = [str(tmp_path / "experiments"), str(tmp_path)]
    assert sys.path == ["/lib", *own]
    assert os.environ["PYTHONPATH"] == os.pathsep.join([*own, "/mine"])
    assert os.environ[OWN_MODULES] == os.pathsep.join(own)


def test_an_empty_variable_does_not_mean_the_working_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", ["/lib"])
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.delenv(OWN_MODULES, raising=False)
    find_own_modules(tmp_path)
    assert os.environ["PYTHONPATH"] == str(tmp_path)


def test_a_stray_file_does_not_stand_in_for_the_standard_library_here_or_in_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "csv.py").write_text("raise SystemExit('a stray file was executed')\n", encoding="utf-8")
    (tmp_path / "my_rules.py").write_text("", encoding="utf-8")
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.delenv(OWN_MODULES, raising=False)
    find_own_modules(tmp_path)
    child = "import counterpoise, csv, my_rules; print(csv.__file__, my_rules.__file__)"
    (tmp_path / "child.py").write_text(child, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "child"], cwd=tmp_path, capture_output=True, text=True, check=False
    )  # as trials are started: the current folder is searched first, too
    assert done.returncode == 0, done.stderr
    csv, own = done.stdout.split()
    assert Path(own) == tmp_path / "my_rules.py"
    assert Path(csv).parent != tmp_path
