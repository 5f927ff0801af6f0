from __future__ import annotations

from typing import Any

import pytest

from counterpoise.errors import ConfigError
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.load import parse_experiment
from counterpoise.experiment.overrides import read_override, write_overrides
from counterpoise.experiment.template import as_toml
from counterpoise.volumes.annotation import Meaning
from counterpoise.volumes.encoding import StatedValues

EXPERIMENT = """
[data]
datasplit = "d.csv"
classes = ["er", "nuc"]
"""


def parse(labels: str = "", **options: Any) -> Experiment:
    return parse_experiment(EXPERIMENT + labels, **options)


def test_values_are_said_class_by_class_and_for_all() -> None:
    text = """
[data.labels.er]
absent = 0
present = 255
unknown = []
[data.labels."*"]
unknown = [254, 255]
others = "absent"
"""
    assert parse(text).data.stated_values() == {
        "er": StatedValues((0,), (255,), ()),
        "*": StatedValues(unknown=(254, 255), others=Meaning.ABSENT),
    }
    assert parse().data.stated_values() == {}


def test_values_are_set_on_the_command_line_and_kept() -> None:
    override = read_override("data.labels.er.present=255")
    assert parse(overrides=[override]).data.stated_values() == {"er": StatedValues(present=(255,))}
    written = write_overrides(EXPERIMENT, [override])
    assert parse_experiment(written).data.stated_values() == {"er": StatedValues(present=(255,))}


def test_a_written_experiment_is_read_back() -> None:
    experiment = parse('[data.labels.er]\nabsent = [0, 2]\nothers = "unknown"\n')
    assert parse_experiment(as_toml(experiment, header="")) == experiment


@pytest.mark.parametrize(
    ("labels", "problem", "expected"),
    [
        ("[data.labels.err]\nabsent = 0", "data.labels.err", 'classes in data.classes, or "*"'),
        ("[data.labels.er]\nabsent = 0\npresent = 0", "data.labels.er", "different values"),
        ("[data.labels.er]\nmissing = 0", "unknown key", "a key of this table"),
        ("[data.labels.er]\nabsent = 0.5", "data.labels.er.absent", ""),
        ("[data.labels.er]\nabsent = true", "data.labels.er.absent", ""),
        ('[data.labels.er]\nabsent = "0"', "data.labels.er.absent", ""),
        ('[data.labels.er]\nothers = "ignored"', "data.labels.er.others", "present"),
        ("[data]\nlabels = 5", "", ""),
    ],
)
def test_values_that_cannot_be_meant_are_refused(labels: str, problem: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(labels)
    assert problem in caught.value.problem
    assert expected in caught.value.expected
