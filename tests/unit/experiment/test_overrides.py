"""Values set on the command line: read, checked as in the file, written into it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.errors import ConfigError
from counterpoise.experiment.load import Source, load_experiment, parse_experiment
from counterpoise.experiment.overrides import Override, apply_overrides, read_override, read_seeds, write_overrides

LEAST = '[data]\ndatasplit = "split.csv"\nclasses = ["nuc", "pm"]\n'


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("training.epochs=5", ("training", "epochs"), 5),
        ("training.epochs = 5", ("training", "epochs"), 5),
        ("sampling.mirror=false", ("sampling", "mirror"), False),
        ("sampling.patch_shape=[64, 64]", ("sampling", "patch_shape"), [64, 64]),
        ("model.name=unet2d", ("model", "name"), "unet2d"),
        ('model.name="unet2d"', ("model", "name"), "unet2d"),
        ("run.folder=runs/a = b", ("run", "folder"), "runs/a = b"),
        ('run.folder=it\'s "mine"', ("run", "folder"), 'it\'s "mine"'),
        ("run.folder=", ("run", "folder"), ""),
        ("preset=demo", ("preset",), "demo"),
        ("loss.alpha=0.25", ("loss", "alpha"), 0.25),
        ("arms.manual_weights={nuc = 2}", ("arms", "manual_weights"), {"nuc": 2}),
        ("arms.manual_weights.nuc=2", ("arms", "manual_weights", "nuc"), 2),
        ('arms.manual_weights."a.b"=2', ("arms", "manual_weights", "a.b"), 2),
    ],
)
def test_any_key_is_read_with_its_value_as_in_the_file(text: str, path: tuple[str, ...], value: object) -> None:
    found = read_override(text)
    assert (found.path, found.value, found.shown) == (path, value, f"--set {text}")
    assert type(found.value) is type(value)


@pytest.mark.parametrize(
    ("text", "problem", "remedy"),
    [
        ("training.epoch=5", "unknown key", "did you mean training.epochs?"),
        ("trainng.epochs=5", "unknown key", "did you mean training.epochs?"),
        ("epochs=5", "unknown key", "did you mean training.epochs?"),
        ("training=5", "unknown key", ""),
        ("zzz.zzz=5", "unknown key", "docs/configuration.md"),
        ("training.epochs", "cannot be used", "--set training.epochs=5"),
        ("=5", "cannot be used", "--set training.epochs=5"),
        ("", "cannot be used", "--set training.epochs=5"),
        ("a b=5", "cannot be used", "--set training.epochs=5"),
        ("a=1\nb=5", "unknown key", ""),
    ],
)
def test_what_is_no_key_is_refused_with_the_nearest(text: str, problem: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=problem) as caught:
        read_override(text)
    assert remedy in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "seeds"), [("3", (0, 1, 2)), ("0,1,2", (0, 1, 2)), ("7,", (7,)), (" 4, 2 ", (4, 2)), ("1", (0,))]
)
def test_seeds_are_a_number_or_a_list(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_experiment(LEAST, overrides=[read_seeds(text)]).arms.seeds == seeds


@pytest.mark.parametrize("text", ["", "three", "-1", "1.5", "1,,2", "[1]"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--seeds cannot be used"):
        read_seeds(text)


@pytest.mark.parametrize(
    ("override", "key", "found"),
    [
        ("training.epochs=0", "training.epochs", "0"),
        ("training.epochs=many", "training.epochs", '"many"'),
        ("sampling.mirror=1", "sampling.mirror", "1"),
        ("arms.baseline=weight_inv_frq", "arms.baseline", '"weight_inv_frq"'),
        ("arms.manual_weights.nuk=1", "arms.manual_weights.nuk", '"nuk"'),
        ("arms.manual_weights={nuc = 1, nuk = 1}", "arms.manual_weights.nuk", '"nuk"'),
    ],
)
def test_a_bad_value_is_told_as_in_the_file_with_the_option_for_its_place(override: str, key: str, found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_experiment(LEAST, name="mine.toml", overrides=[read_override(override)])
    assert caught.value.problem == f"--set {override}: {key} cannot be used"
    assert caught.value.found == found


def test_a_fault_of_the_file_still_names_its_line() -> None:
    with pytest.raises(ConfigError, match=r"mine.toml, line 5: training.epochs"):
        parse_experiment(
            f"{LEAST}[training]\nepochs = 0\n", name="mine.toml", overrides=[read_override("model.width=8")]
        )


def test_the_last_of_several_counts_and_a_preset_may_be_set() -> None:
    overrides = [read_override(text) for text in ("preset=demo", "training.epochs=5", "training.epochs=6")]
    experiment = parse_experiment(LEAST, overrides=overrides)
    assert (experiment.preset, experiment.training.epochs) == ("demo", 6)
    assert experiment.model == parse_experiment('preset = "demo"\n' + LEAST).model


FILE = """\
# my experiment
preset = "demo"

[data]  # the crops
datasplit = "split.csv"
classes = [
  "nuc",  # nucleus
  "pm",
]

[training]
epochs = 3  # few
batch_size = 4
"""


def test_the_text_keeps_its_comments_and_gets_the_values() -> None:
    overrides = [
        read_override(text)
        for text in ("training.epochs=5", 'data.classes=["nuc"]', "training.learning_rate=1e-3", "model.width=8")
    ] + [read_seeds("2")]
    written = write_overrides(FILE, overrides)
    assert (
        written
        == """\
# my experiment
preset = "demo"

[data]  # the crops
datasplit = "split.csv"
classes = [ "nuc", ]  # set on the command line

[training]
learning_rate = 0.001  # set on the command line
epochs = 5  # set on the command line
batch_size = 4

[model]
width = 8  # set on the command line

[arms]
seeds = 2  # set on the command line
"""
    )


def test_a_dotted_key_keeps_its_place_and_the_text_its_comments() -> None:
    text = f"# mine\ntraining.epochs = 3\n{LEAST}"
    written = write_overrides(text, [read_override("training.epochs=5")])
    assert written == text.replace("= 3", "= 5  # set on the command line")


@pytest.mark.parametrize(
    ("text", "override"),
    [
        (f"training = {{ epochs = 3 }}\n{LEAST}", "training.epochs=5"),
        (f"training.epochs = 3\n{LEAST}", "training.epochs=5"),
        (f"training.epochs = 3\n{LEAST}", "training.batch_size=5"),
        (f'{LEAST}[training]\n"epochs" = 3\n', "training.epochs=5"),
        (f'{LEAST}store = """\n[training]\nepochs = 3\n"""\n', "training.epochs=5"),
        (f"{LEAST}[arms.manual_weights]\nnuc = 1\n", "arms.manual_weights={pm = 2}"),
        (f"{LEAST}[arms.manual_weights]\nnuc = 1\n", "arms.manual_weights.pm=2"),
        (f"{LEAST}[arms]\nmanual_weights = {{ nuc = 1 }}\n", 'arms.manual_weights."p.m"=2'),
        (LEAST, 'hypothesis=[{claim = "weight_manual > 0.1"}]'),
        (f'{LEAST}[[hypothesis]]\nclaim = "a"\n', "hypothesis=[]"),
        (LEAST.rstrip("\n"), "run.folder=a\tb\x7f"),
        ("", "preset=demo"),
    ],
)
def test_however_the_file_is_written_the_text_holds_what_was_meant(text: str, override: str) -> None:
    overrides = [read_override(override)]
    written = write_overrides(text, overrides)
    assert tomllib.loads(written) == apply_overrides(tomllib.loads(text), overrides) != tomllib.loads(text)
    assert "# set on the command line" in written


VALUES = st.one_of(st.integers(-99, 99), st.booleans(), st.text(max_size=5), st.lists(st.integers(0, 9), max_size=3))


@given(
    tables=st.dictionaries(
        st.sampled_from(["training", "model", "arms"]),
        st.dictionaries(st.sampled_from(["a", "b", "c-d"]), VALUES, max_size=3),
        max_size=3,
    ),
    path=st.tuples(st.sampled_from(["training", "model", "arms"]), st.sampled_from(["a", "b", "c d"])),
    value=VALUES,
)
def test_any_value_can_be_written(tables: dict[str, Any], path: tuple[str, str], value: object) -> None:
    import tomli_w

    override = Override(path, value, ("--set", "x"))
    text = tomli_w.dumps(tables)
    assert tomllib.loads(write_overrides(text, [override])) == apply_overrides(tables, [override])


def test_a_source_is_read_and_repeated_with_its_overrides(tmp_path: Path) -> None:
    file = tmp_path / "my experiment.toml"
    file.write_text(LEAST, encoding="utf-8")
    source = Source(file, (read_override("model.name=my nets:small"), read_seeds("2")))
    assert load_experiment(source).model.name == "my nets:small"
    assert parse_experiment(source.text()) == parse_experiment(LEAST, overrides=source.overrides)
    assert source.command("run") == f"counterpoise run '{file}' --set 'model.name=my nets:small' --seeds 2"
    assert Source(file).text() == LEAST


def test_a_run_keeps_its_own_folder_and_the_paths_of_its_base(tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "experiment.toml"
    copy.parent.mkdir()
    copy.write_text(LEAST, encoding="utf-8")
    source = Source(copy, base=tmp_path / "project", run=copy.parent)
    experiment = load_experiment(source)
    assert experiment.data.datasplit == tmp_path / "project" / "split.csv"
    assert experiment.run.folder == copy.parent
    assert source.arguments() == [str(copy.parent)]
