"""The loss against numbers by hand, a loop over voxels, and numerical gradients."""

import doctest
import math

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from torch import Tensor

import counterpoise
from counterpoise.losses import tversky
from counterpoise.losses.tversky import TverskyLoss, tversky_index

NAN = float("nan")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def by_loops(logits: Tensor, target: Tensor, weights: list[float], alpha: float, beta: float, smooth: float) -> float:
    """Compute the loss voxel by voxel in Python floats; NaN in the target is unknown."""
    total = 0.0
    for c, weight in enumerate(weights):
        tp = fp = fn = 0.0
        known = 0
        for f, t in zip(logits[:, c].reshape(-1).tolist(), target[:, c].reshape(-1).tolist(), strict=True):
            if math.isnan(t):
                continue
            p = 1.0 / (1.0 + math.exp(-f))
            known += 1
            tp += p * t
            fp += p * (1.0 - t)
            fn += (1.0 - p) * t
        if known:
            total += weight * (1.0 - (tp + smooth) / (tp + alpha * fp + beta * fn + smooth))
    return total / len(weights)


def random_batch(shape: tuple[int, ...], seed: int, unknown: float = 0.3) -> tuple[Tensor, Tensor]:
    """Draw float64 logits and a 0/1 target of which a share is NaN."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3.0 * torch.randn(shape, generator=generator, dtype=torch.float64)
    target = (torch.rand(shape, generator=generator) < 0.3).double()
    target[torch.rand(shape, generator=generator) < unknown] = NAN
    return logits, target


def test_loss_of_a_two_by_two_patch_is_what_one_gets_by_hand() -> None:
    # Logits ln 3, -ln 3, 0, ln 3 are probabilities 3/4, 1/4, 1/2, 3/4; the last voxel is unknown.
    # TP = 3/4, FP = 1/4 + 1/2 = 3/4, FN = 1/4; index = .75 / (.75 + .6 * .75 + .4 * .25) = .75 / 1.3.
    log3 = math.log(3.0)
    logits = torch.tensor([[[[log3, -log3], [0.0, log3]]]], dtype=torch.float64)
    target = torch.tensor([[[[1.0, 0.0], [0.0, NAN]]]], dtype=torch.float64)
    loss = counterpoise.TverskyLoss([2.0], alpha=0.6, beta=0.4, smooth=0.0 + 1e-12)
    assert loss(logits, target).item() == pytest.approx(2.0 * (1.0 - 0.75 / 1.3), abs=1e-9)


def test_alpha_weighs_false_positives_and_beta_false_negatives() -> None:
    # p = 1 everywhere, half of it wrong: TP = FP, FN = 0. p = 0 at half of the positives: TP = FN, FP = 0.
    big = 40.0
    over = TverskyLoss([1.0], alpha=0.9, beta=0.1, smooth=1e-9)(
        torch.full((1, 1, 1, 2), big), torch.tensor([[[[1.0, 0.0]]]])
    )
    under = TverskyLoss([1.0], alpha=0.9, beta=0.1, smooth=1e-9)(
        torch.tensor([[[[big, -big]]]]), torch.ones(1, 1, 1, 2)
    )
    assert over.item() == pytest.approx(1.0 - 1.0 / 1.9, abs=1e-6)
    assert under.item() == pytest.approx(1.0 - 1.0 / 1.1, abs=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 3, 2, 3, 4), (1, 1, 7, 3), (3, 4, 6)])
@pytest.mark.parametrize("parameters", [(0.6, 0.4, 1e-6), (0.3, 0.7, 1.0), (1.0, 1.0, 10.0)])
def test_loss_equals_a_loop_over_classes_and_voxels(
    shape: tuple[int, ...], parameters: tuple[float, float, float]
) -> None:
    logits, target = random_batch(shape, seed=sum(shape))
    weights = [0.5 + c for c in range(shape[1])]
    expected = by_loops(logits, target, weights, *parameters)
    assert TverskyLoss(weights, *parameters)(logits, target).item() == pytest.approx(expected, rel=1e-12)
    assert TverskyLoss(weights, *parameters)(logits.float(), target.float()).item() == pytest.approx(expected, rel=2e-6)


def test_sums_run_over_the_whole_batch_and_not_per_patch() -> None:
    logits, target = random_batch((4, 2, 5, 5), seed=3, unknown=0.0)
    loss = TverskyLoss([1.0, 1.0])
    joined = torch.cat(list(logits), dim=1).unsqueeze(0), torch.cat(list(target), dim=1).unsqueeze(0)
    assert loss(logits, target).item() == pytest.approx(loss(*joined).item(), rel=1e-12)
    per_patch = np.mean([loss(logits[i : i + 1], target[i : i + 1]).item() for i in range(4)])
    assert abs(per_patch - loss(logits, target).item()) > 1e-4


def test_gradient_of_the_index_equals_finite_differences() -> None:
    logits, target = random_batch((2, 2, 3, 3), seed=1)
    known = ~torch.isnan(target)

    def index(values: Tensor) -> Tensor:
        return tversky_index(values, target.nan_to_num(0.0), known, alpha=0.6, beta=0.4, smooth=1e-2)

    assert torch.autograd.gradcheck(index, (logits.requires_grad_(),), eps=1e-6, atol=1e-8)


def test_gradient_of_the_loss_equals_finite_differences_with_weights() -> None:
    logits, target = random_batch((2, 3, 3, 2), seed=2)
    loss = TverskyLoss([0.5, 2.0, 4.0], smooth=1e-3)
    assert torch.autograd.gradcheck(lambda f: loss(f, target), (logits.requires_grad_(),), eps=1e-6, atol=1e-8)


def test_class_without_a_known_voxel_adds_nothing_and_has_no_gradient() -> None:
    logits, target = random_batch((2, 3, 4, 4), seed=4)
    target[:, 1] = NAN
    logits.requires_grad_()
    loss = TverskyLoss([1.0, 5.0, 2.0])
    value = loss(logits, target)
    value.backward()
    rest = TverskyLoss([1.0, 2.0])(logits[:, [0, 2]], target[:, [0, 2]])
    assert value.item() == pytest.approx(rest.item() * 2.0 / 3.0, rel=1e-12)  # the divisor stays 3
    assert logits.grad is not None
    assert torch.equal(logits.grad[:, 1], torch.zeros_like(logits.grad[:, 1]))
    assert bool((logits.grad[:, 0] != 0).any())


def test_batch_without_any_known_voxel_has_loss_exactly_zero() -> None:
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    value = TverskyLoss([1.0, 1.0])(logits, torch.full((1, 2, 3, 3), NAN))
    value.backward()
    assert value.item() == 0.0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("value", [0.0, 55.0, -1e30, float("inf"), float("-inf")])
def test_logits_of_unknown_voxels_change_nothing_even_where_infinite(value: float) -> None:
    logits, target = random_batch((2, 2, 4, 4), seed=5)
    unknown = torch.isnan(target)
    loss = TverskyLoss([1.0, 2.0])
    expected = logits.clone().requires_grad_()
    loss(expected, target).backward()
    changed = logits.masked_fill(unknown, value).requires_grad_()
    assert loss(changed, target).item() == loss(expected, target).item()
    loss(changed, target).backward()
    assert expected.grad is not None
    assert changed.grad is not None
    assert torch.equal(changed.grad, expected.grad)
    assert bool((changed.grad[unknown] == 0).all())


def test_logit_that_is_not_a_number_is_never_hidden() -> None:
    # A network that puts out NaN has diverged; a loss that looked well would train on.
    logits, target = random_batch((1, 1, 3, 3), seed=6)
    logits[torch.isnan(target)] = NAN
    assert bool(torch.isnan(target).any())
    assert math.isnan(TverskyLoss([1.0])(logits, target).item())


@pytest.mark.parametrize("filler", [0.0, 1.0, 255.0, NAN])
def test_known_mask_does_what_nan_does_whatever_the_target_holds_there(filler: float) -> None:
    logits, target = random_batch((2, 3, 4, 4), seed=7)
    known = ~torch.isnan(target)
    loss = TverskyLoss([1.0, 2.0, 3.0])
    assert loss(logits, target.masked_fill(~known, filler), known).item() == loss(logits, target).item()


def test_nan_and_mask_together_leave_only_what_both_know() -> None:
    logits, target = random_batch((2, 2, 4, 4), seed=8)
    mask = torch.rand(target.shape, generator=torch.Generator().manual_seed(8)) < 0.5
    both = TverskyLoss([1.0, 1.0])(logits, target, mask)
    assert both.item() == by_loops_close(logits, target.masked_fill(~mask, NAN))


def by_loops_close(logits: Tensor, target: Tensor) -> object:
    return pytest.approx(by_loops(logits, target, [1.0] * target.shape[1], 0.6, 0.4, 1e-6), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_summed_in_float32(dtype: torch.dtype) -> None:
    # 300 x 300 voxels of p about 1: a float16 sum would be infinite above 65504, a bfloat16 one would stop at 256.
    shape = (1, 2, 300, 300)
    generator = torch.Generator().manual_seed(9)
    logits = (4.0 + torch.rand(shape, generator=generator)).to(dtype)
    target = (torch.rand(shape, generator=generator) < 0.9).float()
    loss = TverskyLoss([1.0, 1.0])(logits, target)
    exact = TverskyLoss([1.0, 1.0])(logits.double(), target.double())
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_autocast_does_not_reach_into_the_loss(dtype: torch.dtype) -> None:
    logits, target = random_batch((2, 2, 64, 64), seed=10)
    narrow = logits.to(dtype)
    with torch.autocast("cpu", dtype=dtype):
        value = TverskyLoss([1.0, 3.0])(narrow, target.float())
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(TverskyLoss([1.0, 3.0])(narrow.double(), target).item(), rel=1e-5)


def test_annotated_but_empty_class_has_loss_one_and_next_to_no_gradient() -> None:
    # docs/verdict.md: loss 1.000000 and sum |grad| about 1e-11 with smooth 1e-6.
    logits = torch.randn((4, 1, 64, 64), generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    logits.requires_grad_()
    value = TverskyLoss([1.0], smooth=1e-6)(logits, torch.zeros(logits.shape, dtype=torch.float64))
    value.backward()
    assert value.item() == pytest.approx(1.0, abs=1e-6)
    assert logits.grad is not None
    assert float(logits.grad.abs().sum()) < 1e-9


def test_perfect_prediction_costs_nothing() -> None:
    target = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    assert TverskyLoss([1.0])((target * 2.0 - 1.0) * 100.0, target).item() == pytest.approx(0.0, abs=1e-6)


def test_loss_is_linear_in_the_weights_of_mapping_sequence_and_tensor() -> None:
    logits, target = random_batch((2, 3, 4, 4), seed=12)
    single = [TverskyLoss([float(c == k) for c in range(3)])(logits, target).item() for k in range(3)]
    weights = {"nuc": 0.5, "pm": 2.0, "golgi_mem": 4.0}
    expected = pytest.approx(0.5 * single[0] + 2.0 * single[1] + 4.0 * single[2], rel=1e-9)
    assert TverskyLoss(weights)(logits, target).item() == expected
    assert TverskyLoss(tuple(weights.values()))(logits, target).item() == expected
    assert TverskyLoss(torch.tensor([0.5, 2.0, 4.0]))(logits, target).item() == expected


def test_weights_travel_with_the_module() -> None:
    loss = TverskyLoss([1.0, 2.0])
    assert loss.state_dict()["class_weights"].tolist() == [1.0, 2.0]
    assert list(loss.parameters()) == []


@pytest.mark.parametrize("weights", [[-1.0], [NAN], [float("inf")], [[1.0, 2.0]], 3.0])
def test_impossible_weights_are_refused(weights: object) -> None:
    # The whole test run checks annotations, which may refuse a wrong shape before the loss itself does.
    with pytest.raises((ValueError, TypeCheckError), match="class_weights"):
        TverskyLoss(weights)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"), [("alpha", -0.1), ("beta", NAN), ("smooth", float("inf")), ("smooth", -1.0), ("smooth", 0.0)]
)
def test_impossible_parameters_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        TverskyLoss([1.0], **{name: value})


def test_shapes_that_do_not_fit_are_refused() -> None:
    loss = TverskyLoss([1.0, 1.0])
    with pytest.raises((ValueError, TypeCheckError), match=r"same shape|target"):
        loss(torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 5))
    with pytest.raises(ValueError, match="2 classes"):
        loss(torch.zeros(1, 3, 4, 4), torch.zeros(1, 3, 4, 4))


def test_examples_in_the_docstrings_are_true() -> None:
    result = doctest.testmod(tversky)
    assert result.attempted > 0
    assert result.failed == 0
