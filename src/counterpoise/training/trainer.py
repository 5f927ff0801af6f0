"""Steps and epochs: AdamW, one-cycle schedule stepped every step, averaged weights."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from counterpoise.errors import TrialError
from counterpoise.experiment.trial import TrialConfig
from counterpoise.losses.tversky import TverskyLoss
from counterpoise.models.registry import build_model
from counterpoise.sampling.sampler import Sampler, unpack_words
from counterpoise.training.device import Device

__all__ = ["EpochOutcome", "Trainer"]

_MIN_WARMUP_STEPS = 1.5
"""OneCycleLR divides by (warm-up steps - 1): a very short run gets at least this much warm-up."""


@dataclass(frozen=True)
class EpochOutcome:
    """What happened in one epoch.

    ``loss`` is the mean over steps with a finite loss (None if there were none); ``clipped_steps`` had a gradient
    norm above the limit; ``nonfinite_steps`` had a loss or gradient that was not finite and moved no weight.
    """

    loss: float | None
    learning_rate: float
    clipped_steps: int
    nonfinite_steps: int
    seconds: float


class Trainer:
    """One network in training.

    Parameters
    ----------
    config : TrialConfig
        Everything that decides the result.
    sampler : Sampler
        Of the train split.
    device : Device
        Where to compute.

    Attributes
    ----------
    model : nn.Module
        The network being trained.
    averaged : AveragedModel
        Exponential moving average of its weights and normalisation statistics: what is scored.
    """

    def __init__(self, config: TrialConfig, sampler: Sampler, device: Device) -> None:
        training = config.training
        self._config, self._sampler, self._device = config, sampler, device
        classes = len(config.classes)
        model = build_model(config.model, slices=config.sampling.slices, classes=classes)
        self.model: nn.Module = model.to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = AveragedModel(
            self.model,
            multi_avg_fn=get_ema_multi_avg_fn(training.ema_decay),  # type: ignore[no-untyped-call]
            use_buffers=True,
        )
        self.loss = TverskyLoss(
            [config.class_weights[name] for name in config.classes],
            config.loss.alpha,
            config.loss.beta,
            config.loss.smooth,
        ).to(device.torch)
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
        )
        steps = training.epochs * training.steps_per_epoch
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimizer,
            max_lr=training.learning_rate,
            total_steps=steps,
            pct_start=min(max(training.warmup_fraction, _MIN_WARMUP_STEPS / steps), 0.9),
            anneal_strategy="cos",
        )
        self._scaler = torch.amp.GradScaler(device.torch.type, enabled=device.needs_scaler)
        self.nonfinite_steps = 0

    def train_epoch(self, epoch: int, on_step: Callable[[int, float], object]) -> EpochOutcome:
        """Train one epoch.

        Parameters
        ----------
        epoch : int
            From 1; its steps are ``(epoch - 1) * steps_per_epoch`` onwards.
        on_step : callable
            Told the step within the epoch (from 1) and its loss.

        Raises
        ------
        TrialError
            If more steps than ``max_nonfinite_steps`` had a loss or gradient that was not finite.
        """
        training = self._config.training
        started = time.perf_counter()
        self.model.train()
        total, finite, clipped, nonfinite = 0.0, 0, 0, 0
        rate = 0.0
        for index in range(training.steps_per_epoch):
            step = (epoch - 1) * training.steps_per_epoch + index
            rate = float(self._schedule.get_last_lr()[0])
            loss, norm = self._step(step)
            if math.isfinite(loss) and math.isfinite(norm):
                total += loss
                finite += 1
                clipped += norm > training.gradient_clip
            else:
                nonfinite += 1
                self.nonfinite_steps += 1
                self._give_up_if_hopeless(epoch)
            on_step(index + 1, loss)
        return EpochOutcome(
            loss=total / finite if finite else None,
            learning_rate=rate,
            clipped_steps=clipped,
            nonfinite_steps=nonfinite,
            seconds=time.perf_counter() - started,
        )

    def _step(self, step: int) -> tuple[float, float]:
        """Make one update and return loss and gradient norm; nothing moves if one of them is not finite."""
        config, device = self._config, self._device
        batch = self._sampler.batch(config.seed, step, config.training.batch_size)
        classes = len(config.classes)
        target = unpack_words(batch.present.to(device.torch), classes).float()
        known = unpack_words(batch.known.to(device.torch), classes)
        self._optimizer.zero_grad(set_to_none=True)
        kept = [buffer.clone() for buffer in self.model.buffers()]
        with device.autocast():
            logits = self.model(device.images(batch.images))
        loss = self.loss(logits, target, known)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.training.gradient_clip)
        value, size = float(loss.detach()), float(norm)
        if math.isfinite(value) and math.isfinite(size):
            self._scaler.step(self._optimizer)
            self.averaged.update_parameters(self.model)
        else:
            # The forward pass has moved the normalisation's running statistics: one NaN would stay there for ever.
            for buffer, value_before in zip(self.model.buffers(), kept, strict=True):
                buffer.copy_(value_before)
        self._scaler.update()
        with warnings.catch_warnings():
            # A very first step that moved no weight looks to torch like a wrong order of calls.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            self._schedule.step()
        return value, size

    def _give_up_if_hopeless(self, epoch: int) -> None:
        allowed = self._config.training.max_nonfinite_steps
        if self.nonfinite_steps > allowed:
            raise TrialError(
                f"training of {self._config.arm}, seed {self._config.seed}, diverged in epoch {epoch}",
                expected=f"at most {allowed} steps whose loss or gradient is not finite",
                found=f"{self.nonfinite_steps} of them",
                remedy="lower training.learning_rate, or use precision = 'float32'; the last good checkpoint is kept",
            )

    def state(self) -> dict[str, Any]:
        """Return everything that the next step depends on, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "scaler": self._scaler.state_dict(),
            "torch_rng": torch.get_rng_state(),
            "nonfinite_steps": self.nonfinite_steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state as if nothing had happened."""
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["torch_rng"])
        self.nonfinite_steps = state["nonfinite_steps"]
