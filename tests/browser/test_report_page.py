"""The report in a browser: nothing wrong in the console, nothing cut off, links that land, text that can be read."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CONTRAST = Path(__file__).with_name("contrast.js").read_text(encoding="utf-8")
READABLE = 4.5
"""WCAG 2.2, success criterion 1.4.3, level AA, for text of any size."""


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_lies_beyond_the_right_edge(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    widths = page.evaluate("[innerWidth, document.documentElement.scrollWidth, document.body.scrollWidth]")
    assert widths[0] == width
    assert max(widths) == width


def test_every_link_within_the_page_lands(page: Any) -> None:
    links = page.locator("a[href^='#']")
    assert links.count() > 5
    for link in links.all():
        href = link.get_attribute("href")
        page.evaluate("scrollTo(0, 0)")
        link.evaluate("a => a.click()")
        top, bottom, height = page.evaluate(
            """id => {
                const box = document.getElementById(id)?.getBoundingClientRect();
                return box?.width ? [box.top, box.bottom, innerHeight] : [0, -1, innerHeight];
            }""",
            href[1:],
        )
        assert bottom > 0, f"{href} leads nowhere"
        assert top < height, f"{href} is not in sight"


@pytest.mark.parametrize(("media", "scheme"), [("screen", "light"), ("screen", "dark"), ("print", "dark")])
def test_every_text_can_be_read(page: Any, media: str, scheme: str) -> None:
    page.emulate_media(media=media, color_scheme=scheme)
    found = page.evaluate(CONTRAST, READABLE)
    assert found["checked"] > 100
    assert found["faint"] == []


def test_it_prints_on_as_many_pages_as_it_is_long(page: Any) -> None:
    page.set_viewport_size({"width": 794, "height": 1123})  # A4 in CSS pixels
    page.emulate_media(media="print")
    height = page.evaluate("document.documentElement.scrollHeight")
    pages = re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))
    assert len(pages) >= height // 1123 >= 2
