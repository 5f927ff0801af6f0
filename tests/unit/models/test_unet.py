"""The UNet's names and shapes against the milesial/Pytorch-UNet layout, written down here by its rule."""

import pytest
import torch

from counterpoise.models.unet import UNet2D

Shapes = dict[str, tuple[int, ...]]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _double_conv(prefix: str, channels_in: int, channels_out: int) -> Shapes:
    """List a DoubleConv: convolution (no bias), batch norm, ReLU, twice, as entries 0, 1, 2, 3, 4, 5."""
    shapes: Shapes = {}
    for conv, norm, channels in ((0, 1, channels_in), (3, 4, channels_out)):
        shapes[f"{prefix}.double_conv.{conv}.weight"] = (channels_out, channels, 3, 3)
        for name in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{prefix}.double_conv.{norm}.{name}"] = (channels_out,)
        shapes[f"{prefix}.double_conv.{norm}.num_batches_tracked"] = ()
    return shapes


def milesial(channels: int, classes: int) -> Shapes:
    """List UNet(n_channels, n_classes, bilinear=False) of milesial/Pytorch-UNet, with 64 to 1024 channels."""
    shapes = _double_conv("inc", channels, 64)
    for k, (a, b) in enumerate(((64, 128), (128, 256), (256, 512), (512, 1024)), start=1):
        shapes |= _double_conv(f"down{k}.maxpool_conv.1", a, b)
    for k, (a, b) in enumerate(((1024, 512), (512, 256), (256, 128), (128, 64)), start=1):
        shapes[f"up{k}.up.weight"] = (a, b, 2, 2)
        shapes[f"up{k}.up.bias"] = (b,)
        shapes |= _double_conv(f"up{k}.conv", a, b)
    return shapes | {"outc.conv.weight": (classes, 64, 1, 1), "outc.conv.bias": (classes,)}


@pytest.fixture(scope="module")
def full_size() -> UNet2D:
    with torch.device("meta"):  # names and shapes need no memory
        return UNet2D(1, 5, 64, 4)


def test_state_dict_has_names_order_and_shapes_of_the_milesial_layout(full_size: UNet2D) -> None:
    found = {name: tuple(value.shape) for name, value in full_size.state_dict().items()}
    assert found == milesial(1, 5)
    assert list(found) == list(milesial(1, 5))


def test_number_of_parameters_is_that_of_the_milesial_unet(full_size: UNet2D) -> None:
    # UNet(n_channels=3, n_classes=2) has 31,037,698 parameters (its own summary); one input channel less costs
    # 2 x 64 x 9, one class more gives 64 + 1.
    count = sum(p.numel() for p in full_size.parameters())
    assert count == 31_037_698 - 2 * 64 * 9 + 3 * (64 + 1)
    by_rule = sum(
        torch.Size(shape).numel()
        for name, shape in milesial(1, 5).items()
        if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
    )
    assert count == by_rule


@pytest.mark.parametrize(("width", "depth"), [(4, 1), (4, 2), (3, 3)])
@pytest.mark.parametrize("size", [(16, 16), (17, 31), (8, 9)])
def test_any_side_length_keeps_its_shape(width: int, depth: int, size: tuple[int, int]) -> None:
    network = UNet2D(1, 5, width, depth)
    assert network(torch.rand(2, 1, *size)).shape == (2, 5, *size)


def test_a_stack_of_sections_gives_one_section_of_classes() -> None:
    network = UNet2D(5, 3, 4, 2).eval()
    stack = torch.rand(1, 5, 16, 16)
    assert network(stack).shape == (1, 3, 16, 16)
    for section in range(5):  # each section is looked at
        other = stack.clone()
        other[:, section] += 1.0
        assert not torch.equal(network(stack), network(other))


def test_skipped_features_come_before_the_grown_ones() -> None:
    """The order in the concatenation is part of the layout: a checkpoint would load and predict nonsense."""
    network = UNet2D(1, 1, 4, 1).eval()
    with torch.no_grad():
        network.up1.conv.double_conv[0].weight[:, 4:] = 0.0  # type: ignore[union-attr, index]
        image = torch.rand(1, 1, 8, 8)
        before = network(image)
        network.up1.up.weight.mul_(5.0)  # type: ignore[union-attr, operator]
        assert torch.equal(network(image), before)
        network.inc.double_conv[3].weight.mul_(-1.0)  # type: ignore[operator]
        assert not torch.equal(network(image), before)


def test_every_parameter_gets_a_gradient() -> None:
    network = UNet2D(1, 2, 4, 3)
    network(torch.rand(2, 1, 32, 32)).square().sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in network.parameters())


@pytest.mark.parametrize("which", [0, 1, 2, 3])
def test_impossible_sizes_are_refused(which: int) -> None:
    arguments = [1, 5, 4, 2]
    arguments[which] = 0
    with pytest.raises(ValueError, match="must be >= 1"):
        UNet2D(*arguments)
