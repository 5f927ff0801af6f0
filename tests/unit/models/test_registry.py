"""Networks by name: the built-in one, a user's own, and what goes wrong."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from counterpoise.errors import ConfigError
from counterpoise.experiment.config import ModelConfig
from counterpoise.models.registry import build_model
from counterpoise.models.unet import UNet2D

USER_MODULE = """
from torch import nn

def pixelwise(slices, classes, width, depth):
    return nn.Sequential(nn.Conv2d(slices, width * depth, 1), nn.ReLU(), nn.Conv2d(width * depth, classes, 1))

def no_network(slices, classes, width, depth):
    return "a network"

NUMBER = 3
"""


@pytest.fixture(autouse=True)
def _user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "my_networks.py").write_text(USER_MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("my_networks", None)


def test_unet2d_is_built_as_configured() -> None:
    model = build_model(ModelConfig(name="unet2d", width=4, depth=2), slices=3, classes=7)
    assert isinstance(model, UNet2D)
    assert model.depth == 2
    assert model(torch.rand(1, 3, 8, 8)).shape == (1, 7, 8, 8)


def test_a_users_callable_is_told_slices_classes_width_and_depth() -> None:
    model = build_model(ModelConfig(name="my_networks:pixelwise", width=4, depth=2), slices=3, classes=7)
    assert [tuple(p.shape) for p in model.parameters()] == [(8, 3, 1, 1), (8,), (7, 8, 1, 1), (7,)]


@pytest.mark.parametrize("name", ["no_such_module:f", "my_networks:missing", "my_networks:NUMBER", ".rel:f"])
def test_what_cannot_be_imported_is_a_configuration_error(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be imported"):
        build_model(ModelConfig(name=name), slices=1, classes=1)


def test_a_callable_that_returns_no_network_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="does not return a network") as caught:
        build_model(ModelConfig(name="my_networks:no_network"), slices=1, classes=1)
    assert caught.value.found == "str"
