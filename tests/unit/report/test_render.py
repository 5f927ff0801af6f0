"""The written page: whole, self-contained, escaped, readable by machines that read it aloud."""

# ruff: noqa: S314 -- the XML parsed here is what the package drew

from __future__ import annotations

import html
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import read_json, write_json
from counterpoise.report import statements
from counterpoise.report.page import Judged
from counterpoise.report.render import write_report
from counterpoise.report.typography import interval, minus, signed
from counterpoise.report.verdict_file import keep_verdict, read_verdict
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.read import Run, read_run
from counterpoise.statistics.hypothesis_types import HypothesisOutcome, HypothesisVerdict
from counterpoise.statistics.run_verdict import judge_run
from counterpoise.statistics.verdict_types import Settings, Unit, Verdict

from .conftest import without_verdict

Make = Callable[..., RunFolder]
VOID = {"meta", "br", "wbr", "link", "img", "input", "hr"}
DASH = "\N{EN DASH}"


class Reader(HTMLParser):
    """Collects what the tests ask about, and insists that tags are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def page_of(folder: RunFolder) -> str:
    """Judge a run as it is now, and return its page."""
    run = read_run(folder)
    return page_with(run, judge_run(run))


def page_with(run: Run, verdict: Verdict) -> str:
    """Return the page of a run with a verdict made elsewhere."""
    return write_report(Judged(run, verdict)).read_text(encoding="utf-8")


def section_of(page: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">.*?</section>', page, flags=re.DOTALL)
    assert found is not None
    return found.group()


def table(page: str, number: int) -> list[list[str]]:
    """Return the cells of a table's body as text."""
    body = re.findall(r"<tbody>(.*?)</tbody>", page, flags=re.DOTALL)[number]
    rows = re.findall(r"<tr>(.*?)</tr>", body, flags=re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, flags=re.DOTALL) for row in rows]
    return [[text_of(cell) for cell in row] for row in cells]


def text_of(fragment: str) -> str:
    spaced = re.sub(r"<span[^>]*>", " ", fragment)
    return re.sub(r"[ \n]+", " ", html.unescape(re.sub(r"<[^>]*>", "", spaced))).strip(" \n")


def drawings_of(page: str) -> list[ET.Element]:
    """Return the outermost drawings; a marker placed in percent is a drawing inside another."""
    found, depth, start = [], 0, 0
    for tag in re.finditer(r"<svg\b[^>]*?(/?)>|</svg>", page):
        if tag.group().startswith("</"):
            depth -= 1
            if depth == 0:
                found.append(ET.fromstring(page[start : tag.end()]))
        elif not tag.group(1):
            start = tag.start() if depth == 0 else start
            depth += 1
    return found


SHAPES: dict[str, dict[str, Any]] = {
    "classic": {},
    "single class and seed": {
        "arms": ("a", "b"),
        "classes": ("mito",),
        "seeds": (5,),
        "same_as": {},
        "failed": (),
        "epochs": 1,
    },
    "nothing finished": {
        "arms": ("a", "b"),
        "same_as": {},
        "failed": tuple((a, s) for a in "ab" for s in (1, 2)),
    },
    "many classes": {"classes": tuple(f"class_{i}" for i in range(48)), "side": 32},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_run_makes_a_sound_page(make: Make, shape: str) -> None:
    page = page_of(make(**SHAPES[shape]))
    tags = read(page).tags
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert not {"script", "link", "iframe", "img"} & {tag for tag, _ in tags}
    assert ("html", {"lang": "en"}) in tags
    assert all(attributes.get("scope") for tag, attributes in tags if tag == "th")
    assert re.search(r"\bnan\b|\bNone\b|\binf\b", re.sub(r"base64,[^\"]*", "", page)) is None
    identifiers = [a["id"] for _, a in tags if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    assert {a["href"][1:] for tag, a in tags if tag in {"a", "use"} and a["href"]} <= set(identifiers)


@pytest.mark.parametrize("shape", ["classic", "nothing finished"])
def test_the_page_asks_for_nothing_from_outside(make: Make, shape: str) -> None:
    page = page_of(make(**SHAPES[shape]))
    assert "http" not in page
    assert "@import" not in page
    assert "url(" not in page
    links = [a.get(k) or "" for _, a in read(page).tags for k in ("href", "src") if k in a]
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)


def test_every_drawing_is_well_formed_and_named(make: Make) -> None:
    drawings = drawings_of(page_of(make()))
    assert len(drawings) > 40
    for root in drawings:
        assert root.attrib.get("aria-hidden") == "true" or (
            root.attrib["role"] == "img" and (root.findtext("title") or "")
        )


def test_the_results_table_shows_the_numbers_of_the_trials(make_scored: Make) -> None:
    run = make_scored(
        {
            "uniform": {1: [{"nuc": 0.8, "pm": 0.4}], 2: [{"nuc": 0.7, "pm": 0.3}]},
            "sqrt": {1: [{"nuc": 0.7, "pm": 0.2}], 2: [{"nuc": 0.9, "pm": 0.3}]},
        },
        same_as={"effective": "uniform"},
    )
    # uniform: 0.60, 0.50; sqrt: 0.45, 0.60; differences: -0.15, 0.10.
    assert table(section_of(page_of(run), "results"), 0) == [
        ["uniform (baseline)", "0.550 ± 0.071", "2", DASH, "0.550", "1.0", "0.750 ± 0.071", "0.350 ± 0.071"],
        ["effective", "same weights as uniform after scaling; not trained again"],
        [
            "sqrt",
            "0.525 ± 0.106",
            "2",
            "\N{MINUS SIGN}0.025 ± 0.177",
            "0.525",
            "1.0",
            "0.800 ± 0.141",
            "0.250 ± 0.071",
        ],
    ]


def test_missing_scores_are_dashes(make_scored: Make) -> None:
    run = make_scored({"uniform": {1: [{"nuc": 0.5, "pm": None}]}, "sqrt": {1: [{"nuc": 0.5, "pm": None}]}})
    assert table(section_of(page_of(run), "results"), 0) == [
        ["uniform (baseline)", "0.500", "1", DASH, "0.500", "1.0", "0.500", DASH],
        ["sqrt", "0.500", "1", "0.000", "0.500", "1.0", "0.500", DASH],
    ]


def test_frequencies_are_percentages_and_counts_are_grouped(make: Make) -> None:
    run = make(classes=("nuc", "pm", "none"))
    document = read_json(run.frequencies)
    document["frequencies"]["none"] = None
    document["frequencies"]["pm"] = 0
    document["total_pos"]["pm"] = 0
    write_json(run.frequencies, document)
    nuc, pm, none = table(section_of(page_of(run), "balance"), 0)
    space = "\N{NARROW NO-BREAK SPACE}"
    assert [c.replace(space, "_") for c in nuc[:5]] == ["nuc", "4_800_000", "40_000_000", "12.0", "9"]
    assert pm[1:4:2] == ["0", "0"]
    assert none[3] == DASH


def test_clamped_weights_are_marked(make: Make) -> None:
    page = page_of(make())
    weights = {row[0]: row[1:] for row in table(section_of(page, "balance"), 1)}
    assert weights["golgi_mem"] == ["1.00", "1.80", "3.23", "†5.00", "†5.00", "1.00"]
    assert "† marks a weight that was clamped" in page


def test_a_run_without_frequencies_still_has_a_page(make: Make) -> None:
    run = make()
    run.frequencies.unlink()
    run.environment.unlink()
    run.config.unlink()
    page = page_of(run)
    assert "no record of class frequencies" in page
    assert "no configuration" in page


def test_damaged_records_are_named(make: Make) -> None:
    run = make()
    run.environment.write_text("{", encoding="utf-8")
    assert "environment.json cannot be read" in page_of(run)


def test_whatever_a_user_typed_is_shown_as_text(make: Make) -> None:
    arm, class_name = "<b>arm<b>&\"'", "<b>x</b>"
    run = make(
        arms=(arm, "other"),
        classes=(class_name, "pm"),
        same_as={},
        failed=(("other", 1),),
        reason="<b>why</b>",
    )
    run.config.write_text("</pre><b>toml</b>", encoding="utf-8")
    write_json(run.environment, {"<b>key": "<b>value", "list": ["<b>"], "number": 3})
    page = page_of(run)
    read(page)
    bold = [text for text in re.findall(r"<b>(.*?)</b>", page) if not re.fullmatch(r"(Table|Figure) \d\.", text)]
    assert bold == []
    assert {row[0].removesuffix(" (baseline)") for row in table(section_of(page, "results"), 0)} == {arm, "other"}
    assert {row[0] for row in table(section_of(page, "balance"), 0)} == {class_name, "pm"}
    titles = [drawing.findtext("title") for drawing in drawings_of(page)]
    assert f"Last Dice of {class_name}" in titles
    assert all(f"&lt;b&gt;{text}" in page for text in ("why", "toml", "key", "value"))
    assert "number</dt><dd>3</dd>" in page


def test_an_incomplete_run_says_so_before_anything_else(make: Make) -> None:
    page = page_of(make(reason="line one\nline <two>"))
    assert page.index("This run is incomplete") < page.index('class="lead verdict"') < page.index("<h2>")
    assert "9 of 10 trials finished" in page
    assert "Planned: 5 class weightings of one and the same loss, 2 seeds each" in page
    assert "weight_log_inv, seed 2: failed after 4 of 12 epochs" in page
    assert "line one\nline &lt;two&gt;" in page


def test_a_complete_run_has_no_warning(make: Make) -> None:
    page = page_of(make(failed=()))
    assert "incomplete" not in page
    assert "Trained: 5 class weightings of one and the same loss, 2 seeds each" in page


def test_patches_show_raw_truth_and_every_arm(make: Make) -> None:
    page = page_of(make(failed=(("weight_log_inv", 1), ("weight_log_inv", 2))))
    section = page[page.index('<section id="patches">') : page.index('<section id="provenance">')]
    assert section.count('<use href="#raw-1"/>') == 2 + 4 + 4  # raw, truth, predictions, agreement
    assert section.count('<image id="raw-') == 4
    assert "No prediction to show: weight_log_inv" in section
    assert "Not annotated here, so predictions of it count neither for nor against: golgi_mem" in section


def test_twelve_arms_stay_below_three_megabytes_without_torch(make: Make) -> None:
    arms, classes = tuple(f"arm_{i}" for i in range(12)), tuple(f"class_{i}" for i in range(14))
    seeds = (0, 1, 2, 3, 4)
    run = make(arms=arms, classes=classes, seeds=seeds, same_as={}, failed=(), side=256, epochs=60, crops=12)
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from counterpoise.cli.report import report\n"
        f"report(Path({str(run.path)!r}))\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert run.report.stat().st_size < 3_000_000
    page = run.report.read_text(encoding="utf-8")
    read(page)
    assert page.count('class="forest small"') == 14
    assert page.count('class="trade"') == 11


def test_the_page_is_written_over_and_leaves_nothing_beside_it(make: Make) -> None:
    run = make()
    run.report.write_text("old", encoding="utf-8")
    before = {p.name for p in run.path.iterdir()}
    first = page_of(run)
    assert first.startswith("<!DOCTYPE html>")
    assert {p.name for p in run.path.iterdir()} == before
    assert page_of(run) == first


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


def test_text_and_marks_stand_out_in_light_and_dark(make: Make) -> None:
    schemes = [
        dict(re.findall(r"--(\w[\w-]*): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", page_of(make()), flags=re.DOTALL)
    ]
    assert len(schemes) == 2
    for scheme in schemes:
        for text in ("ink", "quiet", "link"):
            assert contrast(scheme[text], scheme["page"]) >= 4.5
        assert contrast(scheme["ink"], scheme["warn"]) >= 4.5
        assert contrast(scheme["ink"], scheme["panel"]) >= 4.5
        assert contrast(scheme["good"], scheme["page"]) >= 4.5
        assert contrast(scheme["bad"], scheme["page"]) >= 4.5
        for mark in ("claim", "noise"):
            assert contrast(scheme[mark], scheme["page"]) >= 3
            assert contrast(scheme[mark], scheme["margin"]) >= 2
        for arm in range(7):
            assert contrast(scheme[f"a{arm}"], scheme["page"]) >= 3


def test_a_judged_run_opens_with_its_verdict(judged_run: Run, verdict: Verdict) -> None:
    page = page_with(judged_run, verdict)
    tags = read(page).tags
    assert (
        '<p class="lead verdict">Use sqrt for new crops of these 3 data sets: the highest score of those that beat '
        "uniform. Against uniform:" in page
    )
    assert page.index('class="lead verdict"') < page.index("<h2>Verdict") < page.index("<h2>Results")
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    identifiers = [a["id"] for _, a in tags if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    assert {a["href"][1:] for tag, a in tags if tag in {"a", "use"} and a["href"]} <= set(identifiers)
    assert re.search(r"\bnan\b|\bNone\b|\binf\b", re.sub(r"base64,[^\"]*", "", page)) is None
    for kind in ("Table", "Figure"):
        numbers = [int(n) for n in re.findall(rf"<b>{kind} (\d+)\.</b>", page)]
        assert numbers == list(range(1, len(numbers) + 1))


def test_the_verdict_shows_plot_and_numbers_side_by_side(judged_run: Run, verdict: Verdict) -> None:
    section = section_of(page_with(judged_run, verdict), "verdict")
    numbers = [text_of(cell) for cell in re.findall(r'<div class="numbers">(.*?)</div>', section)]
    minus = "\N{MINUS SIGN}"
    assert numbers == ["+0.020 [+0.005, +0.035]", DASH, f"{minus}0.004 [{minus}0.020, +0.012]"]
    words = [text_of(cell) for cell in re.findall(r'<div class="words">(.*?)</div>', section)]
    assert words == ["better", "baseline", "undecided *"]
    assert section.count("★</span>") == 1
    assert "the thick bar leaves out" in section
    assert re.search(r"<details[^>]*>\s*<summary>The verdict as plain text</summary>\s*<pre", section)
    assert "* marks arms that a note below is about" in section
    assert "inverse: unstable, 1 of 5 trainings diverged" in section


def test_classes_are_marked_exploratory_and_their_numbers_are_in_a_table(judged_run: Run, verdict: Verdict) -> None:
    section = section_of(page_with(judged_run, verdict), "classes")
    assert section.count("xploratory, not corrected") == 2
    rows = table(section, 0)
    minus = "\N{MINUS SIGN}"
    assert rows == [
        [
            "nuc",
            f"0.788 {minus}0.012 [{minus}0.020, {minus}0.004]",
            "0.800",
            f"0.798 {minus}0.002 [{minus}0.010, +0.006]",
        ],
        ["pm", "0.452 +0.052 [+0.030, +0.074]", "0.400", f"0.394 {minus}0.006 [{minus}0.050, +0.038]"],
    ]


def test_every_arm_says_what_it_buys_and_costs(judged_run: Run, verdict: Verdict) -> None:
    section = section_of(page_with(judged_run, verdict), "trade")
    assert section.count("Gains pm +0.052") == 1
    assert section.count("No class beyond noise") == 1
    assert "Of the 4 intervals below about 0 would exclude 0 by chance alone" in section


def test_hypotheses_say_their_outcome_in_a_word_and_a_sign(judged_run: Run, verdict: Verdict) -> None:
    assert 'id="hypotheses"' not in page_with(judged_run, verdict)
    stated = tuple(HypothesisVerdict(f"claim {outcome} <b>", "a & reason", outcome) for outcome in HypothesisOutcome)
    section = section_of(page_with(judged_run, replace(verdict, hypotheses=stated)), "hypotheses")
    outcomes = [text_of(o) for o in re.findall(r'<p><span class="outcome[^>]*>(.*?)</span> <strong>', section)]
    assert outcomes == ["✔ supported", "✘ refuted", "? undecided", "○ not tested"]
    assert "claim not tested &lt;b&gt;" in section
    assert section.count("a &amp; reason") == 4


@pytest.mark.parametrize("content", ["{", '{"sentence": "Use sqrt."}', None])
def test_the_page_shows_the_verdict_that_is_made_and_not_the_file(judged_run: Run, content: str | None) -> None:
    expected = page_of(judged_run.folder)
    if content is not None:
        judged_run.folder.verdict.write_text(content, encoding="utf-8")
    assert page_of(judged_run.folder) == expected
    assert minus(html.escape(statements.headline(judge_run(judged_run)))) in expected


def test_judging_keeping_and_reporting_go_together(make: Make) -> None:
    folder = make(arms=("a", "b", "c"), seeds=(0, 1, 2, 3), same_as={}, failed=(), crops=9)
    run = read_run(folder)
    verdict = judge_run(run)
    assert keep_verdict(folder.verdict, verdict)
    assert read_verdict(folder.verdict) == verdict
    file = write_report(Judged(run, verdict))
    assert file == folder.report
    page = file.read_text(encoding="utf-8")
    read(page)
    sentence = read_json(folder.verdict)["sentence"]
    assert f'<p class="lead verdict">{minus(html.escape(sentence))}</p>' in page
    for arm in verdict.arms:
        if arm.comparison:
            assert (
                f"{signed(arm.comparison.difference)} <small>{interval(arm.comparison.low, arm.comparison.high)}"
                in page
            )


def test_patches_have_a_scale_bar_if_the_voxel_size_is_known(make: Make) -> None:
    run = make(side=64)
    # 64 pixels of 8 nm are 512 nm wide; 200 nm are the longest round length within two fifths: 25 pixels.
    section = section_of(page_of(run), "patches")
    assert section.count('<g class="scale-bar">') == 4
    assert section.count('width="25"') == 4
    assert "the white bar is 200 nm" in section
    run.config.write_text("no toml", encoding="utf-8")
    assert "scale-bar" not in section_of(page_of(run), "patches")


def test_a_report_goes_where_it_is_told(make: Make, tmp_path: Path) -> None:
    run = read_run(make())
    judged = Judged(run, judge_run(run))
    assert write_report(judged, tmp_path / "page.html") == tmp_path / "page.html"
    assert not run.folder.report.exists()
    with pytest.raises(RunFolderError, match="cannot be written to") as caught:
        write_report(judged, tmp_path / "none" / "page.html")
    assert caught.value.found == "No such file or directory"


def test_torch_and_training_are_not_imported() -> None:
    walls = ("training", "sampling", "models", "losses")
    forbidden = ["torch", *(f"counterpoise.{name}" for name in walls)]
    code = f"import sys, counterpoise.report.render; sys.exit([m for m in {forbidden} if m in sys.modules] or 0)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_a_verdict_the_table_of_classes_has_a_heading_and_claims_no_intervals(
    judged_run: Run, verdict: Verdict
) -> None:
    assert "The scored classes in numbers" not in page_with(judged_run, verdict)
    classes = section_of(page_with(judged_run, without_verdict(verdict)), "classes")
    below = classes[classes.index("<h3>The scored classes in numbers</h3>") :]
    assert "there are no differences and no intervals" in below
    assert "exploratory" not in below


def test_where_data_sets_are_the_unit_no_figure_speaks_of_crops(judged_run: Run, verdict: Verdict) -> None:
    page = page_with(judged_run, replace(verdict, settings=Settings(unit=Unit.DATA_SET)))
    for name in ("verdict", "classes"):
        assert "crops" not in section_of(page, name)
    assert "what other data sets would change and holds for these data sets only" in section_of(page, "verdict")
    assert "Use sqrt for new data sets like these 12" in section_of(page, "verdict")
    assert "on these data sets only [+0.012, +0.028]" in section_of(page, "verdict")


def test_trainings_whose_batches_came_in_parts_are_named_beside_the_results(make: Make) -> None:
    run = make(seeds=(1, 2), failed=())
    assert "Batches in parts" not in page_of(run)
    for arm in ("weight_uniform", "weight_manual"):
        file = run.trial(arm, 2).metrics
        size = {"micro_batch": 4 if arm == "weight_manual" else 8}
        epochs = [json.loads(line) | size for line in file.read_text(encoding="utf-8").splitlines()]
        file.write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs), encoding="utf-8")
        run.trial(arm, 2).config.write_text("[training]\nbatch_size = 8\n", encoding="utf-8")
    said = "weight_manual, seed 2: memory allowed 4 patches at a time (batch of 8) from epoch 1 on"
    assert said in section_of(page_of(run), "results")
    assert "weight_uniform, seed 2: memory" not in page_of(run)
