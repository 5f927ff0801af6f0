"""A scale bar is a round length that fits; a file that cannot be read is passed over."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from counterpoise.report.page import Judged
from counterpoise.report.patches import ScaleBar, load_patches, scale_bar
from counterpoise.report.render import write_report
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.read import read_run
from counterpoise.statistics.results import Results, summarise_run
from counterpoise.statistics.run_verdict import judge_run


def results_of(folder: RunFolder) -> Results:
    run = read_run(folder)
    return summarise_run(run, judge_run(run))


def page_of(folder: RunFolder) -> str:
    run = read_run(folder)
    return write_report(Judged(run, judge_run(run))).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("columns", "pixel_nm", "bar"),
    [
        (256, 8.0, ScaleBar(62.5, "500 nm")),  # 2048 nm; two fifths are 819
        (128, 9.2, ScaleBar(200 / 9.2, "200 nm")),  # 1178 nm; 471
        (256, 32.0, ScaleBar(62.5, "2 µm")),  # 8192 nm; 3277
        (64, 4.0, ScaleBar(25.0, "100 nm")),  # 256 nm; 102
    ],
)
def test_the_longest_round_length_is_taken(columns: float, pixel_nm: float, bar: ScaleBar) -> None:
    found = scale_bar(columns, pixel_nm)
    assert found.label == bar.label
    assert found.columns == pytest.approx(bar.columns)


@given(st.floats(8, 4096), st.floats(0.1, 1000))
def test_a_scale_bar_fits_and_is_not_tiny(columns: float, pixel_nm: float) -> None:
    bar = scale_bar(columns, pixel_nm)
    assert 0.4 / 2.5 * columns * 0.999 <= bar.columns <= 0.4 * columns * 1.001
    number, unit = bar.label.split()
    length = float(number) * (1000 if unit == "µm" else 1)
    assert length == pytest.approx(bar.columns * pixel_nm)
    digit = length / 10 ** math.floor(math.log10(length) + 1e-9)
    assert min(abs(digit - round_one) for round_one in (1, 2, 5)) < 1e-6


@pytest.mark.parametrize("content", [b"", b"no arrays"])
def test_an_arm_whose_file_is_damaged_shows_its_next_seed(make: Callable[..., RunFolder], content: bytes) -> None:
    run = make(seeds=(1, 2), failed=())
    run.trial("weight_manual", 1).examples.write_bytes(content)
    shown = load_patches(results_of(run))
    assert shown is not None
    seeds = {prediction.arm: prediction.seed for prediction in shown.patches[0].predictions}
    assert seeds.pop("weight_manual") == 2
    assert set(seeds.values()) == {1}
    (problem,) = shown.problems
    assert problem.startswith("weight_manual, seed 1: examples.npz: ")


Arrays = dict[str, np.ndarray]


def change_examples(run: RunFolder, arm: str, seed: int, change: Callable[[Arrays], object]) -> None:
    file = run.trial(arm, seed).examples
    with np.load(file) as content:
        arrays = {name: content[name] for name in content}
    change(arrays)
    np.savez(file, **arrays)


ODD = {
    "fewer rows": (lambda a: a.update(raw=a["raw"][:, :10]), r"truth is uint8 of shape \(5, 5, 64, 64\), where"),
    "no image": (lambda a: a.update(raw=np.array(3)), "raw is int64 of shape"),
    "other classes": (
        lambda a: a.update(classes=np.array(list("abcde"))),
        "of the classes a, b, c, d, e instead of nuc, mito_mem, er_mem, pm, golgi_mem",
    ),
    "a class too few": (
        lambda a: a.update(truth=a["truth"][:, 1:], prediction=a["prediction"][:, 1:], classes=a["classes"][1:]),
        "of the classes mito_mem, er_mem, pm, golgi_mem instead of nuc,",
    ),
    "fractions": (lambda a: a.update(prediction=a["prediction"] / 2), "prediction is float64 of shape"),
    "fewer names": (lambda a: a.update(crops=a["crops"][:2]), r"raw is uint8 of shape \(5, 64, 64\)"),
    "an array too few": (lambda a: a.pop("truth"), ": it has no truth"),
}


@pytest.mark.parametrize("fault", ODD)
def test_odd_examples_are_named_and_the_page_goes_on(make: Callable[..., RunFolder], fault: str) -> None:
    change, said = ODD[fault]
    run = make(seeds=(1,), failed=())
    change_examples(run, "weight_manual", 1, change)
    shown = load_patches(results_of(run))
    assert shown is not None
    assert shown.missing == ("weight_manual",)
    assert len(shown.patches) == 4
    (problem,) = shown.problems
    assert re.search(said, problem), problem
    assert str(escape(problem)) in page_of(run)


def test_where_no_example_can_be_shown_the_page_says_why(make: Callable[..., RunFolder]) -> None:
    run = make(arms=("a", "b"), same_as={}, seeds=(1,), failed=())
    for arm in ("a", "b"):
        run.trial(arm, 1).examples.write_bytes(b"torn")
    shown = load_patches(results_of(run))
    assert shown is not None
    assert (shown.patches, len(shown.problems)) == ((), 2)
    page = page_of(run)
    assert "Example patches that cannot be shown" in page
    assert "Validation patches, chosen because" not in page


def test_a_run_that_was_asked_for_no_examples_has_no_problem(make: Callable[..., RunFolder]) -> None:
    run = make(arms=("a",), same_as={}, seeds=(1,), failed=())

    def empty(arrays: Arrays) -> None:
        for name in ("crops", "raw", "truth", "prediction"):
            arrays[name] = arrays[name][:0]

    change_examples(run, "a", 1, empty)
    assert load_patches(results_of(run)) is None
