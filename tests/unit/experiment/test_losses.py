"""``[loss]``: which loss and which options, checked without torch; hashes are as before there was a choice."""

import pytest

from counterpoise.errors import ConfigError
from counterpoise.experiment.config import Experiment
from counterpoise.experiment.load import parse_experiment
from counterpoise.experiment.losses import LOSSES, LossOptions, OwnLoss, TverskyOptions
from counterpoise.experiment.template import as_markdown, as_toml

LEAST = '[data]\ndatasplit = "split.csv"\nclasses = ["nuc"]\n[loss]\n'


def loss_of(lines: str) -> object:
    return parse_experiment(LEAST + lines).loss


def test_without_a_type_it_is_tversky() -> None:
    assert loss_of("alpha = 0.7\n") == loss_of('type = "tversky"\nalpha = 0.7\n') == TverskyOptions(alpha=0.7)


def test_a_loss_of_ones_own_takes_any_option() -> None:
    loss = loss_of('type = "mine:focal"\ngamma = 2\nclasses = ["a"]\n')
    assert isinstance(loss, OwnLoss)
    assert loss.options() == {"gamma": 2, "classes": ["a"]}


@pytest.mark.parametrize("lines", ["", 'type = "mine:focal"\ngamma = 2.5\nname = "a"\n'])
def test_a_written_experiment_reads_back_with_its_loss(lines: str) -> None:
    experiment = parse_experiment(LEAST + lines)
    assert parse_experiment(as_toml(experiment, header="")) == experiment
    assert Experiment.model_validate(experiment.model_dump()) == experiment


@pytest.mark.parametrize(
    ("lines", "key", "found", "hint"),
    [
        ('type = "tverski"', "loss.type", '"tverski"', "did you mean 'tversky'"),
        ('type = "mine:"', "loss.type", '"mine:"', "module:function"),
        ("type = 3", "loss.type", "3", "docs/configuration.md"),
        ("alfa = 0.7", "loss.alfa", "'alfa'", "did you mean 'alpha'? known: type, alpha, beta, smooth"),
        ('type = "tversky"\nsmooth = 0', "loss.smooth", "0", "docs/configuration.md"),
        ("alpha = 0\nbeta = 0", "loss.alpha", '{"alpha": 0.0, "beta": 0.0}', "docs/configuration.md"),
    ],
)
def test_a_loss_that_cannot_be_used_is_named_with_key_and_line(lines: str, key: str, found: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_experiment(LEAST + lines, name="mine.toml")
    last = LEAST.count("\n") + 1 + (lines.count("\n") if key == "loss.smooth" else 0)
    assert f"mine.toml, line {last}: " in caught.value.problem
    assert key in caught.value.problem
    assert caught.value.found == found
    assert hint in caught.value.remedy


def test_the_page_lists_every_loss_under_its_table() -> None:
    section = as_markdown().partition("## `[loss]`")[2].partition("\n## ")[0]
    tables: list[type[LossOptions]] = [*LOSSES.values(), OwnLoss]
    for table in tables:
        for key, entry in table.model_fields.items():
            assert f"| `{key}` | " in section
            assert str(entry.description) in section
