"""Steps and epochs: AdamW, one-cycle schedule stepped every step, averaged weights."""

from __future__ import annotations

import itertools
import logging
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from counterpoise.errors import DivergedError
from counterpoise.experiment.trial import TrialConfig
from counterpoise.frequencies.exposure import Exposure
from counterpoise.losses.register import build_loss
from counterpoise.models.registry import build_model
from counterpoise.sampling.exposure import ExposureLedger
from counterpoise.sampling.sampler import Sampler
from counterpoise.training.device import Device
from counterpoise.training.micro_batches import MicroBatches, is_out_of_memory
from counterpoise.training.optimizer import LeanAdamW
from counterpoise.training.seeding import random_state, restore_random_state

__all__ = ["EpochOutcome", "Trainer"]

_LOG = logging.getLogger(__name__)

_MIN_WARMUP_STEPS = 1.5
"""OneCycleLR divides by (warm-up steps - 1): a very short run gets at least this much warm-up."""


@dataclass(frozen=True)
class EpochOutcome:
    """What happened in one epoch.

    ``loss`` is the mean over steps with a finite loss (None if there were none); ``clipped_steps`` had a gradient
    norm above the limit; ``nonfinite_steps`` had a loss or gradient that was not finite and moved no weight.
    ``exposure`` counts the patches of all steps, also of those; ``data_wait_s`` is
    how long the steps waited for them, in all; ``micro_batch`` is how many patches at a time the network saw in the
    last step.
    """

    loss: float | None
    learning_rate: float
    clipped_steps: int
    nonfinite_steps: int
    seconds: float
    exposure: Exposure
    data_wait_s: float
    micro_batch: int


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
        self.averaged = AveragedModel(self.model, use_buffers=True)
        self._averaging = _Averaging(self.model, self.averaged, training.ema_decay)
        self._buffers = list(self.model.buffers())
        self._kept = [torch.empty_like(buffer) for buffer in self._buffers]
        weights = [config.class_weights[name] for name in config.classes]
        self.loss = build_loss(config.loss, weights).to(device.torch)
        self._optimizer = LeanAdamW(
            self.model.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True
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
        self._parts = MicroBatches(training.batch_size)
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
        DivergedError
            If more steps than ``max_nonfinite_steps`` had a loss or gradient that was not finite.
        """
        training = self._config.training
        started, waited = time.perf_counter(), self._sampler.waited_s
        shown = ExposureLedger(self._config.classes)
        self.model.train()
        total, finite, clipped, nonfinite = 0.0, 0, 0, 0
        rate = 0.0
        for index in range(training.steps_per_epoch):
            step = (epoch - 1) * training.steps_per_epoch + index
            rate = float(self._schedule.get_last_lr()[0])
            loss, norm = self._step(step, shown)
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
            exposure=shown.total(),
            data_wait_s=self._sampler.waited_s - waited,
            micro_batch=self._parts.size,
        )

    def _step(self, step: int, shown: ExposureLedger) -> tuple[float, float]:
        """Make one update and return loss and gradient norm; nothing moves if one of them is not finite."""
        config, device = self._config, self._device
        batch = self._sampler.batch(config.seed, step, config.training.batch_size)
        present_words, known_words = batch.present.to(device.torch), batch.known.to(device.torch)
        shown.add(present_words, known_words)
        _copy(self._buffers, self._kept)
        loss = self._backward(batch.images, partial(self.loss.of_words, present=present_words, known=known_words))
        self._scaler.unscale_(self._optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.training.gradient_clip)
        value, size = float(loss), float(norm)
        if math.isfinite(value) and math.isfinite(size):
            self._scaler.step(self._optimizer)
            self._averaging.update()
        else:
            # The forward pass has moved the normalisation's running statistics: one NaN would stay there for ever.
            _copy(self._kept, self._buffers)
        self._scaler.update()
        with warnings.catch_warnings():
            # A very first step that moved no weight looks to torch like a wrong order of calls.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            self._schedule.step()
        return value, size

    def _backward(self, images: Tensor, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
        """Compute loss and gradient of a batch.

        If the device's memory is not enough, voxels that lie there go first, which changes no number; then the batch is
        computed in smaller parts from now on.
        """
        drawn = random_state(self._device.torch)
        while True:
            self._optimizer.zero_grad(set_to_none=True)
            try:
                return self._parts.backward(
                    self.model, self._device.images(images), loss_of, self._scaler.scale, self._device
                )
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                reason = str(error).splitlines()[0]
            # Outside of the handler, where the error no longer holds on to what the attempt had allocated.
            if self._sampler.leave_device():
                _LOG.warning("Out of memory: voxels for training are read in host memory from now on")
            else:
                self._parts.make_room(self._device.torch, reason)
            _copy(self._kept, self._buffers)
            restore_random_state(drawn, self._device.torch)

    def _give_up_if_hopeless(self, epoch: int) -> None:
        allowed = self._config.training.max_nonfinite_steps
        if self.nonfinite_steps > allowed:
            raise DivergedError(
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
            "random": random_state(self._device.torch),
            "micro_batch": self._parts.size,
            "nonfinite_steps": self.nonfinite_steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state as if nothing had happened."""
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._schedule.load_state_dict(state["schedule"])
        self._scaler.load_state_dict(state["scaler"])
        restore_random_state(state["random"], self._device.torch)
        self._parts = MicroBatches(state["micro_batch"])
        self.nonfinite_steps = state["nonfinite_steps"]


class _Averaging:
    """The moving average of weights and buffers: what ``AveragedModel.update_parameters`` does, a tenth of its time.

    The tensors are paired once instead of at every step. A buffer of integers (how many batches a normalisation has
    seen) is copied.
    """

    def __init__(self, model: nn.Module, averaged: AveragedModel, decay: float) -> None:
        pairs = [
            (mean.detach(), value.detach())
            for mean, value in zip(
                itertools.chain(averaged.module.parameters(), averaged.module.buffers()),
                itertools.chain(model.parameters(), model.buffers()),
                strict=True,
            )
        ]
        self._count = averaged.n_averaged
        self._averaged = [pair for pair in pairs if pair[0].is_floating_point()]
        self._copied = [pair for pair in pairs if not pair[0].is_floating_point()]
        self._average: Callable[..., None] = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """Take the model's present state into the average; the first one is the average."""
        means, values = _columns(self._averaged)
        if int(self._count) == 0:
            _copy(values, means)
        else:
            self._average(means, values, self._count)
        copies, originals = _columns(self._copied)
        _copy(originals, copies)
        self._count += 1


def _columns(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [first for first, _ in pairs], [second for _, second in pairs]


def _copy(source: list[Tensor], destination: list[Tensor]) -> None:
    """Copy values tensor by tensor, in one call for all of them."""
    if source:
        torch._foreach_copy_(destination, source)
