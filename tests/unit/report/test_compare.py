"""Two runs stand side by side, and their scores are compared only where that means something."""

from __future__ import annotations

import html
import re
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from counterpoise.cli.report import report
from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import read_json, write_json
from counterpoise.report.compare import ArmPair, Estimate, SideBySide, compare_runs, estimate, estimate_strip
from counterpoise.report.page import Judged
from counterpoise.report.render import render_pair
from counterpoise.report.svg import Scale
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.read import read_run
from counterpoise.statistics.results import Spread
from counterpoise.statistics.run_verdict import judge_run

from .conftest import Plan, make_run
from .test_render import Reader

PLAN = Plan(
    arms=("uniform", "sqrt", "inverse"), seeds=(0, 1, 2), same_as={}, failed=(), epochs=4, examples=False, crops=6
)
Change = Callable[[RunFolder], None]


def side_by_side(*folders: RunFolder) -> SideBySide:
    """Judge two runs as they are now, and compare them."""
    first, second = (Judged(run, judge_run(run)) for run in map(read_run, folders))
    return compare_runs(first, second)


def change_config(run: RunFolder, old: str, new: str) -> None:
    text = run.config.read_text(encoding="utf-8")
    assert old in text
    run.config.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def pair(tmp_path: Path) -> tuple[RunFolder, RunFolder]:
    """Make two runs on the same tiles, of which the second was trained for twice as long."""
    runs = make_run(tmp_path / "a" / "run", PLAN), make_run(tmp_path / "b" / "run", replace(PLAN, epochs=8))
    for run in runs:
        write_json(run.tiles, {"hash": "0123"})
    return runs


def test_what_differs_is_named_over_the_presets_values(pair: tuple[RunFolder, RunFolder]) -> None:
    change_config(pair[1], "[training]", "[arms]\nseeds = 7\n\n[training]\nlearning_rate = 3e-4")
    differences = side_by_side(*pair).differences
    assert differences is not None
    assert {d.key: (d.first, d.second) for d in differences} == {
        "training.epochs": ("4", "8"),
        "training.learning_rate": ("0.0001", "0.0003"),  # the first is the preset's
        "arms.seeds": ("[0, 1, 2, 3, 4]", "[0, 1, 2, 3, 4, 5, 6]"),
    }


def test_where_files_lie_is_no_difference(pair: tuple[RunFolder, RunFolder]) -> None:
    change_config(pair[1], "epochs = 8", 'epochs = 4\n\n[run]\nfolder = "elsewhere"')
    change_config(pair[1], "[data]", '[data]\nstore = "elsewhere"')
    assert side_by_side(*pair).differences == ()


def test_runs_on_the_same_tiles_may_be_compared(pair: tuple[RunFolder, RunFolder]) -> None:
    both = side_by_side(*pair)
    assert both.obstacles == ()
    assert both.names == ("a/run", "b/run")
    assert [arm.name for arm in both.arms] == ["sqrt", "uniform", "inverse"]


def other_tiles(run: RunFolder) -> None:
    write_json(run.tiles, {"hash": "4567"})


def other_voxels(run: RunFolder) -> None:
    change_config(run, "voxel_size_nm = [16, 4, 8]", "voxel_size_nm = [8, 8, 8]")


def no_configuration(run: RunFolder) -> None:
    run.config.unlink()


def other_classes(run: RunFolder) -> None:
    shutil.rmtree(run.path)
    make_run(run.path, replace(PLAN, epochs=8, classes=("nuc", "mito_mem", "er_mem", "axon", "golgi_mem")))
    write_json(run.tiles, {"hash": "0123"})


def no_tiles(run: RunFolder) -> None:
    run.tiles.unlink()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (other_tiles, "they were scored on different validation tiles (lists 0123 and 4567)"),
        (no_tiles, "the list of validation tiles of one of them is not known"),
        (other_voxels, "their voxel sizes differ: 16 x 4 x 8 and 8 x 8 x 8 nm"),
        (no_configuration, "the configuration of one of them, and with it its voxel size, is not known"),
        (other_classes, "their classes differ: pm only in the first, axon only in the second"),
    ],
)
def test_what_makes_scores_incomparable_is_said(pair: tuple[RunFolder, RunFolder], change: Change, reason: str) -> None:
    change(pair[1])
    assert side_by_side(*pair).obstacles == (reason,)
    page = render_pair(side_by_side(*pair))
    assert "Their scores cannot be compared:" in page
    assert reason in page
    assert "do not subtract them" in page
    assert 'class="strips"' not in page


def test_the_order_of_classes_does_not_matter(tmp_path: Path) -> None:
    runs = (
        make_run(tmp_path / "a", PLAN),
        make_run(tmp_path / "b", replace(PLAN, classes=PLAN.classes[::-1])),
    )
    for run in runs:
        write_json(run.tiles, {"hash": "0123"})
    assert side_by_side(*runs).obstacles == ()


def test_one_page_has_both_verdicts_tables_and_plots(pair: tuple[RunFolder, RunFolder]) -> None:
    report(pair[0].path, pair[1].path)
    file = pair[0].path / "report-vs-run.html"
    page = file.read_text(encoding="utf-8")
    Reader().feed(page)
    assert page.count('<div class="forest">') == 2
    assert page.count('aria-label="What the verdict rests on"') == 2
    assert "no interval on this page is one of a difference between the runs" in page
    sentences = [html.escape(read_json(run.verdict)["sentence"]) for run in pair]
    assert re.findall(r'<p class="verdict">(.*?)</p>', page) == sentences
    assert "http" not in page
    dice = dict(re.findall(r'<tr><th scope="row">(\w+)</th><td>([\d.]+) \[.*?</td><td>3</td><td>', page))
    # The last epoch's scores are those of the counts, which do not depend on the number of epochs.
    assert dice == {arm.name: f"{arm.first.mean:.3f}" for arm in side_by_side(*pair).arms if arm.first}
    assert len(dice) == 3


def test_the_same_run_twice_is_refused(pair: tuple[RunFolder, RunFolder]) -> None:
    with pytest.raises(RunFolderError, match="are the same run"):
        side_by_side(pair[0], RunFolder(pair[0].path / ".." / "run"))


def test_a_second_folder_that_is_no_run_is_refused_before_anything_is_written(
    pair: tuple[RunFolder, RunFolder], tmp_path: Path
) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        report(pair[0].path, tmp_path)
    assert not pair[0].verdict.exists()


def test_arms_of_either_run_have_a_row(tmp_path: Path) -> None:
    runs = (
        make_run(tmp_path / "a", replace(PLAN, arms=("uniform", "sqrt"))),
        make_run(tmp_path / "b", replace(PLAN, arms=("uniform", "inverse"))),
    )
    both = side_by_side(*runs)
    there = {pair.name: (pair.first is not None, pair.second is not None) for pair in both.arms}
    assert there == {"uniform": (True, True), "sqrt": (True, False), "inverse": (False, True)}


def test_the_interval_of_a_mean_is_students() -> None:
    found = estimate(Spread(0.6, 0.02, 5))
    # t of 0.975 and 4 degrees of freedom is 2.7764 (any table): 2.7764 * 0.02 / sqrt 5 = 0.024833.
    assert found.low == pytest.approx(0.6 - 0.024833, abs=1e-6)
    assert found.high == pytest.approx(0.6 + 0.024833, abs=1e-6)
    assert found.text == "0.600 [0.575, 0.625]"


@pytest.mark.parametrize("spread", [Spread(0.6, None, 1), Spread(0.6, 0.02, 2)])
def test_few_seeds_have_no_interval(spread: Spread) -> None:
    assert estimate(spread) == Estimate(0.6, None, None, spread.n)


def test_estimates_lie_where_they_should() -> None:
    scale = Scale(0.0, 1.0, (0.0, 0.5, 1.0), 1)  # a score s lies at 2 + 96 s percent
    pair = ArmPair("sqrt", Estimate(0.5, 0.25, 0.75, 5), None)
    drawing = ET.fromstring(str(estimate_strip(pair, ("one", "two"), scale)))  # noqa: S314 -- what the package drew
    (line,) = (e for e in drawing.iter("line") if e.attrib["class"].startswith("whisker"))
    assert (line.attrib["x1"], line.attrib["x2"]) == ("26.00%", "74.00%")
    assert [e.attrib["x"] for e in drawing.iter("svg") if e.attrib["class"] == "at"] == ["50.00%"]
    assert drawing.findtext("title") == "sqrt: one 0.500 [0.250, 0.750], two no score"
