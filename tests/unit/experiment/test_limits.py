"""Slips of the pen that no system could follow are refused where they are made."""

import os
import tempfile
from pathlib import Path

import pytest

from counterpoise.errors import ConfigError
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.limits import MOST_PATCH_VALUES
from counterpoise.experiment.load import parse_experiment

LEAST = '[data]\ndatasplit = "split.csv"\nclasses = ["nuc", "pm"]\n'


@pytest.mark.parametrize("name", ["a" * 256, "é" * 128, "b/" * 2001, "x\\u0000y"])
@pytest.mark.parametrize("key", ["data.datasplit", "data.store", "run.folder"])
def test_paths_that_no_file_system_takes(key: str, name: str) -> None:
    table, _, key = key.partition(".")
    lines = [line for line in LEAST.splitlines() if not line.startswith(f"{key} ")]
    text = "\n".join([*lines, f'{key} = "{name}"' if table == "data" else f'[{table}]\n{key} = "{name}"'])
    with pytest.raises(ConfigError, match=f"{table}.{key} cannot be used") as caught:
        parse_experiment(text)
    assert "null characters" in caught.value.expected


def test_the_longest_name_is_one_that_can_be_made() -> None:
    name = "é" * 127 + "a"
    assert parse_experiment(f'{LEAST}store = "{name}"').data.store == Path(name)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).mkdir()
        with pytest.raises(OSError, match="too long"):
            (Path(folder) / f"{name}a").mkdir()
        assert len(os.fsencode(name)) == 255


@pytest.mark.parametrize("patch", ["patch_shape = [8193, 8192]", "patch_shape = [64, 64]\nslices = 16385"])
def test_patches_that_no_memory_holds(patch: str) -> None:
    with pytest.raises(ConfigError, match=r"line 5: sampling\.patch_shape cannot be used") as caught:
        parse_experiment(f"{LEAST}[sampling]\n{patch}")
    assert str(MOST_PATCH_VALUES) in caught.value.expected
    assert parse_experiment(f"{LEAST}[sampling]\npatch_shape = [8192, 8192]").sampling.patch_shape == (8192, 8192)


def test_every_fault_is_told_and_the_first_is_raised() -> None:
    faults: list[ConfigError] = []
    text = f"{LEAST}[loss]\nalpha = -1\nbeta = 'x'\n[trainin]\nepochs = 1\n"
    with pytest.raises(ConfigError, match=r"line 7: unknown key 'trainin' \(2 more after this one\)"):
        parse_experiment(text, on_fault=faults.append)
    assert [error.problem for error in faults] == [
        "experiment.toml, line 5: loss.alpha cannot be used",
        "experiment.toml, line 6: loss.beta cannot be used",
    ]
    assert isinstance(parse_experiment(LEAST, on_fault=faults.append), Experiment)
    assert len(faults) == 2
