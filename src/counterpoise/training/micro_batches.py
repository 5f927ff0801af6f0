"""The gradient of one batch, in parts where the whole batch does not fit into the device's memory."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from counterpoise.errors import TrialError
from counterpoise.training.device import Device
from counterpoise.training.seeding import random_state, restore_random_state

__all__ = ["MicroBatches", "is_out_of_memory"]

_LOG = logging.getLogger(__name__)


class MicroBatches:
    """Compute a batch's loss and gradient, with as many patches at a time as fit.

    A loss such as Tversky's is taken over a whole batch, so that the mean over parts would be another loss. Here the
    network predicts all parts first, keeping nothing but the logits; the loss of the whole batch is differentiated by
    these; then every part is predicted again and its share of that gradient sent back. What is left of a
    difference to the whole batch at once is that batch normalisation sees the parts. It costs one more prediction per
    step.

    Parameters
    ----------
    size : int
        Patches at a time to begin with.

    Attributes
    ----------
    size : int
        Patches at a time now.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def halve(self) -> bool:
        """Take half as many patches at a time from now on; False if it is a single one already."""
        if self.size == 1:
            return False
        self.size = (self.size + 1) // 2
        return True

    def make_room(self, device: torch.device, reason: str) -> None:
        """Go on with half as many patches at a time, after what ``reason`` says.

        Raises
        ------
        TrialError
            If it is a single one already.
        """
        before = self.size
        if not self.halve():
            raise TrialError(
                f"a single patch does not fit into the memory of {device}",
                expected="memory for the network, its optimiser and one patch",
                found=reason,
                remedy="lower model.width or sampling.patch_shape, or stop other programs on this device",
            )
        _LOG.warning("Out of memory: %d patches at a time instead of %d, same loss", self.size, before)
        if device.type == "cuda":
            torch.cuda.empty_cache()

    def backward(
        self,
        model: nn.Module,
        images: Tensor,
        loss_of: Callable[[Tensor], Tensor],
        scale: Callable[[Tensor], Tensor],
        device: Device,
    ) -> Tensor:
        """Add the batch's gradient to the network's parameters.

        Parameters
        ----------
        model : nn.Module
            In training mode.
        images : tensor, shape (batch, slices, rows, columns)
            On the device.
        loss_of : callable
            From the logits of the whole batch to the loss.
        scale : callable
            Applied to the loss before it is differentiated (the gradient scaler's).
        device : Device
            How precisely to compute.

        Returns
        -------
        float32 scalar
            The loss, detached.

        Raises
        ------
        torch.OutOfMemoryError
            If a part does not fit.
        """
        if self.size >= len(images):
            with device.autocast():
                logits = model(images)
            loss = loss_of(logits)
            scale(loss).backward()  # type: ignore[no-untyped-call]
            return loss.detach()
        parts = images.split(self.size)  # type: ignore[no-untyped-call]
        buffers = list(model.buffers())
        before = [buffer.clone() for buffer in buffers]
        drawn = random_state(device.torch)
        with torch.no_grad(), device.autocast():
            logits = torch.cat([model(part) for part in parts])
        logits.requires_grad_()
        loss = loss_of(logits)
        scale(loss).backward()  # type: ignore[no-untyped-call]
        # The second prediction must be the first one again: with its statistics, with its dropout.
        if buffers:
            torch._foreach_copy_(buffers, before)
        restore_random_state(drawn, device.torch)
        assert logits.grad is not None  # noqa: S101 - of a leaf that the loss depends on
        gradients = logits.grad.split(self.size)  # type: ignore[no-untyped-call]
        for part, gradient in zip(parts, gradients, strict=True):
            with device.autocast():
                predicted = model(part)
            predicted.backward(gradient)
        return loss.detach()


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an error means that a device's memory was not enough; Apple's GPUs have no class of their own."""
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in str(error)
