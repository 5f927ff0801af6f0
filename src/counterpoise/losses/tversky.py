"""Per-class Tversky loss with unknown voxels, weighted by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float, Integer
from torch import Tensor

from counterpoise.losses.register import Loss, register_loss
from counterpoise.losses.words import sum_words, tversky_loss_of_sums, tversky_loss_of_words

__all__ = ["TverskyLoss", "tversky_index"]


def tversky_index(
    logits_BCX: Float[Tensor, "batch class_ *space"],
    target_BCX: Float[Tensor, "batch class_ *space"],
    known_BCX: Bool[Tensor, "batch class_ *space"],
    *,
    alpha: float,
    beta: float,
    smooth: float,
) -> Float[Tensor, " class_"]:
    r"""Compute the soft Tversky index of every class over a whole batch.

    With p the sigmoid of the logits, sums over batch and space where the class is known,
    :math:`TP = \sum p t`, :math:`FP = \sum p (1 - t)`, :math:`FN = \sum (1 - p) t`:

    .. math:: T = (TP + s) / (TP + \alpha FP + \beta FN + s)

    Parameters
    ----------
    logits_BCX : float tensor, shape (batch, classes, ...)
        Network output; any floating type, the sums are float32 or wider.
    target_BCX : float tensor, same shape
        1 present, 0 absent; any finite value where unknown.
    known_BCX : bool tensor, same shape
        Where it is known whether the class is there.
    alpha, beta : float
        Weight of false positives, of false negatives.
    smooth : float
        s in the formula.

    Returns
    -------
    float tensor, shape (classes,)
        Index in (0, 1], higher is better; exactly 1 for a class with no known voxel.

    References
    ----------
    .. [1] S. S. M. Salehi, D. Erdogmus, A. Gholipour, "Tversky loss function for image segmentation using 3D
       fully convolutional deep networks", MLMI 2017 (arXiv:1706.05721).
    """
    axes = [0, *range(2, logits_BCX.ndim)]
    wide = torch.promote_types(logits_BCX.dtype, torch.float32)
    # Unknown voxels drop out of all three sums by multiplication: p is finite also where a logit is infinite. Only a
    # logit that is NaN shows, known or not: that network has diverged.
    p = torch.sigmoid(logits_BCX.to(wide)) * known_BCX
    t = target_BCX.to(wide) * known_BCX
    true_pos = (p * t).sum(axes)
    false_pos = p.sum(axes) - true_pos
    false_neg = t.sum(axes) - true_pos
    return (true_pos + smooth) / (true_pos + alpha * false_pos + beta * false_neg + smooth)


@register_loss("tversky")
class TverskyLoss(Loss):
    r"""Sum of the classes' Tversky losses, each times its weight, over the number of classes.

    .. math:: L = \frac{1}{C} \sum_c w_c (1 - T_c)

    A class without a known voxel in the batch contributes nothing (the divisor stays C). Sums are over the whole
    batch, not per patch, and in float32 also under mixed precision.

    Parameters
    ----------
    class_weights : mapping of str to float, or sequence of float
        One weight per class, in the order of the channels.
    alpha : float
        Weight of false positives.
    beta : float
        Weight of false negatives. (Papers disagree which letter is which; this is the CellMap users' reading.)
    smooth : float
        Added to numerator and denominator; above 0.

    Raises
    ------
    ValueError
        If a weight or a parameter is negative or not finite, smooth is 0, or shapes do not fit.

    Examples
    --------
    >>> import torch
    >>> loss = TverskyLoss([1.0], smooth=1e-6)
    >>> target = torch.tensor([[[[1.0, 0.0], [float("nan"), 0.0]]]])
    >>> round(loss(torch.zeros(1, 1, 2, 2), target).item(), 4)
    0.6154
    """

    def __init__(
        self,
        class_weights: Mapping[str, float] | Sequence[float] | Tensor,
        alpha: float = 0.6,
        beta: float = 0.4,
        smooth: float = 1e-6,
    ) -> None:
        super().__init__()
        values = list(class_weights.values()) if isinstance(class_weights, Mapping) else class_weights
        weights = torch.as_tensor(values, dtype=torch.float32)
        if weights.ndim != 1 or not bool(torch.isfinite(weights).all()) or bool((weights < 0).any()):
            raise ValueError(f"class_weights must be one finite number >= 0 per class, found {values}")
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be a finite number >= 0, found {value}")
        if not 0 < smooth < float("inf"):  # 0 would make the index of a class without a known voxel 0 / 0
            raise ValueError(f"smooth must be a finite number > 0, found {smooth}")
        self.register_buffer("class_weights", weights)
        self.alpha, self.beta, self.smooth = float(alpha), float(beta), float(smooth)

    def forward(
        self,
        logits: Float[Tensor, "batch class_ *space"],
        target: Float[Tensor, "batch class_ *space"],
        known: Bool[Tensor, "batch class_ *space"] | None = None,
    ) -> Float[Tensor, ""]:
        """Compute the loss of a batch.

        Parameters
        ----------
        logits : float tensor, shape (batch, classes, height, width)
            Network output before the sigmoid.
        target : float tensor, same shape
            1 present, 0 absent, NaN unknown.
        known : bool tensor, same shape, optional
            Where the class is known, in addition to what NaN says. With it, the target need not hold NaN.

        Returns
        -------
        float32 scalar
            Between 0 and the mean weight; lower is better.
        """
        if logits.shape != target.shape or logits.shape[1] != len(self.class_weights):
            raise ValueError(
                f"logits {tuple(logits.shape)} and target {tuple(target.shape)} must have the same shape "
                f"(batch, {len(self.class_weights)} classes, ...)"
            )
        is_number = ~torch.isnan(target)
        known = is_number if known is None else known & is_number
        with torch.autocast(device_type=logits.device.type, enabled=False):
            index = tversky_index(
                logits,
                target.masked_fill(~known, 0.0),
                known,
                alpha=self.alpha,
                beta=self.beta,
                smooth=self.smooth,
            )
            return (self.class_weights * (1.0 - index)).sum() / len(self.class_weights)

    def of_words(
        self,
        logits: Float[Tensor, "batch class_ *space"],
        present: Integer[Tensor, " batch *space"],
        known: Integer[Tensor, " batch *space"],
    ) -> Float[Tensor, ""]:
        """Compute the loss of a batch from label words: the same number without planes, several times faster.

        Parameters
        ----------
        logits : float tensor, shape (batch, classes, height, width)
            Network output before the sigmoid.
        present, known : integer tensor, shape (batch, height, width)
            Label words: bit c is set where class c is present / known.

        Returns
        -------
        float32 scalar
            As :meth:`forward`, but for rounding; see :func:`~counterpoise.losses.words.tversky_loss_of_words`.
        """
        return tversky_loss_of_words(
            logits, present, known, self.class_weights, alpha=self.alpha, beta=self.beta, smooth=self.smooth
        )

    def of_part(
        self,
        logits: Float[Tensor, "batch class_ *space"],
        present: Integer[Tensor, " batch *space"],
        known: Integer[Tensor, " batch *space"],
    ) -> Float[Tensor, "3 class_"]:
        """Sum up what :meth:`of_words` consists of; see :func:`~counterpoise.losses.words.sum_words`."""
        return sum_words(logits, present, known)

    def of_parts(self, parts: Sequence[Float[Tensor, "3 class_"]]) -> Float[Tensor, ""]:
        """Compute the loss of a batch whose parts were summed up one after the other.

        Parameters
        ----------
        parts : sequence of float tensor, shape (3, classes)
            What :meth:`of_part` gave for the parts.

        Returns
        -------
        float32 scalar
            As :meth:`of_words` of the whole batch; no gradient flows.
        """
        sums = torch.stack(list(parts)).sum(0)
        loss = tversky_loss_of_sums(sums, self.class_weights, alpha=self.alpha, beta=self.beta, smooth=self.smooth)
        return loss.float()
