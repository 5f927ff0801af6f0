"""The Tversky loss straight from label words: forward and backward in closed form, nothing kept but the inputs."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from counterpoise.losses.words_cpu import LogitLayout, gradient_of_words, sums_of_words

__all__ = ["sum_words", "tversky_loss_of_sums", "tversky_loss_of_words", "unpack_labels"]

_LOG = logging.getLogger(__name__)

_SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}
"""torch cannot shift unsigned words wider than 8 bits; the same bits read as signed ones can be shifted."""


def tversky_loss_of_words(
    logits_BCX: Float[Tensor, "batch class_ *space"],
    present_BX: Integer[Tensor, " batch *space"],
    known_BX: Integer[Tensor, " batch *space"],
    class_weights: Float[Tensor, " class_"],
    *,
    alpha: float,
    beta: float,
    smooth: float,
) -> Float[Tensor, ""]:
    r"""Compute what :class:`~counterpoise.losses.tversky.TverskyLoss` does, without target and mask planes.

    With p the sigmoid of a logit x, t = 1 where the class is present and 0 where it is absent, TP, FP and FN as in
    :func:`~counterpoise.losses.tversky.tversky_index` and :math:`D = TP + \alpha FP + \beta FN + s`:

    .. math::
       1 - T = \frac{\alpha FP + \beta FN}{D}, \quad
       \frac{\partial T}{\partial p} = \begin{cases}
         (\alpha FP + \beta FN + \beta (TP + s)) / D^2 & t = 1 \\
         -\alpha (TP + s) / D^2 & t = 0
       \end{cases}, \quad
       \frac{\partial p}{\partial x} = p (1 - p).

    No term is a difference of nearly equal numbers, so that value and gradient are right to a few float32 roundings
    also where the prediction is nearly perfect or hopeless.

    The backward pass reads the logits again instead of keeping probabilities; it needs memory for the gradient
    only.
    On the CPU both passes are compiled loops (float32 and below; sums over 1024 pixels in float32, from there on in
    float64) whose result does not depend on the number of threads. Elsewhere, and for float64, they are vectorised
    torch, compiled on CUDA.

    Parameters
    ----------
    logits_BCX : float tensor, shape (batch, classes, ...)
        Network output, contiguous or channels last; any other layout and half precision on the CPU cost a copy.
    present_BX, known_BX : integer tensor, shape (batch, ...)
        Label words: bit c is set where class c is present / known. They must keep their values until the backward
        pass is over.
    class_weights : float tensor, shape (classes,)
        One weight per class.
    alpha, beta, smooth : float
        As for the plain loss.

    Returns
    -------
    float32 scalar (float64 for float64 logits)
        NaN if a logit is NaN, known or not.

    Raises
    ------
    ValueError
        If shapes do not fit or the words have fewer bits than there are classes.
    """
    if len(class_weights) != logits_BCX.shape[1]:
        raise ValueError(f"{logits_BCX.shape[1]} classes need as many weights, found {len(class_weights)} weights")
    logits_BCX, present_BX, known_BX = _fitting(logits_BCX, present_BX, known_BX)
    with torch.autocast(device_type=logits_BCX.device.type, enabled=False):
        loss: Tensor = _TverskyOfWords.apply(  # type: ignore[no-untyped-call]
            logits_BCX, present_BX, known_BX, class_weights, alpha, beta, smooth
        )
    return loss


def sum_words(
    logits_BCX: Float[Tensor, "batch class_ *space"],
    present_BX: Integer[Tensor, " batch *space"],
    known_BX: Integer[Tensor, " batch *space"],
) -> Float[Tensor, "3 class_"]:
    """Sum up what the loss of a batch is made of; the sums of parts of a batch add up to those of the whole.

    Parameters
    ----------
    logits_BCX, present_BX, known_BX
        As for :func:`tversky_loss_of_words`.

    Returns
    -------
    float64 tensor, shape (3, classes), on the device of the logits (float32 where that has no float64)
        True positive, false positive, false negative: p where present, p where absent, 1 - p where present. No
        gradient flows through them.

    Raises
    ------
    ValueError
        If shapes do not fit or the words have fewer bits than there are classes.
    """
    logits_BCX, present_BX, known_BX = _fitting(logits_BCX, present_BX, known_BX)
    with torch.no_grad(), torch.autocast(device_type=logits_BCX.device.type, enabled=False):
        return _sums(logits_BCX, present_BX, known_BX)


def tversky_loss_of_sums(
    sums: Float[Tensor, "3 class_"],
    class_weights: Float[Tensor, " class_"],
    *,
    alpha: float,
    beta: float,
    smooth: float,
) -> Float[Tensor, ""]:
    """Compute the loss from :func:`sum_words`: what :func:`tversky_loss_of_words` returns, before it is rounded."""
    return _Index.of(sums, class_weights, alpha, beta, smooth).loss()


def unpack_labels(
    logits_BCX: Float[Tensor, "batch class_ *space"],
    present_BX: Integer[Tensor, " batch *space"],
    known_BX: Integer[Tensor, " batch *space"],
) -> tuple[Float[Tensor, "batch class_ *space"], Bool[Tensor, "batch class_ *space"]]:
    """Unpack label words for a loss that works on planes.

    Parameters
    ----------
    logits_BCX, present_BX, known_BX
        As for :func:`tversky_loss_of_words`.

    Returns
    -------
    target : float32 tensor, shape of the logits
        1 where the class is present, 0 where it is absent or unknown.
    known : bool tensor, same shape
        Where it is known whether the class is there.
    """
    logits_BCX, present_BX, known_BX = _fitting(logits_BCX, present_BX, known_BX)
    classes, dimensions = logits_BCX.shape[1], logits_BCX.ndim
    return _planes(known_BX & present_BX, classes, dimensions).float(), _planes(known_BX, classes, dimensions)


def _fitting(logits: Tensor, present: Tensor, known: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Check that the words fit the logits, and return all three in a layout that the loops read."""
    batch, classes, *space = logits.shape
    if not present.shape == known.shape == (batch, *space):
        raise ValueError(
            f"logits {tuple(logits.shape)} need words of shape {(batch, *space)}, found "
            f"present {tuple(present.shape)} and known {tuple(known.shape)}"
        )
    if min(present.dtype.itemsize, known.dtype.itemsize) * 8 < classes:
        raise ValueError(f"{classes} classes do not fit into words of {present.dtype} and {known.dtype}")
    if not (logits.is_contiguous() or _is_channels_last(logits)):
        logits = logits.contiguous()
    present, known = (words.view(_SIGNED.get(words.dtype, words.dtype)) for words in (present, known))
    return logits, present, known


@dataclass(frozen=True)
class _Index:
    """Numerator and denominator of every class's Tversky index, and of 1 minus it, without cancellation."""

    weights: Tensor
    top: Tensor
    errors: Tensor
    bottom: Tensor

    @classmethod
    def of(cls, sums: Tensor, class_weights: Tensor, alpha: float, beta: float, smooth: float) -> _Index:
        true_pos, false_pos, false_neg = sums
        errors = alpha * false_pos + beta * false_neg
        weights = class_weights.to(sums.dtype) / len(class_weights)
        return cls(weights, true_pos + smooth, errors, true_pos + errors + smooth)

    def loss(self) -> Tensor:
        total: Tensor = (self.weights * self.errors / self.bottom).sum()
        return total

    def slopes(self, alpha: float, beta: float) -> Tensor:
        """Differentiate the loss by a probability where the class is absent, where it is present: (2, classes)."""
        by_absent = self.weights * alpha * self.top / self.bottom / self.bottom
        by_present = -self.weights * (self.errors + beta * self.top) / self.bottom / self.bottom
        return torch.stack([by_absent, by_present])


class _TverskyOfWords(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        logits: Tensor,
        present: Tensor,
        known: Tensor,
        class_weights: Tensor,
        alpha: float,
        beta: float,
        smooth: float,
    ) -> Tensor:
        index = _Index.of(_sums(logits, present, known), class_weights, alpha, beta, smooth)
        ctx.save_for_backward(logits, present, known, index.slopes(alpha, beta))
        return index.loss().to(torch.promote_types(logits.dtype, torch.float32))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_loss: Tensor) -> tuple[Tensor | None, ...]:
        logits, present, known, slopes = ctx.saved_tensors
        wide = torch.promote_types(logits.dtype, torch.float32)
        gradient = _gradient(logits, present, known, (slopes * by_loss).to(wide))
        return gradient, None, None, None, None, None, None


def _sums(logits: Tensor, present: Tensor, known: Tensor) -> Tensor:
    """Sum true positives, false positives, false negatives: shape (3, classes), float64 where the device has it."""
    if not _has_kernel(logits):
        return _sums_in_torch(logits.detach(), present, known)  # else compiled again where no gradient is wanted
    values = logits.detach().float()
    sums = sums_of_words(
        _flat(values), _pixels(present), _pixels(known), _layout(values), threads=torch.get_num_threads()
    )
    return torch.from_numpy(sums)


def _gradient(logits: Tensor, present: Tensor, known: Tensor, slopes: Tensor) -> Tensor:
    """Differentiate by the logits; ``slopes`` (2, classes): by a probability where absent, where present."""
    if not _has_kernel(logits):
        return _gradient_in_torch(logits.detach(), present, known, slopes)
    values = logits.detach().float()
    gradient = torch.empty_like(values)
    by_absent, by_present = slopes.numpy()
    gradient_of_words(
        _flat(values), _pixels(present), _pixels(known), _layout(values), by_absent, by_present, _flat(gradient),
        threads=torch.get_num_threads(),
    )  # fmt: skip
    return gradient.to(logits.dtype)


def _has_kernel(logits: Tensor) -> bool:
    return logits.device.type == "cpu" and logits.dtype != torch.float64


def _is_channels_last(logits: Tensor) -> bool:
    return logits.movedim(1, -1).is_contiguous()


def _flat(logits: Tensor) -> np.ndarray:
    """View the logits as a row in the order of memory."""
    in_order = logits if logits.is_contiguous() else logits.movedim(1, -1)
    flat: np.ndarray = in_order.view(-1).numpy()
    return flat


def _layout(logits: Tensor) -> LogitLayout:
    """Say where in :func:`_flat` each logit stands."""
    batch, classes = logits.shape[:2]
    pixels = math.prod(logits.shape[2:])
    by_class_and_pixel = (pixels, 1) if logits.is_contiguous() else (1, classes)
    return LogitLayout(batch, classes, pixels, classes * pixels, *by_class_and_pixel)


def _pixels(words: Tensor) -> np.ndarray:
    """Flatten space: shape (batch, pixels)."""
    flat: np.ndarray = words.contiguous().flatten(1).numpy()
    return flat


def _planes(words: Tensor, classes: int, dimensions: int) -> Tensor:
    """Unpack label words into bool planes, shape (batch, classes, ...)."""
    bits = torch.arange(classes, device=words.device).to(words.dtype).view(1, -1, *[1] * (dimensions - 2))
    planes: Tensor = ((words.unsqueeze(1) >> bits) & 1).bool()
    return planes


def _sums_in_planes(logits: Tensor, present: Tensor, known: Tensor) -> Tensor:
    """Compute :func:`_sums` in vectorised torch: over a patch in float32 or wider, then over the batch in float64."""
    classes, space = logits.shape[1], tuple(range(2, logits.ndim))
    wide = torch.promote_types(logits.dtype, torch.float32)
    widest = wide if logits.device.type == "mps" else torch.float64  # there is no float64 on Apple's GPUs
    values = logits.to(wide)
    p, q = torch.sigmoid(values), torch.sigmoid(-values)
    is_present = _planes(known & present, classes, logits.ndim)
    is_absent = _planes(known & ~present, classes, logits.ndim)
    per_patch = torch.stack([(p * is_present).sum(space), (p * is_absent).sum(space), (q * is_present).sum(space)])
    return per_patch.to(widest).sum(1)


def _gradient_in_planes(logits: Tensor, present: Tensor, known: Tensor, slopes: Tensor) -> Tensor:
    """Compute :func:`_gradient` in vectorised torch."""
    classes = logits.shape[1]
    by_absent, by_present = slopes.view(2, 1, classes, *[1] * (logits.ndim - 2))
    is_present = _planes(known & present, classes, logits.ndim)
    is_absent = _planes(known & ~present, classes, logits.ndim)
    e = torch.exp(-logits.to(slopes.dtype).abs())
    # The logits' part first: the product takes over their memory layout.
    gradient: Tensor = e / (1.0 + e).square() * (by_absent * is_absent + by_present * is_present)
    return gradient.to(logits.dtype)


class _CompiledOnCuda:
    """A function that is compiled for CUDA at its first call there, and runs as it is where that does not work.

    A resumed trial repeats the same bits, so its kernels must be the same ones. Shapes are fixed while compiling: a
    kernel for any shape would take the place of the one that earlier steps used, with other rounding. And no kernel is
    chosen by timing several, where torch can do without, because another process could choose another.
    """

    def __init__(self, plain: Callable[..., Tensor], *, device_type: str = "cuda") -> None:
        self._plain, self._device_type = plain, device_type
        self._compiled: Callable[..., Tensor] | None = None
        self._failed = False

    def __call__(self, logits: Tensor, *others: Tensor) -> Tensor:
        if logits.device.type != self._device_type or self._failed:
            return self._plain(logits, *others)
        try:
            if self._compiled is None:
                self._compiled = torch.compile(self._plain, dynamic=False, options=_repeatable())
            return self._compiled(logits, *others)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - a compiler fails in ways of its own; the plain function is right
            self._failed = True
            _LOG.warning("torch.compile of the loss failed, continuing without it: %s", _first_line(error))
            return self._plain(logits, *others)


def _repeatable() -> dict[str, str | int | bool | Callable[..., Any]]:
    """Return the compiler's option that forbids choices by timing which move numbers, if this torch knows it."""
    from torch._inductor import config

    return {"deterministic": True} if hasattr(config, "deterministic") else {}


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


_sums_in_torch = _CompiledOnCuda(_sums_in_planes)
_gradient_in_torch = _CompiledOnCuda(_gradient_in_planes)
