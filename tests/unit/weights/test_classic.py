"""The six classic strategies against numbers worked out by hand."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.weights import CLASSIC, ClassStatistics, DerivedWeights, derive_weights, find_strategy

# The median is 0.1; 0.2 and 0.02 make the inverse weight exactly 0.5 and 5.
FREQUENCIES = (0.5, 0.02, 0.1, 0.005, 0.2)


def statistics(
    frequencies: Sequence[float],
    positives: Sequence[int] | None = None,
    manual: Mapping[str, float] | None = None,
    classes: Sequence[str] | None = None,
) -> ClassStatistics:
    return ClassStatistics(
        tuple(classes or (f"c{k}" for k in range(len(frequencies)))),
        np.array(frequencies, dtype=np.float64),
        np.array(positives if positives is not None else [10**6] * len(frequencies), dtype=np.int64),
        manual or {},
    )


def derive(name: str, given_statistics: ClassStatistics) -> DerivedWeights:
    (derived,), notes = derive_weights([name], given_statistics)
    assert notes == ()
    return derived


def weights(name: str, given_statistics: ClassStatistics) -> list[float]:
    return list(derive(name, given_statistics).weights.values())


def test_the_names_and_reference_keys_are_the_reference_experiments() -> None:
    assert {name: find_strategy(name).reference_key for name in CLASSIC} == {
        "weight_uniform": "uniform",
        "weight_manual": "manual_current",
        "weight_inv_freq": "inverse_frequency",
        "weight_sqrt_inv": "sqrt_inverse_frequency",
        "weight_log_inv": "log_inverse_frequency",
        "weight_effective_num": "effective_number",
    }


@pytest.mark.parametrize(
    ("name", "expected", "clamped"),
    [
        ("weight_uniform", (1, 1, 1, 1, 1), ""),
        # m / f = .2, 5, 1, 20, .5
        ("weight_inv_freq", (0.5, 5.0, 1.0, 5.0, 0.5), "c0 c3"),
        # square roots: .447, 2.236, 1, 4.472, .7071
        ("weight_sqrt_inv", (0.5, 2.2360680, 1.0, 3.0, 0.7071068), "c0 c3"),
        # ln 3, ln 51, ln 11, ln 201, ln 6 over ln 11 = 2.3978953: .4582, 1.6396986, 1, 2.2116499, .7472216
        ("weight_log_inv", (0.5, 1.6396986, 1.0, 2.2116499, 0.7472216), "c0"),
        ("weight_effective_num", (2, 2, 2, 2, 2), ""),
    ],
)
def test_weights_of_five_classes_are_what_one_gets_by_hand(
    name: str, expected: tuple[float, ...], clamped: str
) -> None:
    derived = derive(name, statistics(FREQUENCIES))
    assert list(derived.weights.values()) == pytest.approx(expected, abs=2e-7)
    assert list(derived.weights) == ["c0", "c1", "c2", "c3", "c4"]
    assert " ".join(derived.clamped) == clamped  # exactly at the clamp is not clamped


def test_sqrt_and_log_keep_values_exactly_at_their_clamps() -> None:
    # sqrt(.09 / .01) = 3 and sqrt(.09 / .36) = .5, both inclusive.
    derived = derive("weight_sqrt_inv", statistics((0.01, 0.09, 0.36)))
    assert list(derived.weights.values()) == pytest.approx([3.0, 1.0, 0.5])


def test_a_class_that_is_nowhere_gets_the_upper_clamp() -> None:
    rare = statistics((0.0, 0.1, 0.2), positives=(0, 10**6, 10**6))
    assert weights("weight_inv_freq", rare) == [5.0, 1.0, 0.5]
    assert weights("weight_sqrt_inv", rare) == pytest.approx([3.0, 1.0, math.sqrt(0.5)])
    assert weights("weight_log_inv", rare)[0] == 3.0


def test_a_class_that_is_everywhere_survives() -> None:
    everywhere = statistics((1.0, 0.5, 0.25))
    assert weights("weight_inv_freq", everywhere) == [0.5, 1.0, 2.0]
    # ln 2 / ln 3, 1, ln 5 / ln 3
    assert weights("weight_log_inv", everywhere) == pytest.approx([0.6309298, 1.0, 1.4649735])


def test_a_median_of_zero_survives() -> None:
    # m = 0: 0 / 1e-8 is 0, clamped to .5. The log's median is floored: ln(1 + 1e8) over itself is 1.
    mostly_absent = statistics((0.0, 0.0, 0.5), positives=(0, 0, 10**6))
    assert weights("weight_inv_freq", mostly_absent) == [0.5, 0.5, 0.5]
    assert weights("weight_sqrt_inv", mostly_absent) == [0.5, 0.5, 0.5]
    assert weights("weight_log_inv", mostly_absent) == [1.0, 1.0, 0.5]


@pytest.mark.parametrize("frequency", [0.0, 1e-9, 0.3, 1.0])
@pytest.mark.parametrize("name", [n for n in CLASSIC if n != "weight_manual"])
def test_a_single_class_gets_the_weight_of_the_median(name: str, frequency: float) -> None:
    # f = m, so every ratio is 1 unless the floor 1e-8 acts on f and not on m; e / max(e) is 1, times 2.
    expected = {"weight_effective_num": 2.0}.get(name, 1.0)
    if frequency < 1e-8 and name in {"weight_inv_freq", "weight_sqrt_inv"}:
        expected = max(0.5, {"weight_inv_freq": frequency / 1e-8, "weight_sqrt_inv": math.sqrt(frequency / 1e-8)}[name])
    assert weights(name, statistics([frequency])) == pytest.approx([expected])


def test_effective_numbers_of_small_counts_are_what_one_gets_by_hand() -> None:
    # e(1) = .001 / .001 = 1; e(2) = .001 / (1 - .998001) = .5002501; e(5) = .001 / (1 - .999^5) = .2004004;
    # e(0) = 1 by definition. Times 2 over the largest, 1; the last is clamped to .5.
    given_statistics = statistics((0.1,) * 4, positives=(1, 2, 5, 0))
    derived = derive("weight_effective_num", given_statistics)
    assert list(derived.weights.values()) == pytest.approx([2.0, 1.0005003, 0.5, 2.0], abs=1e-6)
    assert derived.clamped == ("c2",)


def test_effective_numbers_of_millions_are_uniform_times_two() -> None:
    # The users' own counts begin at 536,370 voxels.
    given_statistics = statistics((0.1,) * 3, positives=(536_370, 10**7, 2 * 10**12))
    assert weights("weight_effective_num", given_statistics) == [2.0, 2.0, 2.0]


def test_effective_number_without_any_positive_voxel_is_uniform() -> None:
    assert weights("weight_effective_num", statistics((0.0, 0.0), positives=(0, 0))) == [2.0, 2.0]


def test_manual_weights_are_the_references_for_its_five_classes() -> None:
    classes = ("golgi_mem", "nuc", "pm", "er_mem", "mito_mem")
    assert weights("weight_manual", statistics((0.1,) * 5, classes=classes)) == [1.1, 1.8, 1.6, 1.6, 1.3]


def test_manual_weights_of_the_configuration_go_before_the_references() -> None:
    given_statistics = statistics((0.1,) * 2, classes=("nuc", "ecs"), manual={"ecs": 0.7, "nuc": 3.0, "cyto": 9.0})
    assert derive("weight_manual", given_statistics).weights == {"nuc": 3.0, "ecs": 0.7}


def test_manual_is_left_out_with_a_note_that_names_what_is_missing() -> None:
    given_statistics = statistics((0.1,) * 3, classes=("nuc", "ecs", "cyto"))
    derived, notes = derive_weights(["weight_uniform", "weight_manual", "weight_inv_freq"], given_statistics)
    assert [d.strategy for d in derived] == ["weight_uniform", "weight_inv_freq"]
    (note,) = notes
    assert note.startswith("weight_manual is left out: no manual weight for ecs, cyto")
    assert "arms.manual_weights" in note


frequencies = st.lists(st.floats(1e-5, 0.9), min_size=1, max_size=9)


@settings(max_examples=50, deadline=None)
@given(frequencies, st.floats(0.1, 1.0))
def test_inverse_weights_do_not_move_when_all_frequencies_are_multiplied(f: list[float], factor: float) -> None:
    before, after = statistics(f), statistics([factor * x for x in f])
    for name in ("weight_inv_freq", "weight_sqrt_inv"):
        assert weights(name, after) == pytest.approx(weights(name, before), rel=1e-9)


def test_effective_numbers_do_move_when_all_counts_are_multiplied() -> None:
    few, more = statistics((0.1, 0.1), positives=(1, 3)), statistics((0.1, 0.1), positives=(500, 1500))
    assert weights("weight_effective_num", few)[1] == pytest.approx(2.0 / 3.0, rel=1e-2)
    # (1 - .999^500) / (1 - .999^1500) = .393621 / .777037
    assert weights("weight_effective_num", more)[1] == pytest.approx(2.0 * 0.393621 / 0.777037, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.sampled_from([n for n in CLASSIC if n != "weight_manual"]))
def test_permuting_classes_permutes_weights(data: st.DataObject, name: str) -> None:
    f = data.draw(frequencies)
    n = data.draw(st.lists(st.integers(0, 10**7), min_size=len(f), max_size=len(f)))
    order = data.draw(st.permutations(range(len(f))))
    plain = weights(name, statistics(f, n))
    permuted = weights(name, statistics([f[k] for k in order], [n[k] for k in order]))
    assert permuted == [plain[k] for k in order]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.floats(0.0, 1.0), st.sampled_from([0.0, 1.0])), min_size=1, max_size=9))
def test_weights_stay_within_the_clamps_and_fall_with_frequency(f: list[float]) -> None:
    bounds = {"weight_inv_freq": (0.5, 5.0), "weight_sqrt_inv": (0.5, 3.0), "weight_log_inv": (0.5, 3.0)}
    for name, (low, high) in bounds.items():
        found = np.array(weights(name, statistics(f)))
        assert np.all((found >= low) & (found <= high))
        assert np.all(np.diff(found[np.argsort(f)]) <= 1e-12)
