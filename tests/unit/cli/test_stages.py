"""Stages before a run, on a terminal and elsewhere."""

from __future__ import annotations

import io
from unittest import mock

import pytest
from rich.console import Console

from counterpoise.cli import stages
from counterpoise.cli.stages import StageScreen
from counterpoise.preflight.observer import Stage
from counterpoise.store import StoreRequest


@pytest.fixture
def request_of_ten(monkeypatch: pytest.MonkeyPatch) -> StoreRequest:
    monkeypatch.setattr(stages, "voxels_to_decode", lambda _: 10)
    return mock.Mock(spec=StoreRequest)


def test_elsewhere_a_line_per_stage_is_printed_if_asked_for(request_of_ten: StoreRequest) -> None:
    for plain, expected in ((True, "Reading the crops ...\nOpening the voxel store ...\n"), (False, "")):
        file = io.StringIO()
        with StageScreen(Console(file=file), plain=plain) as screen:
            screen.began(Stage.INPUTS)
            screen.began(Stage.STORE)
            screen.building_store(request_of_ten)(5)
        assert file.getvalue() == expected


def test_on_a_terminal_the_bar_fills_as_voxels_are_decoded_and_is_gone_in_the_end(
    request_of_ten: StoreRequest,
) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80)
    with StageScreen(console) as screen:
        screen.began(Stage.STORE)
        decoded = screen.building_store(request_of_ten)
        assert screen._progress is not None
        (task,) = screen._progress.tasks
        assert (task.description, task.total) == ("Opening the voxel store", None)
        decoded(4)
        decoded(3)
        assert (task.description, task.total, task.completed) == ("Decoding crops", 10, 7)
        screen.told("something to know")
    assert screen._progress is None
