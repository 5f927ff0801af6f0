"""The loss of label words against the plain loss, numbers by hand and NumPy's exponential."""

import logging
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch import Tensor

from counterpoise.losses import words, words_cpu
from counterpoise.losses.tversky import TverskyLoss

NAN, INF = float("nan"), float("inf")
BITS = {torch.uint8: 8, torch.int16: 16, torch.uint16: 16, torch.int32: 32, torch.int64: 64, torch.uint64: 64}


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def make_words(planes: Tensor, dtype: torch.dtype) -> Tensor:
    """Pack bool planes (batch, classes, ...) bit by bit, as Python integers."""
    packed = np.zeros((planes.shape[0], *planes.shape[2:]), dtype=f"uint{BITS[dtype]}")
    for c in range(planes.shape[1]):
        packed |= planes[:, c].numpy().astype(packed.dtype) << packed.dtype.type(c)
    return torch.from_numpy(packed).view(dtype)


def random_planes(shape: tuple[int, ...], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw float32 logits, presence and what is known; every third class is known nowhere, if there are three."""
    generator = torch.Generator().manual_seed(seed)
    logits = 4.0 * torch.randn(shape, generator=generator)
    present = torch.rand(shape, generator=generator) < 0.3
    known = torch.rand(shape, generator=generator) < 0.7
    known[:, 2::3] = False
    return logits, present, known


def value_and_gradient(loss: Callable[[Tensor], Tensor], logits: Tensor) -> tuple[float, Tensor]:
    leaf = logits.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    value = loss(leaf)
    (gradient,) = torch.autograd.grad(value, leaf)
    return value.item(), gradient


def plainly(loss: TverskyLoss, logits: Tensor, present: Tensor, known: Tensor) -> tuple[float, Tensor]:
    """Compute value and gradient by the plain loss and autograd in float64."""
    return value_and_gradient(lambda x: loss(x, present.double(), known), logits.double())


@st.composite
def cases(draw: st.DrawFn) -> tuple[torch.dtype, tuple[int, ...], int, bool]:
    dtype = draw(st.sampled_from(list(BITS)))
    classes = draw(st.integers(1, BITS[dtype]))
    shape = (draw(st.integers(1, 3)), classes, draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    return dtype, shape, draw(st.integers(0, 2**32)), draw(st.booleans())


@settings(deadline=None, max_examples=60)
@given(
    case=cases(),
    parameters=st.tuples(st.floats(0.0, 2.0), st.floats(0.0, 2.0), st.sampled_from([1e-6, 1e-2, 1.0])),
    narrow=st.sampled_from([None, torch.bfloat16, torch.float16]),
)
def test_value_and_gradient_are_those_of_the_plain_loss_in_float64(
    case: tuple[torch.dtype, tuple[int, ...], int, bool],
    parameters: tuple[float, float, float],
    narrow: torch.dtype | None,
) -> None:
    dtype, shape, seed, channels_last = case
    logits, present, known = random_planes(shape, seed)
    logits = logits.clamp(-12.0, 12.0)  # beyond, the plain loss's own 1 - p has rounding of 1e-6
    if narrow is not None:
        logits = logits.to(narrow)
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    weights = torch.rand(shape[1], generator=torch.Generator().manual_seed(seed)) * 5.0
    loss = TverskyLoss(weights, *parameters)
    expected, slopes = plainly(loss, logits, present, known)
    present_words, known_words = make_words(present, dtype), make_words(known, dtype)
    value, gradient = value_and_gradient(lambda x: loss.of_words(x, present_words, known_words), logits)
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert gradient.dtype == logits.dtype
    if narrow is None:
        rounding = 1e-16 + 1e-12 * float(slopes.abs().max())  # of the plain loss, whose differences cancel
        assert torch.allclose(gradient.double(), slopes, rtol=1e-6, atol=rounding)
    else:  # half a unit in the last place, and float16's smallest number
        last_place = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}[narrow]
        assert torch.allclose(gradient.double(), slopes, rtol=1.01 * last_place, atol=6e-8)
    assert bool((gradient[~known] == 0).all())


@pytest.mark.parametrize("device_path", [torch.float32, torch.float64])
def test_loss_of_a_two_by_two_patch_is_what_one_gets_by_hand(device_path: torch.dtype) -> None:
    # Probabilities 3/4, 1/4, 1/2 of a present and two absent pixels, 3/4 of an unknown one: TP = 3/4, FP = 3/4,
    # FN = 1/4, D = 3/4 + .6 * 3/4 + .4 * 1/4 = 1.3 and the index .75 / 1.3. Where absent dT/dp = -.6 * .75 / 1.3^2,
    # where present (.6 * .75 + .4 * .25 + .4 * .75) / 1.3^2; times p (1 - p) = 3/16, 3/16, 1/4.
    log3 = math.log(3.0)
    logits = torch.tensor([[[[log3, -log3], [0.0, log3]]]], dtype=device_path)
    present = torch.tensor([[[1, 0], [0, 1]]], dtype=torch.uint8)
    known = torch.tensor([[[1, 1], [1, 0]]], dtype=torch.uint8)
    loss = TverskyLoss([2.0], alpha=0.6, beta=0.4, smooth=1e-12)
    value, gradient = value_and_gradient(lambda x: loss.of_words(x, present, known), logits)
    assert value == pytest.approx(2.0 * (1.0 - 0.75 / 1.3), rel=1e-6)
    slopes = [-0.85 * 3 / 16, 0.45 * 3 / 16, 0.45 / 4, 0.0]
    assert gradient.flatten().tolist() == pytest.approx([2.0 * s / 1.3**2 for s in slopes], rel=1e-6)


def test_gradient_in_float64_equals_finite_differences() -> None:
    logits, present, known = random_planes((2, 5, 3, 2), seed=1)
    loss = TverskyLoss([0.5, 2.0, 4.0, 1.0, 3.0], smooth=1e-3)
    p, k = make_words(present, torch.uint8), make_words(known, torch.uint8)
    leaf = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss.of_words(x, p, k), (leaf,), eps=1e-6, atol=1e-8)


@pytest.mark.parametrize("shape", [(2, 4, 3, 5, 2), (3, 7, 11), (2, 3, 4, 5)])
def test_any_number_of_axes_and_any_layout_will_do(shape: tuple[int, ...]) -> None:
    logits, present, known = random_planes(shape, seed=3)
    loss = TverskyLoss([1.0] * shape[1])
    expected, slopes = plainly(loss, logits, present, known)
    words_of = make_words(present, torch.int32), make_words(known, torch.int32)
    turned = logits.transpose(0, -1).contiguous().transpose(0, -1)  # neither contiguous nor channels last
    back_to_front = tuple(w.transpose(0, -1).contiguous().transpose(0, -1) for w in words_of)
    for values, (p, k) in ((logits, words_of), (turned, words_of), (logits, back_to_front)):
        value, gradient = value_and_gradient(lambda x, p=p, k=k: loss.of_words(x, p, k), values)  # type: ignore[misc]
        assert value == pytest.approx(expected, rel=1e-6)
        assert torch.allclose(gradient.double(), slopes, rtol=1e-6, atol=1e-37)


def test_gradient_has_the_memory_layout_of_the_logits() -> None:
    logits, present, known = random_planes((2, 5, 6, 7), seed=4)
    loss = TverskyLoss([1.0] * 5)
    p, k = make_words(present, torch.uint8), make_words(known, torch.uint8)
    for values in (logits, logits.contiguous(memory_format=torch.channels_last), logits.double()):
        _, gradient = value_and_gradient(lambda x: loss.of_words(x, p, k), values)
        assert gradient.stride() == values.stride()


@pytest.mark.parametrize("threads", [2, 3, 7])
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_same_bits_come_out_whatever_the_number_of_threads(threads: int, channels_last: bool) -> None:
    logits, present, known = random_planes((3, 6, 150, 170), seed=5)
    assert logits.numel() > words_cpu._WORTH_A_THREAD
    assert words_cpu._BLOCK % 170 != 0  # a patch is cut within a row
    if channels_last:
        logits = logits.contiguous(memory_format=torch.channels_last)
    loss = TverskyLoss([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    p, k = make_words(present, torch.uint8), make_words(known, torch.uint8)
    value, gradient = value_and_gradient(lambda x: loss.of_words(x, p, k), logits)
    torch.set_num_threads(threads)
    for _ in range(3):
        again, gradient_again = value_and_gradient(lambda x: loss.of_words(x, p, k), logits)
        assert again == value
        assert torch.equal(gradient_again, gradient)


def test_memory_layout_changes_no_bit() -> None:
    logits, present, known = random_planes((2, 14, 33, 65), seed=6)
    loss = TverskyLoss([1.0] * 14)
    p, k = make_words(present, torch.int16), make_words(known, torch.int16)
    value, gradient = value_and_gradient(lambda x: loss.of_words(x, p, k), logits)
    last = logits.contiguous(memory_format=torch.channels_last)
    other, other_gradient = value_and_gradient(lambda x: loss.of_words(x, p, k), last)
    assert value == other
    assert torch.equal(gradient, other_gradient)


def test_bits_above_the_classes_and_of_unknown_pixels_change_nothing() -> None:
    logits, present, known = random_planes((2, 3, 8, 9), seed=7)
    loss = TverskyLoss([1.0, 2.0, 3.0])
    p, k = make_words(present, torch.int16), make_words(known, torch.int16)
    high = torch.tensor(-8, dtype=torch.int16)  # every bit from the fourth on
    noise = make_words(torch.rand(present.shape) < 0.5, torch.int16) & ~k
    expected, gradient = value_and_gradient(lambda x: loss.of_words(x, p, k), logits)
    other, other_gradient = value_and_gradient(lambda x: loss.of_words(x, (p & k) | noise | high, k | high), logits)
    assert other == expected
    assert torch.equal(other_gradient, gradient)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_without_any_known_pixel_has_loss_and_gradient_exactly_zero(dtype: torch.dtype) -> None:
    logits = torch.randn(2, 3, 4, 5, dtype=dtype)
    nothing = torch.zeros(2, 4, 5, dtype=torch.uint8)
    value, gradient = value_and_gradient(lambda x: TverskyLoss([1.0] * 3).of_words(x, nothing + 7, nothing), logits)
    assert value == 0.0
    assert torch.equal(gradient, torch.zeros_like(logits))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("extreme", [0.0, 90.0, -1e30, INF, -INF])
def test_logits_of_unknown_pixels_change_nothing_even_where_infinite(extreme: float, dtype: torch.dtype) -> None:
    logits, present, known = random_planes((2, 2, 8, 5), seed=8)
    logits = logits.to(dtype)
    loss = TverskyLoss([1.0, 2.0])
    p, k = make_words(present, torch.uint8), make_words(known, torch.uint8)
    expected, gradient = value_and_gradient(lambda x: loss.of_words(x, p, k), logits)
    other, other_gradient = value_and_gradient(lambda x: loss.of_words(x, p, k), logits.masked_fill(~known, extreme))
    assert other == expected
    assert torch.equal(other_gradient, gradient)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_infinite_logits_are_certain_predictions(dtype: torch.dtype) -> None:
    # One true positive, one false positive, one false negative: index 1 / (1 + .6 + .4), and nothing left to learn.
    logits = torch.tensor([INF, INF, -INF, -INF], dtype=dtype).view(1, 1, 2, 2)
    p = torch.tensor([[[1, 0], [1, 0]]], dtype=torch.uint8)
    value, gradient = value_and_gradient(
        lambda x: TverskyLoss([1.0], smooth=1e-12).of_words(x, p, torch.ones_like(p)), logits
    )
    assert value == pytest.approx(0.5, rel=1e-6)
    assert torch.equal(gradient, torch.zeros_like(logits))


def test_gradient_of_a_confident_pixel_keeps_its_precision() -> None:
    # At logit 30, 1 - p is 9e-14: in float32 a difference from 1 is 0. One known, absent pixel, smooth 1:
    # T = 1 / (1 + a p), dL/dx = a p (1 - p) / (1 + a p)^2 with p (1 - p) = e^-30 / (1 + e^-30)^2.
    for logit in (30.0, -30.0):
        _, gradient = value_and_gradient(
            lambda x: TverskyLoss([1.0], alpha=0.5, smooth=1.0).of_words(
                x, torch.zeros(1, 1, dtype=torch.uint8), torch.ones(1, 1, dtype=torch.uint8)
            ),
            torch.full((1, 1, 1), logit),
        )
        e, p = math.exp(-30.0), 1.0 / (1.0 + math.exp(-logit))
        assert gradient.item() == pytest.approx(0.5 * e / (1.0 + e) ** 2 / (1.0 + 0.5 * p) ** 2, rel=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_logit_that_is_not_a_number_is_never_hidden(dtype: torch.dtype) -> None:
    logits, present, known = random_planes((1, 1, 40, 50), seed=9)
    p, k = make_words(present, torch.uint8), make_words(known, torch.uint8)
    for hidden in (known, ~known):
        row, column = hidden[0, 0].nonzero()[-1].tolist()
        broken = logits.to(dtype)
        broken[0, 0, row, column] = NAN
        value, gradient = value_and_gradient(lambda x: TverskyLoss([1.0]).of_words(x, p, k), broken)
        assert math.isnan(value)
        assert bool(torch.isnan(gradient).any())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_wide_under_autocast_too(dtype: torch.dtype) -> None:
    # 300 x 300 pixels of p about 1: a float16 sum would be infinite above 65504, a bfloat16 one would stop at 256.
    logits = (4.0 + torch.rand((1, 2, 300, 300), generator=torch.Generator().manual_seed(10))).to(dtype)
    present = torch.rand(logits.shape, generator=torch.Generator().manual_seed(11)) < 0.9
    everywhere = torch.ones_like(present)
    p, k = make_words(present, torch.uint8), make_words(everywhere, torch.uint8)
    expected, _ = plainly(TverskyLoss([1.0, 1.0]), logits, present, everywhere)
    with torch.autocast("cpu", dtype=dtype):
        value = TverskyLoss([1.0, 1.0]).of_words(logits, p, k)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected, rel=1e-6)


def test_sums_of_many_pixels_stay_exact() -> None:
    # 4.2 million probabilities of 1/2: a running float32 sum would stop growing evenly at 2^24 halves.
    logits = torch.zeros(1, 1, 2048, 2048)
    ones = torch.ones(1, 2048, 2048, dtype=torch.uint8)
    flat = words._flat(logits), ones.view(1, -1).numpy(), ones.view(1, -1).numpy(), words._layout(logits)
    assert words_cpu.sums_of_words(*flat, threads=1).tolist() == [[2.0**21], [0.0], [2.0**21]]


def test_exponential_is_accurate_to_a_rounding_over_its_whole_range() -> None:
    x = np.concatenate([np.linspace(-87.0, 87.0, 200_001), 10.0 ** np.linspace(-30, 1.9, 20_000)]).astype(np.float32)
    exact = np.exp(-np.abs(x.astype(np.float64)))
    found = np.array([words_cpu._exp_of_minus_abs(value) for value in x], dtype=np.float64)
    assert np.max(np.abs(found / exact - 1.0)) < 1.2e-7
    assert [words_cpu._exp_of_minus_abs(np.float32(value)) for value in (0.0, -0.0, 90.0, INF, -INF)] == [1, 1, 0, 0, 0]
    assert math.isnan(words_cpu._exp_of_minus_abs(np.float32(NAN)))


def test_sigmoid_of_one_present_pixel_agrees_with_torch() -> None:
    x = torch.linspace(-80.0, 80.0, 4001)
    one = np.ones((1, 1), dtype=np.uint8)
    layout = words_cpu.LogitLayout(1, 1, 1, 1, 1, 1)
    found = [words_cpu.sums_of_words(value, one, one, layout, threads=1)[0, 0] for value in x.view(-1, 1).numpy()]
    assert np.max(np.abs(np.array(found) / torch.sigmoid(x.double()).numpy() - 1.0)) < 3e-7


def test_gradient_can_be_asked_for_twice() -> None:
    logits, present, known = random_planes((2, 2, 5, 5), seed=12)
    p, k = make_words(present, torch.uint8), make_words(known, torch.uint8)
    leaf = logits.requires_grad_()
    value = TverskyLoss([1.0, 1.0]).of_words(leaf, p, k)
    (first,) = torch.autograd.grad(value, leaf, retain_graph=True)
    (second,) = torch.autograd.grad(3.0 * value, leaf)
    assert torch.allclose(second, 3.0 * first, rtol=1e-6)


def test_words_that_do_not_fit_are_refused() -> None:
    logits, loss = torch.zeros(1, 9, 4, 4), TverskyLoss([1.0] * 9)
    with pytest.raises(ValueError, match=r"9 classes do not fit into words of torch\.uint8"):
        loss.of_words(logits, torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(1, 4, 4, dtype=torch.uint8))
    wide = torch.zeros(1, 4, 4, dtype=torch.int16)
    # The whole test run checks annotations, which may refuse a wrong shape before the loss itself does.
    with pytest.raises((ValueError, TypeCheckError), match="weights"):
        TverskyLoss([1.0] * 8).of_words(logits, wide, wide)
    with pytest.raises((ValueError, TypeCheckError), match="known"):
        loss.of_words(logits, wide, torch.zeros(1, 4, 5, dtype=torch.int16))


@pytest.fixture
def compiled_on_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[words._CompiledOnCuda]]:
    """Send everything down the path for CUDA, with the CPU in CUDA's place."""
    pair = [
        words._CompiledOnCuda(words._sums_in_planes, device_type="cpu"),
        words._CompiledOnCuda(words._gradient_in_planes, device_type="cpu"),
    ]
    monkeypatch.setattr(words, "_has_kernel", lambda _: False)
    monkeypatch.setattr(words, "_sums_in_torch", pair[0])
    monkeypatch.setattr(words, "_gradient_in_torch", pair[1])
    yield pair
    torch.compiler.reset()


def agrees_with_the_plain_loss() -> None:
    logits, present, known = random_planes((3, 14, 20, 30), seed=13)
    logits = logits.clamp(-12.0, 12.0)
    loss = TverskyLoss([1.0] * 14)
    p, k = make_words(present, torch.int16), make_words(known, torch.int16)
    expected, slopes = plainly(loss, logits, present, known)
    value, gradient = value_and_gradient(lambda x: loss.of_words(x, p, k), logits)
    assert value == pytest.approx(expected, rel=1e-6)
    assert torch.allclose(gradient.double(), slopes, rtol=2e-6, atol=1e-37)


def test_path_for_cuda_agrees_with_the_plain_loss(compiled_on_cpu: list[words._CompiledOnCuda]) -> None:
    for function in compiled_on_cpu:
        function._failed = True  # as if nothing could be compiled
    agrees_with_the_plain_loss()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
def test_compiled_path_agrees_with_the_plain_loss(compiled_on_cpu: list[words._CompiledOnCuda]) -> None:
    agrees_with_the_plain_loss()
    if any(function._failed for function in compiled_on_cpu):
        pytest.skip("no working compiler for torch.compile here")


def test_a_compiler_that_fails_is_reported_once_and_replaced(
    compiled_on_cpu: list[words._CompiledOnCuda], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from torch._inductor import config

    asked: list[str] = []
    repeatable = {"deterministic": True} if hasattr(config, "deterministic") else {}  # torch 2.6 has no such option

    def compile_nothing(function: Callable[..., Tensor], **how: object) -> Callable[..., Tensor]:
        assert how == {"dynamic": False, "options": repeatable}

        def fail(*_: Tensor) -> Tensor:
            asked.append(function.__name__)
            raise RuntimeError("no triton\nand a long traceback")

        return fail

    monkeypatch.setattr(torch, "compile", compile_nothing)
    with caplog.at_level(logging.WARNING, logger="counterpoise"):
        agrees_with_the_plain_loss()
        agrees_with_the_plain_loss()
    assert asked == ["_sums_in_planes", "_gradient_in_planes"]
    assert [record.getMessage() for record in caplog.records] == [
        "torch.compile of the loss failed, continuing without it: RuntimeError: no triton"
    ] * 2


def test_training_and_scoring_ask_for_one_compiled_function(
    compiled_on_cpu: list[words._CompiledOnCuda], monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch compiles a function once per kind of argument: with and without a gradient are two."""
    kinds: list[tuple[str, bool, bool]] = []

    def compile_nothing(function: Callable[..., Tensor], **_: object) -> Callable[..., Tensor]:
        def note(logits: Tensor, *others: Tensor) -> Tensor:
            kinds.append((function.__name__, logits.requires_grad, torch.is_grad_enabled()))
            return function(logits, *others)

        return note

    monkeypatch.setattr(torch, "compile", compile_nothing)
    agrees_with_the_plain_loss()
    logits, present, known = random_planes((2, 3, 8, 8), seed=15)
    TverskyLoss([1.0] * 3).of_part(logits, make_words(present, torch.uint8), make_words(known, torch.uint8))
    sums = ("_sums_in_planes", False, False)
    assert kinds == [sums, ("_gradient_in_planes", False, False), sums]


def test_lack_of_memory_is_not_taken_for_a_failed_compiler(
    compiled_on_cpu: list[words._CompiledOnCuda], monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: out_of_memory)
    with pytest.raises(torch.OutOfMemoryError):
        agrees_with_the_plain_loss()
    assert not compiled_on_cpu[0]._failed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_sums_of_the_parts_of_a_batch_make_the_loss_of_the_whole(size: int, dtype: torch.dtype) -> None:
    logits, present, known = random_planes((5, 6, 20, 30), seed=14)
    logits = logits.to(dtype)
    loss = TverskyLoss([1.0, 5.0, 0.1, 2.0, 0.0, 3.0], 0.6, 0.4, 1e-6)
    p, k = make_words(present, torch.uint8), make_words(known, torch.uint8)
    parts = [slice(first, first + size) for first in range(0, 5, size)]
    sums = [loss.of_part(logits[part], p[part], k[part]) for part in parts]
    probability = torch.sigmoid(logits.double())
    for row, plane in zip(
        torch.stack(sums).sum(0),
        (probability * (present & known), probability * (~present & known), (1 - probability) * (present & known)),
        strict=True,
    ):
        assert row.double() == pytest.approx(plane.sum((0, 2, 3)).numpy(), rel=1e-6, abs=1e-9)
    expected, _ = plainly(loss, logits, present, known)
    assert loss.of_parts(sums).item() == pytest.approx(expected, rel=1e-6)
    assert loss.of_parts(sums).item() == pytest.approx(loss.of_words(logits, p, k).item(), rel=2e-7)


def test_sums_are_checked_like_the_loss() -> None:
    with pytest.raises(ValueError, match=r"9 classes do not fit into words of torch\.uint8"):
        words.sum_words(
            torch.zeros(1, 9, 4, 4), torch.zeros(1, 4, 4, dtype=torch.uint8), torch.zeros(1, 4, 4, dtype=torch.uint8)
        )
