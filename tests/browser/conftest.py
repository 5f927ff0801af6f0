"""Report pages, opened in the system's Chromium."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MAKE_PAGES = "tests.unit.report.conftest"
"""Run as a module, it writes runs of several shapes and their reports."""

KINDS = ("classic", "full", "wide")
"""Six arms and five classes; twelve arms, fourteen classes and a verdict; 48 classes with long names."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start a browser without a window."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no browser: install chromium (Debian: apt-get install chromium)")
    library = pytest.importorskip(
        "playwright.sync_api", reason="no library to drive the browser: pip install --group browser"
    )
    with library.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program)
        yield started
        started.close()


@pytest.fixture(scope="session", params=KINDS)
def report(request: pytest.FixtureRequest, once: Callable[[str, Callable[[Path], object]], Path]) -> Path:
    """Write the report of a made run."""

    def make(folder: Path) -> None:
        folder.mkdir()
        subprocess.run([sys.executable, "-m", MAKE_PAGES, folder, request.param], cwd=ROOT, check=True)

    folder: Path = once(f"report {request.param}", make)
    file: Path = folder / request.param / "report.html"
    return file


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    """Open the report, with everything unfolded and no animation, and fail at the end if anything went wrong in it."""
    said: list[str] = []
    asked: list[str] = []
    opened = browser.new_page()
    opened.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: said.append(f"error: {error}"))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(report.as_uri())
    opened.add_style_tag(content="* { scroll-behavior: auto !important; transition: none !important; }")
    opened.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true; })")
    yield opened
    opened.close()
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [report.as_uri()]
