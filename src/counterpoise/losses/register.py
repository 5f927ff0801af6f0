"""The losses by name, and what training asks of one."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from counterpoise import losses
from counterpoise.errors import ConfigError
from counterpoise.experiment.losses import LossOptions
from counterpoise.losses.words import unpack_labels
from counterpoise.plugins import import_function

__all__ = ["Loss", "PlainFunction", "PlainLoss", "build_loss", "known_losses", "register_loss"]

PlainFunction = Callable[..., Tensor]
"""A loss as its formula says: ``loss(logits, target, known, class_weights, **options)``.

``logits``, ``target`` (1 present, 0 absent or unknown; both float32) and ``known`` (bool) have the shape (batch,
classes, rows, columns), ``class_weights`` has the shape (classes,). It returns a tensor without axes, lower is better,
to which unknown voxels contribute nothing.
"""


class Loss(nn.Module, ABC):
    """A loss from label words: what training and validation work with.

    A class derived from it has a fused path of its own; any other loss is a :data:`PlainFunction`.
    """

    class_weights: Tensor

    @abstractmethod
    def of_words(self, logits: Tensor, present: Tensor, known: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Parameters
        ----------
        logits : float tensor, shape (batch, classes, rows, columns)
            Network output before the sigmoid.
        present, known : integer tensor, shape (batch, rows, columns)
            Label words: bit c is set where class c is present / known.

        Returns
        -------
        float32 scalar
            Differentiable by the logits.
        """

    @abstractmethod
    def of_part(self, logits: Tensor, present: Tensor, known: Tensor) -> Any:
        """Keep of a part of a batch what :meth:`of_parts` needs; parameters as for :meth:`of_words`."""

    @abstractmethod
    def of_parts(self, parts: Sequence[Any]) -> Tensor:
        """Compute the loss of a batch from what was kept of its parts; no gradient flows."""


_Registered = TypeVar("_Registered", bound="type[Loss] | PlainFunction")
_REGISTER: dict[str, type[Loss] | PlainFunction] = {}


def register_loss(name: str) -> Callable[[_Registered], _Registered]:
    """Put a loss into the register (decorator of a plain function, or of a class derived from :class:`Loss`).

    Its options are the keyword parameters, which a class in :mod:`counterpoise.experiment.losses` declares, too.
    """

    def put(loss: _Registered) -> _Registered:
        _REGISTER[name] = loss
        return loss

    return put


def known_losses() -> tuple[str, ...]:
    """Name the registered losses: those of all modules of this package."""
    for module in pkgutil.iter_modules(losses.__path__):
        importlib.import_module(f"{losses.__name__}.{module.name}")
    return tuple(_REGISTER)


def build_loss(config: LossOptions, class_weights: Sequence[float]) -> Loss:
    """Build the loss that a configuration names.

    Parameters
    ----------
    config : LossOptions
        The name of a registered loss, or ``module:function`` (a plain function or a class, as they are registered),
        with its options.
    class_weights : sequence of float
        One weight per class, in the order of the channels.

    Raises
    ------
    ConfigError
        If a loss of one's own cannot be imported or called with these options.
    """
    if config.type in known_losses():
        found = _REGISTER[config.type]
    else:
        expected = ", ".join([*_REGISTER, "or module:function importable from where you run"])
        found = import_function(config.type, what="loss", expected=expected)
    if isinstance(found, type) and (not issubclass(found, Loss) or inspect.isabstract(found)):
        raise ConfigError(
            f"loss {config.type!r} is a class that cannot be used as a loss",
            expected="a class derived from counterpoise.losses.register.Loss with all its methods, or a plain function",
            found=f"class {found.__name__}",
            remedy="name a function of (logits, target, known, class_weights), or derive from Loss",
        )
    options = config.options()
    given = (class_weights,) if isinstance(found, type) else (None, None, None, class_weights)
    try:
        inspect.signature(found).bind(*given, **options)
    except TypeError as error:
        raise ConfigError(
            f"loss {config.type!r} cannot be called with the options of [loss]",
            expected=f"{config.type.rpartition(':')[2]}{inspect.signature(found)}",
            found=str(error),
            remedy="correct the keys of [loss], or the parameters of the function",
        ) from error
    return found(class_weights, **options) if isinstance(found, type) else PlainLoss(found, class_weights, config)


class PlainLoss(Loss):
    """A plain function as a loss from label words, which are unpacked for it.

    Parameters
    ----------
    function : callable
        As :data:`PlainFunction` says.
    class_weights : sequence of float
        One weight per class.
    config : LossOptions
        Its options, and its name for messages.
    """

    def __init__(self, function: PlainFunction, class_weights: Sequence[float], config: LossOptions) -> None:
        super().__init__()
        self.register_buffer("class_weights", torch.tensor(class_weights, dtype=torch.float32))
        self._function, self._config = function, config

    def of_words(self, logits: Tensor, present: Tensor, known: Tensor) -> Tensor:
        """Compute the loss of a batch in float32, also under mixed precision."""
        with torch.autocast(device_type=logits.device.type, enabled=False):
            target, is_known = unpack_labels(logits, present, known)
            loss = self._function(logits.float(), target, is_known, self.class_weights, **self._config.options())
        if not isinstance(loss, Tensor) or loss.shape:
            raise ConfigError(
                f"loss {self._config.type!r} does not return one number",
                expected="a tensor without axes: a sum or mean over batch, classes and voxels",
                found=f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__,
                remedy="correct the function",
            )
        return loss

    def of_part(self, logits: Tensor, present: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Keep the part as it is: of a loss in general, parts cannot be added up."""
        return logits, present, known

    def of_parts(self, parts: Sequence[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
        """Compute the loss of the batch that the parts make up."""
        logits, present, known = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return self.of_words(logits, present, known).detach()
