"""Learning rates, averaged weights, clipping and steps that are not finite."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from counterpoise.errors import TrialError
from counterpoise.experiment.config import SamplingConfig
from counterpoise.experiment.trial import TrialConfig
from counterpoise.losses.tversky import TverskyLoss
from counterpoise.sampling.gather_torch import DeviceStore
from counterpoise.sampling.sampler import Batch, Sampler, unpack_words
from counterpoise.sampling.source import DeviceSource, HostSource
from counterpoise.store import StoredCrop, VoxelStore
from counterpoise.training.device import open_device
from counterpoise.training.seeding import prepare_torch
from counterpoise.training.trainer import Trainer

MakeTrainer = Callable[..., Trainer]


@pytest.fixture
def make_trainer(write_trial: Callable[..., Path], small_store: VoxelStore) -> MakeTrainer:
    """Return a function that makes a seeded trainer of the tiny trial; keywords replace keys."""
    made: list[int] = []

    def make(*, precision: str = "float32", **changes: object) -> Trainer:
        made.append(0)
        folder = write_trial(f"seed-0{len(made)}", precision=precision, **changes)
        config = TrialConfig.read(folder / "trial.toml")
        prepare_torch(config.seed, threads=1)
        device = open_device("cpu", config.training.precision)
        return Trainer(config, Sampler(small_store, "train", config.sampling), device)

    return make


def state(trainer: Trainer) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in trainer.model.state_dict().items()}


def averaged(trainer: Trainer) -> dict[str, Tensor]:
    return {k: v.clone() for k, v in trainer.averaged.module.state_dict().items()}


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def one_cycle(step: int, total: int, peak: float, warmup: float) -> float:
    """Compute the cosine one-cycle rate: peak / 25 up to the peak, then down to peak / 250000."""

    def between(start: float, end: float, share: float) -> float:
        return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * share))

    top = warmup * total - 1.0
    if step <= top:
        return between(peak / 25.0, peak, step / top)
    return between(peak, peak / 25.0 / 1e4, (step - top) / (total - 1.0 - top))


def test_the_learning_rate_is_the_one_cycle_formula_at_every_step(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(epochs=4, steps_per_epoch=5, warmup_fraction=0.25, learning_rate=2e-3)
    used: list[float] = []

    def note(optimizer: torch.optim.Optimizer, *_: object) -> None:
        used.append(float(optimizer.param_groups[0]["lr"]))

    trainer._optimizer.register_step_pre_hook(note)
    rates = [trainer.train_epoch(epoch, lambda *_: None).learning_rate for epoch in range(1, 5)]
    assert used == pytest.approx([one_cycle(k, 20, 2e-3, 0.25) for k in range(20)], rel=1e-9)
    assert max(used) == pytest.approx(2e-3)
    assert used.index(max(used)) == 4
    assert rates == [used[k] for k in (4, 9, 14, 19)]  # an epoch reports the rate of its last step


@pytest.mark.parametrize("steps", [1, 2, 3, 20])
def test_runs_of_any_length_have_finite_rates_below_the_peak(steps: int, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(epochs=1, steps_per_epoch=steps, learning_rate=1e-3, batch_size=1)
    outcome = trainer.train_epoch(1, lambda *_: None)
    assert 0.0 < outcome.learning_rate <= 1e-3
    assert outcome.loss is not None


def test_averaged_weights_start_as_the_first_updated_ones(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(ema_decay=0.9, epochs=1, steps_per_epoch=1)
    trainer.train_epoch(1, lambda *_: None)
    assert equal(averaged(trainer), state(trainer))


def test_averaged_weights_are_the_exponential_average_of_weights_and_statistics(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(ema_decay=0.75, epochs=1, steps_per_epoch=4)
    history: list[dict[str, Tensor]] = []
    trainer.train_epoch(1, lambda *_: history.append(state(trainer)))
    for name, value in averaged(trainer).items():
        if not value.is_floating_point():
            assert int(value) == 4, name  # batches that the normalisation has seen
            continue
        expected = history[0][name].double()
        for later in history[1:]:
            expected = 0.75 * expected + 0.25 * later[name].double()
        assert torch.allclose(value.double(), expected, rtol=1e-5, atol=1e-7), name
    assert not equal(averaged(trainer), state(trainer))


def test_decay_zero_scores_the_weights_themselves(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(ema_decay=0.0, epochs=1, steps_per_epoch=3)
    trainer.train_epoch(1, lambda *_: None)
    assert equal(averaged(trainer), state(trainer))


def test_the_first_step_is_adamw_on_the_clipped_gradient_of_the_masked_loss(
    make_trainer: MakeTrainer, small_store: VoxelStore
) -> None:
    """Compute one update by hand: gradient by autograd on a copy, clipping and AdamW by their formulas."""
    clip, decay = 0.01, 0.1
    trainer = make_trainer(gradient_clip=clip, weight_decay=decay, epochs=1, steps_per_epoch=3)
    config = trainer._config
    batch = Sampler(small_store, "train", config.sampling).batch(0, 0, 4)
    start = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    trainer.model.train()
    statistics = {k: v.clone() for k, v in trainer.model.named_buffers()}
    target = unpack_words(batch.present, 5).float()
    loss = TverskyLoss([1.0] * 5)(
        trainer.model(batch.images.contiguous(memory_format=torch.channels_last)), target, unpack_words(batch.known, 5)
    )
    names, parameters = zip(*trainer.model.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters)
    with torch.no_grad():
        for name, buffer in trainer.model.named_buffers():
            buffer.copy_(statistics[name])
    norm = math.sqrt(sum(float(g.double().square().sum()) for g in gradients))
    assert norm > clip

    losses: list[float] = []
    rate = trainer._optimizer.param_groups[0]["lr"]

    class _EnoughError(Exception):
        pass

    def once(_: int, value: float) -> None:
        losses.append(value)
        raise _EnoughError

    with pytest.raises(_EnoughError):
        trainer.train_epoch(1, once)
    assert losses[0] == pytest.approx(loss.item(), rel=1e-6)
    after = dict(trainer.model.named_parameters())
    for name, gradient in zip(names, gradients, strict=True):
        clipped = gradient.double() * clip / (norm + 1e-6)
        # First step of Adam: both moments are bias-corrected to g and g^2.
        expected = start[name].double() * (1.0 - rate * decay) - rate * clipped / (clipped.abs() + 1e-8)
        assert torch.allclose(after[name].double(), expected, rtol=1e-4, atol=rate * 2e-2), name


def test_clipped_steps_are_counted(make_trainer: MakeTrainer) -> None:
    assert make_trainer(gradient_clip=1e-6).train_epoch(1, lambda *_: None).clipped_steps == 3
    assert make_trainer(gradient_clip=1e6).train_epoch(1, lambda *_: None).clipped_steps == 0


def test_a_step_that_is_not_finite_moves_nothing(
    make_trainer: MakeTrainer, failing_model: Callable[[set[int]], None]
) -> None:
    failing_model({1})
    trainer = make_trainer(ema_decay=0.9)
    seen: list[tuple[dict[str, Tensor], dict[str, Tensor], float]] = []
    outcome = trainer.train_epoch(1, lambda _, loss: seen.append((state(trainer), averaged(trainer), loss)))
    (first, first_mean, _), (second, second_mean, bad), (third, _, _) = seen
    assert math.isnan(bad)
    assert equal(first, second)  # weights and the normalisation's statistics
    assert equal(first_mean, second_mean)
    assert not equal(second, third)
    assert all(bool(torch.isfinite(v).all()) for v in third.values())
    assert outcome.nonfinite_steps == trainer.nonfinite_steps == 1
    assert outcome.loss == pytest.approx((seen[0][2] + seen[2][2]) / 2)


@pytest.mark.parametrize(("allowed", "gives_up"), [(2, True), (3, False)])
def test_training_gives_up_after_more_bad_steps_than_allowed(
    allowed: int, gives_up: bool, make_trainer: MakeTrainer, failing_model: Callable[[set[int]], None]
) -> None:
    failing_model({0, 1, 2})
    trainer = make_trainer(max_nonfinite_steps=allowed)
    start = state(trainer)
    if gives_up:
        with pytest.raises(TrialError, match="diverged in epoch 1") as caught:
            trainer.train_epoch(1, lambda *_: None)
        assert caught.value.found == "3 of them"
    else:
        assert trainer.train_epoch(1, lambda *_: None).loss is None
    assert equal(state(trainer), start)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_trains_float32_weights_with_a_loss_close_to_float32s(
    precision: str, make_trainer: MakeTrainer
) -> None:
    exact = make_trainer().train_epoch(1, lambda *_: None)
    trainer = make_trainer(precision=precision)
    start = state(trainer)
    outcome = trainer.train_epoch(1, lambda *_: None)
    assert outcome.loss is not None
    assert exact.loss is not None
    assert outcome.loss == pytest.approx(exact.loss, abs=0.02)
    assert outcome.nonfinite_steps < 3
    assert not equal(state(trainer), start)
    assert {p.dtype for p in trainer.model.parameters()} == {torch.float32}


def test_arms_with_the_same_seed_start_from_the_same_weights(make_trainer: MakeTrainer) -> None:
    assert equal(state(make_trainer(alpha=0.6)), state(make_trainer(alpha=0.3)))
    assert not equal(state(make_trainer()), state(make_trainer(seed=1)))


def test_every_step_of_every_epoch_has_patches_of_its_own(
    make_trainer: MakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int, int]] = []
    batch = Sampler.batch

    def note(self: Sampler, seed: int, step: int, batch_size: int) -> Batch:
        asked.append((seed, step, batch_size))
        return batch(self, seed, step, batch_size)

    monkeypatch.setattr(Sampler, "batch", note)
    trainer = make_trainer(seed=5)
    for epoch in (1, 2, 3):
        trainer.train_epoch(epoch, lambda *_: None)
    assert asked == [(5, step, 4) for step in range(9)]


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let samplers gather as on a CUDA device with room for the voxels, with the CPU in its place."""

    def open_source(
        store: VoxelStore, crops: tuple[StoredCrop, ...], config: SamplingConfig, device: torch.device, **_: int
    ) -> tuple[DeviceSource, str]:
        return DeviceSource(DeviceStore.load(store, crops, device), store, config), "on the device"

    monkeypatch.setattr("counterpoise.sampling.sampler.open_source", open_source)


class Roomy(nn.Module):
    """Stands for a device with room for some patches: above that, it runs out of memory in the middle of a pass."""

    def __init__(self, inner: nn.Module, room: int) -> None:
        super().__init__()
        self.inner, self.room = inner, room
        self.seen: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.inner(images)  # moves the running statistics before it fails
        if self.training and len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.seen.append(len(images))
        return logits


def test_out_of_memory_halves_the_patches_at_a_time_and_keeps_the_batch(make_trainer: MakeTrainer) -> None:
    small, whole = make_trainer(batch_size=4), make_trainer(batch_size=4)
    small.model = roomy = Roomy(small.model, room=2)
    outcome, undisturbed = small.train_epoch(1, lambda *_: None), whole.train_epoch(1, lambda *_: None)
    assert roomy.seen == [2, 2, 2, 2] * 3  # per step two parts, predicted twice
    assert (outcome.micro_batch, undisturbed.micro_batch) == (2, 4)
    assert outcome.exposure == undisturbed.exposure
    assert outcome.loss == pytest.approx(undisturbed.loss, rel=0.05)  # batch normalisation sees the parts
    assert small.state()["micro_batch"] == 2
    again = make_trainer(batch_size=4)
    again.restore(whole.state() | {"micro_batch": 2})
    assert again.train_epoch(2, lambda *_: None).micro_batch == 2  # a resumed trial goes on as it was


def test_voxels_leave_a_device_before_the_batch_is_cut_up_and_change_nothing(
    make_trainer: MakeTrainer, on_device: None, caplog: pytest.LogCaptureFixture
) -> None:
    class FullUntilTheyLeave(Roomy):
        def forward(self, images: Tensor) -> Tensor:
            self.room = 4 if isinstance(trainer._sampler._source, HostSource) else 0
            return super().forward(images)

    trainer, undisturbed = make_trainer(batch_size=4), make_trainer(batch_size=4)
    assert isinstance(trainer._sampler._source, DeviceSource)
    trainer.model = FullUntilTheyLeave(trainer.model, room=0)
    outcome, expected = trainer.train_epoch(1, lambda *_: None), undisturbed.train_epoch(1, lambda *_: None)
    assert isinstance(undisturbed._sampler._source, DeviceSource)
    assert (outcome.micro_batch, outcome.loss) == (4, expected.loss)
    assert equal(averaged(trainer), averaged(undisturbed))
    assert [record.getMessage() for record in caplog.records] == [
        "Out of memory: voxels for training are read in host memory from now on"
    ]


def test_a_patch_that_does_not_fit_alone_ends_the_trial_with_advice(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(batch_size=4)
    trainer.model = Roomy(trainer.model, room=0)
    with pytest.raises(TrialError, match="a single patch does not fit") as caught:
        trainer.train_epoch(1, lambda *_: None)
    assert "2.00 GiB" in caught.value.found
