"""Losses by name: the built-in ones, a plain function of the user's own, and what goes wrong."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from counterpoise.errors import ConfigError
from counterpoise.experiment.losses import LOSSES, LossOptions, OwnLoss, TverskyOptions
from counterpoise.losses import register
from counterpoise.losses.register import Loss, PlainLoss, build_loss, known_losses, register_loss
from counterpoise.losses.tversky import TverskyLoss, tversky_index

USER_MODULE = """
from torch import nn

from counterpoise.losses.register import Loss
from counterpoise.losses.tversky import TverskyLoss as Fused

def brier(logits, target, known, class_weights, *, power=2.0):
    error = (logits.sigmoid() - target).abs() ** power * known
    return (class_weights * error.sum((0, 2, 3))).sum() / known.sum()

def per_class(logits, target, known, class_weights):
    return class_weights

class ForwardOnly(nn.Module):
    def __init__(self, class_weights):
        super().__init__()

    def forward(self, logits, target):
        return logits.sum()

class Unfinished(Loss):
    def __init__(self, class_weights):
        super().__init__()

    def of_words(self, logits, present, known):
        return logits.sum()

NUMBER = 3
"""
WEIGHTS = [0.5, 2.0, 3.0]


@pytest.fixture(autouse=True)
def _user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "my_losses.py").write_text(USER_MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("my_losses", None)


def batch() -> tuple[Tensor, Tensor, Tensor]:
    """Draw logits and label words of two patches of three classes, some of them unknown."""
    generator = torch.Generator().manual_seed(0)
    present, known = torch.randint(0, 8, (2, 2, 5, 4), generator=generator, dtype=torch.uint8)
    return torch.randn(2, 3, 5, 4, generator=generator), present, known


def bits(word: int) -> list[bool]:
    return [bool(word >> c & 1) for c in range(3)]


def test_every_registered_loss_has_its_options_in_the_configuration_and_the_other_way_round() -> None:
    assert set(known_losses()) == set(LOSSES)
    for name, options in LOSSES.items():
        taken = inspect.signature(register._REGISTER[name]).parameters
        given = options.model_fields.keys() - {"type"}
        assert given == taken.keys() - {"logits", "target", "known", "class_weights"}, name
        assert {key: options.model_fields[key].default for key in given} == {key: taken[key].default for key in given}
        assert (inspect.getdoc(register._REGISTER[name]) or "").count(".. math::"), f"{name} does not say its formula"


def test_tversky_is_built_with_its_options_and_keeps_its_fused_path() -> None:
    loss = build_loss(TverskyOptions(alpha=0.7, beta=0.2, smooth=1e-3), WEIGHTS)
    assert isinstance(loss, TverskyLoss)
    logits, present, known = batch()
    expected = TverskyLoss(WEIGHTS, 0.7, 0.2, 1e-3).of_words(logits, present, known)
    assert loss.of_words(logits, present, known).item() == expected.item()


def test_a_function_of_ones_own_sees_the_voxels_its_labels_and_its_options() -> None:
    loss = build_loss(OwnLoss.model_validate({"type": "my_losses:brier", "power": 3.0}), WEIGHTS)
    logits, present, known = batch()
    total, voxels = 0.0, 0
    for b, y, x in torch.cartesian_prod(torch.arange(2), torch.arange(5), torch.arange(4)).tolist():
        for c in range(3):
            if bits(int(known[b, y, x]))[c]:
                voxels += 1
                p = 1 / (1 + float(torch.exp(-logits[b, c, y, x])))
                total += WEIGHTS[c] * abs(p - bits(int(present[b, y, x]))[c]) ** 3
    assert loss.of_words(logits, present, known).item() == pytest.approx(total / voxels, rel=1e-5)


def test_a_registered_function_has_the_loss_of_the_whole_batch_from_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(register, "_REGISTER", dict(register._REGISTER))

    class PlainOptions(LossOptions):
        type: Literal["plain"] = "plain"
        alpha: float = 0.7

    @register_loss("plain")
    def plain(logits: Tensor, target: Tensor, known: Tensor, class_weights: Tensor, *, alpha: float) -> Tensor:
        index = tversky_index(logits, target, known, alpha=alpha, beta=0.4, smooth=1e-6)
        return (class_weights * (1 - index)).sum() / len(class_weights)

    assert "plain" in known_losses()
    made, fused = build_loss(PlainOptions(), WEIGHTS), TverskyLoss(WEIGHTS, 0.7)
    logits, present, known = batch()
    gradients = []
    for loss in (made, fused):
        leaf = logits.clone().requires_grad_()
        loss.of_words(leaf, present, known).backward()  # type: ignore[no-untyped-call]
        assert leaf.grad is not None
        gradients.append(leaf.grad)
        parts = [loss.of_part(logits[k : k + 1], present[k : k + 1], known[k : k + 1]) for k in (0, 1)]
        value = loss.of_parts(parts)
        assert value.item() == pytest.approx(loss.of_words(logits, present, known).item(), rel=1e-6)
        assert not value.requires_grad
    assert made.of_words(logits, present, known).item() == pytest.approx(
        fused.of_words(logits, present, known).item(), rel=1e-6
    )
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-8)


def test_under_mixed_precision_a_plain_function_gets_float32() -> None:
    seen = list[torch.dtype]()

    def function(logits: Tensor, target: Tensor, known: Tensor, class_weights: Tensor) -> Tensor:
        seen.extend((logits.dtype, target.dtype, known.dtype, (logits.flatten(1) @ target.flatten(1).T).dtype))
        return (logits * class_weights[:, None, None]).sum()

    logits, present, known = batch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        PlainLoss(function, WEIGHTS, OwnLoss(type="a:b")).of_words(logits.bfloat16(), present, known)
    assert seen == [torch.float32, torch.float32, torch.bool, torch.float32]


@pytest.mark.parametrize("name", ["no_such_module:f", "my_losses:missing", "my_losses:NUMBER", ".rel:f"])
def test_what_cannot_be_imported_is_a_configuration_error(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be imported"):
        build_loss(OwnLoss(type=name), WEIGHTS)


def test_an_option_that_the_function_does_not_have_is_named_with_those_it_has() -> None:
    with pytest.raises(ConfigError, match="cannot be called") as caught:
        build_loss(OwnLoss.model_validate({"type": "my_losses:brier", "powr": 3}), WEIGHTS)
    assert "'powr'" in caught.value.found
    assert "power=2.0" in caught.value.expected


def test_a_function_that_does_not_reduce_to_one_number_is_a_configuration_error() -> None:
    loss = build_loss(OwnLoss(type="my_losses:per_class"), WEIGHTS)
    with pytest.raises(ConfigError, match="does not return one number") as caught:
        loss.of_words(*batch())
    assert caught.value.found == "shape (3,)"


def test_a_class_of_ones_own_may_bring_a_fused_path() -> None:
    loss = build_loss(OwnLoss.model_validate({"type": "my_losses:Fused", "alpha": 0.9}), WEIGHTS)
    assert isinstance(loss, Loss)
    assert getattr(loss, "alpha", None) == 0.9


@pytest.mark.parametrize("name", ["ForwardOnly", "Unfinished"])
def test_a_class_that_training_could_not_ask_is_a_configuration_error(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be used as a loss") as caught:
        build_loss(OwnLoss(type=f"my_losses:{name}"), WEIGHTS)
    assert caught.value.found == f"class {name}"
