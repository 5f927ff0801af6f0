"""The list of sections: each has its template, and a new one needs an entry and a template only."""

import re
from pathlib import Path

import pytest
from jinja2 import ChoiceLoader, DictLoader, PackageLoader

import counterpoise.report
from counterpoise.report import render as module
from counterpoise.report.page import Judged, build_page
from counterpoise.report.sections import SECTIONS, Section
from counterpoise.runs.read import Run
from counterpoise.statistics.verdict_types import Verdict

TEMPLATES = Path(counterpoise.report.__file__).parent / "templates" / "sections"


def test_sections_and_templates_are_the_same() -> None:
    assert [section.anchor for section in SECTIONS] == list(dict.fromkeys(section.anchor for section in SECTIONS))
    assert {section.template.rpartition("/")[2] for section in SECTIONS} == {file.name for file in TEMPLATES.iterdir()}


def test_a_new_section_is_linked_and_filled_with_the_page(
    judged_run: Run, verdict: Verdict, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = build_page(Judged(judged_run, verdict))
    added = Section("baseline", "The baseline", link="Base")
    hidden = Section("hidden", "Never", is_shown=lambda _: False)
    monkeypatch.setattr(module, "SECTIONS", (*SECTIONS, added, hidden))
    own = DictLoader({added.template: "<p>It is {{ page.baseline }}.</p>"})
    monkeypatch.setattr(module, "PackageLoader", lambda name: ChoiceLoader([own, PackageLoader(name)]))
    html = module.render(page)
    assert '<a href="#baseline">Base</a>' in html
    assert "<h2>The baseline</h2>" in html
    assert f"<p>It is {page.baseline}.</p>" in html
    assert 'id="hidden"' not in html
    assert re.findall(r'<section id="(\w+)"', html) == re.findall(r'href="#(\w+)"', html)
