"""What several commands read in the same way from what is typed."""

from __future__ import annotations

import pytest

from counterpoise.cli.options import Format, is_json, split_names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("nuc,pm", ("nuc", "pm")),
        (" nuc , pm", ("nuc", "pm")),
        ("nuc,,pm,", ("nuc", "pm")),
        ("own/rules.py:by hand", ("own/rules.py:by hand",)),
        (" , ", ()),
        ("", ()),
        (None, ()),
    ],
)
def test_names_stand_between_commas_with_or_without_spaces(text: str | None, names: tuple[str, ...]) -> None:
    assert split_names(text) == names


def test_either_way_of_asking_for_json_is_enough() -> None:
    asked = {(output, short): is_json(output, short) for output in Format for short in (False, True)}
    assert [combination for combination, json in asked.items() if not json] == [(Format.text, False)]
