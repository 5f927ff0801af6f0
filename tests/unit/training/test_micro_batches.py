"""The gradient of a batch in parts, held against the whole batch and against plain differentiation."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from counterpoise.losses.tversky import TverskyLoss
from counterpoise.training.device import Device
from counterpoise.training.micro_batches import MicroBatches, is_out_of_memory

BATCH, CLASSES, SIDE = 7, 3, 12


@pytest.fixture
def device() -> Device:
    return Device(torch.device("cpu"), "float32")


def network(*, normalised: bool, dropout: float = 0.0) -> nn.Sequential:
    torch.manual_seed(1)
    norm = nn.BatchNorm2d(4) if normalised else nn.GroupNorm(2, 4)
    parts = nn.Conv2d(1, 4, 3, padding=1), norm, nn.ReLU(), nn.Dropout2d(dropout), nn.Conv2d(4, CLASSES, 1)
    return nn.Sequential(*parts).double()


def batch() -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(BATCH, 1, SIDE, SIDE, generator=generator, dtype=torch.float64)
    target = (torch.rand(BATCH, CLASSES, SIDE, SIDE, generator=generator) < 0.3).double()
    return images, lambda logits: TverskyLoss([1.0, 3.0, 0.2])(logits, target)


def in_parts(model: nn.Module, images: Tensor, size: int) -> Tensor:
    """Predict part by part and keep everything: what is to be spared."""
    return torch.cat([model(images[start : start + size]) for start in range(0, len(images), size)])


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("size", [1, 2, 3, 6, 7, 100])
def test_without_statistics_of_the_batch_parts_give_the_gradient_of_the_whole(size: int, device: Device) -> None:
    images, loss_of = batch()
    whole = network(normalised=False)
    expected = loss_of(whole(images))
    torch.autograd.backward(expected)
    model = network(normalised=False)
    loss = MicroBatches(size).backward(model, images, loss_of, lambda x: x, device)
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-6)
    for found, wanted in zip(gradients(model), gradients(whole), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_with_batch_normalisation_the_loss_of_all_parts_is_differentiated(size: int, device: Device) -> None:
    images, loss_of = batch()
    plain = network(normalised=True)
    expected = loss_of(in_parts(plain, images, size))
    torch.autograd.backward(expected)
    model = network(normalised=True)
    loss = MicroBatches(size).backward(model, images, loss_of, lambda x: 5.0 * x, device)
    assert float(loss) == pytest.approx(float(expected.detach()), rel=1e-6)
    for found, wanted in zip(gradients(model), gradients(plain), strict=True):
        torch.testing.assert_close(found, 5.0 * wanted, rtol=1e-6, atol=1e-9)
    for found, wanted in zip(model.buffers(), plain.buffers(), strict=True):
        assert torch.equal(found, wanted)  # every part moved the running statistics once


def test_both_predictions_of_a_part_drop_the_same_channels(device: Device) -> None:
    images, loss_of = batch()
    plain = network(normalised=False, dropout=0.5)
    torch.manual_seed(3)
    expected = loss_of(in_parts(plain, images, 2))
    torch.autograd.backward(expected)
    model = network(normalised=False, dropout=0.5)
    torch.manual_seed(3)
    MicroBatches(2).backward(model, images, loss_of, lambda x: x, device)
    for found, wanted in zip(gradients(model), gradients(plain), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-9)


def test_halving_ends_at_a_single_patch() -> None:
    parts = MicroBatches(11)
    sizes = [parts.size for _ in range(6) if parts.halve()]
    assert sizes == [6, 3, 2, 1]
    assert parts.size == 1


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_lack_of_memory_is_told_from_other_errors(error: Exception, *, expected: bool) -> None:
    assert is_out_of_memory(error) is expected
