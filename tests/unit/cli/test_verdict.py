"""How a verdict looks on terminals of any width, and what becomes of a command whose reader has gone."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from counterpoise.cli.screen import plain_console
from counterpoise.cli.verdict import fold_blocks, print_verdict
from counterpoise.cli.verdict import verdict as verdict_command
from counterpoise.report.blocks import Paragraph, Table, verdict_blocks, verdict_lines
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder
from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import Verdict

ARMS = ("weight_uniform", "weight_inv_freq", "weight_sqrt_inv")


@pytest.fixture(scope="module")
def verdict() -> Verdict:
    """Judge three arms of four seeds on eight crops with three classes."""
    rng = np.random.default_rng(4)
    dice = 0.5 + 0.02 * rng.standard_normal((3, 4, 1, 3)) + 0.02 * rng.standard_normal((1, 1, 8, 3))
    hits = np.rint(1e6 * dice)
    counts = np.stack([hits, 1e6 - hits, 1e6 - hits], -1)
    cells = tuple(tuple(RunCell(name, seed, RunState.FINISHED) for seed in range(4)) for name in ARMS)
    crops = tuple(f"jrc_made/{g}" for g in range(8))
    return judge(CountTable(ARMS, ARMS[0], (0, 1, 2, 3), crops, ("nuc", "mito_mem", "golgi_mem"), counts, cells))


def test_text_goes_on_below_its_own_beginning() -> None:
    text = "Noise      one two three four five six seven eight nine ten eleven"
    assert list(fold_blocks([Paragraph(text, 11)], 41)) == [
        "Noise      one two three four five six",
        "           seven eight nine ten eleven",
    ]
    assert list(fold_blocks([Paragraph(), Paragraph("short")], 41)) == ["", "short"]


def test_an_interval_is_not_divided() -> None:
    text = "weight_inv_freq != weight_uniform -0.091 [-0.128, -0.054] over 5 seeds"
    assert list(fold_blocks([Paragraph(text, 4)], 50)) == [
        "weight_inv_freq != weight_uniform -0.091",
        "    [-0.128, -0.054] over 5 seeds",
    ]


def test_a_table_goes_on_below_itself_and_keeps_its_first_column() -> None:
    grid = Table((("arm", "Dice", "IoU"), ("weight_manual", "0.749", "0.621")))
    assert list(fold_blocks([grid], 24)) == [
        "arm            Dice",
        "weight_manual  0.749",
        "",
        "arm            IoU",
        "weight_manual  0.621",
    ]
    assert list(fold_blocks([grid], 80)) == ["arm            Dice   IoU", "weight_manual  0.749  0.621"]


def test_a_verdict_fits_eighty_columns(verdict: Verdict) -> None:
    whole, folded = verdict_lines(verdict), list(fold_blocks(verdict_blocks(verdict), 80))
    assert max(map(len, whole)) > 100
    assert max(map(len, folded)) <= 80


@given(width=st.integers(40, 200))
def test_folding_loses_no_word_and_cuts_none(verdict: Verdict, width: int) -> None:
    blocks = verdict_blocks(verdict)
    folded = list(fold_blocks(blocks, width))
    words = [word for line in folded for word in line.split()]
    grids = [cell for block in blocks if isinstance(block, Table) for row in block.rows for cell in row]
    expected = [word for block in blocks if isinstance(block, Paragraph) for word in block.text.split()]
    for word in [*expected, *(word for cell in grids for word in cell.split())]:
        assert word in words
    wide = [cell for cell in grids if len(cell) + len("weight_inv_freq") + 4 > width]
    assert wide or max(map(len, folded)) <= width


def test_lines_stay_whole_where_there_is_no_terminal(verdict: Verdict, monkeypatch: pytest.MonkeyPatch) -> None:
    page = io.StringIO()
    monkeypatch.setattr("counterpoise.cli.verdict.console", plain_console(file=page))
    print_verdict(verdict)
    assert tuple(page.getvalue().splitlines()) == verdict_lines(verdict)


def test_a_terminal_gets_lines_of_its_width(verdict: Verdict, monkeypatch: pytest.MonkeyPatch) -> None:
    page = io.StringIO()
    terminal = Console(file=page, width=72, force_terminal=True, color_system=None, highlight=False, markup=False)
    monkeypatch.setattr("counterpoise.cli.verdict.console", terminal)
    print_verdict(verdict)
    assert page.getvalue().splitlines() == list(fold_blocks(verdict_blocks(verdict), 72))


def one_arm(path: Path) -> RunFolder:
    """Plan a run of one arm, and train nothing."""
    run = RunFolder(path)
    run.path.mkdir()
    arm = ArmRecord("weight_uniform", "", {"nuc": 1.0}, (), None, runs=True)
    ArmsRecord(("nuc",), "weight_uniform", (0, 1, 2), (arm,), ()).write(run.weights)
    return run


def test_a_folder_that_may_only_be_read_is_judged_and_a_note_says_that_no_file_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = one_arm(tmp_path / "run")

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "read-only file system")

    monkeypatch.setattr("counterpoise.report.verdict_file.write_json", refuse)
    verdict_command(run.path, as_json=True)
    shown = capsys.readouterr()
    assert json.loads(shown.out)["no_verdict"] == "no run has finished with counts"
    assert f"note: {run.verdict} was not written: read-only folder" in shown.err
    assert not run.verdict.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("command", [["verdict"], ["verdict", "--json"], ["results"], ["results", "--format", "csv"]])
def test_a_command_whose_reader_has_gone_ends_quietly_as_others_do(command: list[str], tmp_path: Path) -> None:
    run = one_arm(tmp_path / "run")
    name, *options = command
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "counterpoise", name, str(run.path), *options],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.returncode == 128 + 13  # SIGPIPE
    assert "Error" not in done.stderr
    assert "Exception" not in done.stderr
