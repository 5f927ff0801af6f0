"""From the ``[model]`` table to a network."""

from __future__ import annotations

from torch import nn

from counterpoise.errors import ConfigError
from counterpoise.experiment.config import ModelConfig
from counterpoise.models.unet import UNet2D
from counterpoise.plugins import import_function

__all__ = ["build_model"]


def build_model(config: ModelConfig, *, slices: int, classes: int) -> nn.Module:
    """Build the network that a configuration names.

    Parameters
    ----------
    config : ModelConfig
        ``unet2d``, or ``module:callable``. A callable is called as ``callable(slices=, classes=, width=, depth=)``
        and returns a module from (batch, slices, rows, columns) to (batch, classes, rows, columns).
    slices, classes : int
        Input and output channels.

    Raises
    ------
    ConfigError
        If the callable cannot be imported or does not return a module.
    """
    if config.name == "unet2d":
        return UNet2D(slices, classes, config.width, config.depth)
    factory = import_function(
        config.name, what="model", expected="'unet2d', or module:callable importable from where you run"
    )
    model = factory(slices=slices, classes=classes, width=config.width, depth=config.depth)
    if not isinstance(model, nn.Module):
        raise ConfigError(
            f"model {config.name!r} does not return a network",
            expected="a torch.nn.Module",
            found=type(model).__name__,
            remedy="return the module from the callable",
        )
    return model
