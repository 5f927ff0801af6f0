"""Faults of a configuration that a user meets first, and how they are told."""

from __future__ import annotations

import pytest

from counterpoise.errors import ConfigError
from counterpoise.experiment.load import parse_experiment

LEAST = '[data]\ndatasplit = "split.csv"\nclasses = ["nuc", "pm"]\n'


@pytest.mark.parametrize(
    ("lines", "key", "expected", "found", "remedy"),
    [
        ("[training]\nepochs = '1'", "training.epochs", "a valid integer", '"1"', "correct"),
        ("[sampling]\nmirror = 1", "sampling.mirror", "a valid boolean", "1", "correct"),
        ("voxel_size_nm = [8, 8]", "data.voxel_size_nm", "three numbers: z, y, x", "[8, 8]", "correct"),
        ("[sampling]\npatch_shape = [64]", "sampling.patch_shape", "two numbers: rows, columns", "[64]", "correct"),
        ("[arms]\nseeds = 1000000000", "arms.seeds", "from 1 to 1000", "1000000000", "correct"),
        ("[loss]\nalpha = 0\nbeta = 0", "loss.alpha", "above 0", '{"alpha": 0.0, "beta": 0.0}', "correct"),
        (
            "[arms]\nstrategies = ['weight_inv_frq']",
            "arms.strategies",
            "names of strategies",
            '"weight_inv_frq"',
            "did you mean 'weight_inv_freq'",
        ),
        (
            "[arms]\nbaseline = 'weight_unifrm'",
            "arms.baseline",
            "one of arms.strategies",
            '"weight_unifrm"',
            "did you mean 'weight_uniform'",
        ),
        ("[arms.manual_weights]\nnuk = 1", "arms.manual_weights.nuk", "data.classes", '"nuk"', "did you mean 'nuc'"),
        ("[model]\nname = 'unet3d'", "model.name", "module:callable", '"unet3d"', "did you mean 'unet2d'"),
        ("[model]\nname = ':'", "model.name", "module:callable", '":"', "known: unet2d"),
        (
            "[training]\nbatch_size = 1\n[sampling]\npatch_shape = [16, 31]",
            "training.batch_size",
            "2 or more",
            "1",
            "raise training.batch_size",
        ),
    ],
)
def test_a_fault_is_told_as_rule_and_value(lines: str, key: str, expected: str, found: str, remedy: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_experiment(LEAST + lines)
    error = caught.value
    assert f"{key} cannot be used" in error.problem
    assert expected in error.expected
    assert error.found == found
    assert remedy in error.remedy


def test_a_batch_of_one_will_do_where_the_bottleneck_is_larger() -> None:
    text = LEAST + "[training]\nbatch_size = 1\n[sampling]\npatch_shape = [16, 32]\n"
    assert parse_experiment(text).training.batch_size == 1
