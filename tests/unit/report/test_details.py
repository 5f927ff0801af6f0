"""The further scores as tables, csv and JSON."""

import csv
import io
import json
import re
from collections.abc import Callable

import pytest

from counterpoise.report.details import Further, as_csv, as_json, show_details
from counterpoise.report.page import Judged, build_page
from counterpoise.report.render import render
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.read import Run, read_run
from counterpoise.statistics.details import Details, describe_run
from counterpoise.statistics.run_verdict import judge_run

Make = Callable[..., RunFolder]
CHANGES = {"seeds": (0, 1, 2), "failed": (), "crops": 12, "classes": ("nuc", "er_mem"), "examples": False}


@pytest.fixture
def run(make: Make) -> Run:
    return read_run(make(**CHANGES, further=True))


def described(run: Run) -> Details:
    details = describe_run(run, judge_run(run))
    assert details is not None
    return details


def shown(run: Run) -> Further:
    further = show_details(run, judge_run(run))
    assert further is not None
    return further


def test_every_table_is_rectangular_and_has_every_arm(run: Run) -> None:
    tables = {table.title: table for table in shown(run).tables}
    assert list(tables) == ["Arms", "Data sets", "Classes", "Calibration", "Boundaries and centre lines"]
    arms = [arm.name for arm in described(run).arms]
    assert len(arms) == 5
    for table in tables.values():
        rows = table.as_rows()
        assert {len(row) for row in rows} == {len(table.heading)}
        text = {cell.strip() for row in rows for cell in row}
        assert set(arms) <= text
    assert [row[0] for row in tables["Classes"].as_rows()[:3]] == ["arm", "nuc", f"  {arms[0]}"]


def test_figures_are_those_of_the_description(run: Run) -> None:
    details = described(run)
    arm = details.arms[1]
    tables = {table.title: table.as_rows() for table in shown(run).tables}
    row = next(row for row in tables["Arms"] if row[0] == arm.name)
    assert arm.semantic_iou is not None
    assert arm.worst is not None
    assert row[2] == f"{arm.semantic_iou.mean:.3f} ± {arm.semantic_iou.sd:.3f}"
    assert row[-2:] == [f"{arm.worst.mean:.3f} ± {arm.worst.sd:.3f}", arm.worst_crops[0]]
    last = tables["Data sets"][-1]
    assert last[1 + [a.name for a in details.arms].index(details.baseline)] == "baseline"
    assert last[2] == f"{arm.higher} / {arm.lower}"


def test_csv_has_every_figure_on_a_line(run: Run) -> None:
    details = described(run)
    rows = list(csv.DictReader(io.StringIO(as_csv(details))))
    # five figures of an arm, three data sets, two classes with seven figures and eight ranges of two shares
    assert len(rows) == len(details.arms) * (5 + 3 + 2 * (7 + 16))
    arm = details.arms[0]
    surface = arm.classes[1].surface
    assert surface is not None
    assert surface.score is not None
    (row,) = [r for r in rows if (r["strategy"], r["class"], r["figure"]) == (arm.name, "er_mem", "surface_dice")]
    assert (float(row["mean"]), float(row["difference"]), float(row["low"]), row["seeds"]) == (
        surface.score.mean,
        surface.difference,
        surface.low,
        "3",
    )
    assert as_csv(None).count("\n") == 1


def test_json_holds_everything(run: Run) -> None:
    details = described(run)
    document = json.loads(json.dumps(as_json(details)))
    assert document["scored"] == ["nuc", "er_mem"]
    assert document["arms"][0]["classes"][1]["surface"]["low"] == details.arms[0].classes[1].surface.low  # type: ignore[union-attr]
    assert as_json(None) is None


def test_what_is_missing_is_said_and_has_no_table(make: Make) -> None:
    further = shown(read_run(make(**CHANGES)))
    assert [table.title for table in further.tables] == ["Arms", "Data sets", "Classes"]
    assert further.remarks[0].startswith("No average precision and calibration")
    assert "average precision" not in further.tables[2].heading


def test_a_run_without_scored_classes_has_no_section(make: Make) -> None:
    run = read_run(make(crops=2))
    judged = Judged(run, judge_run(run))
    assert judged.verdict.scored == ()
    assert show_details(run, judged.verdict) is None
    assert 'id="details"' not in render(build_page(judged))


def test_the_page_has_the_tables_and_says_what_they_are(run: Run) -> None:
    html = render(build_page(Judged(run, judge_run(run))))
    section = html.partition('<section id="details">')[2].partition("</section>")[0]
    assert section.count("<table") == 5
    assert section.count("<details") == 3
    text = re.sub(r"<[^>]+>", " ", section)
    for words in ("the verdict claims nothing", "not the challenge", "within 8 nm", "Exploratory: not corrected"):
        assert words in text
