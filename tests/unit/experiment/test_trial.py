"""A trial's configuration on disk, and the hash of what decides its result."""

from pathlib import Path
from typing import Any

import pytest

from counterpoise.errors import ConfigError
from counterpoise.experiment.config import ModelConfig, SamplingConfig, ValidationConfig
from counterpoise.experiment.losses import OwnLoss, TverskyOptions
from counterpoise.experiment.trial import TrialConfig, TrialTraining


def config(**changes: Any) -> TrialConfig:
    values: dict[str, Any] = {
        "arm": "weight_inv_freq",
        "seed": 3,
        "classes": ("nuc", "pm"),
        "class_weights": {"nuc": 0.1 + 0.2, "pm": 1e-17},
        "store": Path('/a "quoted"/store ü'),
        "store_fingerprint": "f" * 64,
        "tiles_hash": "0123456789abcdef",
        "sampling": SamplingConfig(),
        "model": ModelConfig(),
        "loss": TverskyOptions(),
        "training": TrialTraining(batch_size=28, precision="float16"),
        "validation": ValidationConfig(),
    }
    return TrialConfig.model_validate(values | changes)


def test_write_then_read_gives_the_same_to_the_last_bit(tmp_path: Path) -> None:
    (tmp_path / "trial.toml").write_text(config().to_toml(), encoding="utf-8")
    assert TrialConfig.read(tmp_path / "trial.toml") == config()
    assert TrialConfig.read(tmp_path / "trial.toml").fingerprint() == config().fingerprint()


def test_everything_but_the_stores_place_changes_the_fingerprint() -> None:
    base = config()
    assert config(store=Path("/elsewhere")).fingerprint() == base.fingerprint()
    others = [
        config(arm="another"),
        config(seed=4),
        config(classes=("pm", "nuc")),
        config(class_weights={"nuc": 0.3, "pm": 1e-17}),
        config(store_fingerprint="e" * 64),
        config(tiles_hash="1" * 16),
        config(sampling=SamplingConfig(slices=3)),
        config(model=ModelConfig(width=32)),
        config(loss=TverskyOptions(alpha=0.5)),
        config(training=TrialTraining(batch_size=48, precision="float16")),
        config(training=TrialTraining(batch_size=28, precision="bfloat16")),
        config(training=TrialTraining(batch_size=28, precision="float16", epochs=61)),
        config(validation=ValidationConfig(tiles_per_crop=63)),
    ]
    prints = [other.fingerprint() for other in others]
    assert base.fingerprint() not in prints
    assert len(set(prints)) == len(prints)
    assert all(len(p) == 64 for p in prints)


def test_trials_from_before_there_was_a_choice_of_losses_keep_their_hash() -> None:
    """The first two were computed by the version of commit f4bcafc, whose [loss] had no type."""
    assert config().fingerprint() == "a9581f95cf041ec7d55f9d2eb0db9f79cf6918b8eb6dcb22e974ef90c08dcef3"
    other = config(loss=TverskyOptions(alpha=0.5))
    assert other.fingerprint() == "cbd75bca80da6a9a6dfe3390fcfc171518d2e1906d7d6ca302669261255e8de0"
    own = [config(loss=OwnLoss(type="mine:focal"), loss_source=source) for source in ("", "a" * 64, "b" * 64)]
    assert len({trial.fingerprint() for trial in (*own, config(loss=OwnLoss(type="mine:dice")), config())}) == 5


def test_trials_that_count_no_boundaries_keep_their_hash() -> None:
    """The hash that the test above has, of a version without this choice."""
    off = config(validation=ValidationConfig(boundary_tolerance_nm=20.0))
    assert off.fingerprint() == config().fingerprint()
    on = [config(validation=ValidationConfig(boundary=True, boundary_tolerance_nm=nm)) for nm in ("auto", 8.0, 20.0)]
    assert len({trial.fingerprint() for trial in (*on, off)}) == 4


def test_the_order_of_the_weights_is_no_difference() -> None:
    swapped = config(class_weights={"pm": 1e-17, "nuc": 0.1 + 0.2})
    assert swapped.fingerprint() == config().fingerprint()


@pytest.mark.parametrize("key", ["batch_size", "precision"])
def test_nothing_is_left_to_be_decided(key: str, tmp_path: Path) -> None:
    text = config().to_toml()
    old = {"batch_size": "batch_size = 28", "precision": 'precision = "float16"'}[key]
    assert old in text
    (tmp_path / "trial.toml").write_text(text.replace(old, f'{key} = "auto"'), encoding="utf-8")
    with pytest.raises(ConfigError, match="does not describe a trial"):
        TrialConfig.read(tmp_path / "trial.toml")


@pytest.mark.parametrize("content", [None, b"", b"arm = ", b"\xff\xfe", b"arm = 'a'\n"])
def test_what_is_missing_torn_or_something_else_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "trial.toml").write_bytes(content)
    with pytest.raises(ConfigError, match="does not describe a trial") as caught:
        TrialConfig.read(tmp_path / "trial.toml")
    assert "\n" not in caught.value.found


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "no such file"),
        ("", "a file without the keys of a trial"),
        ("# a comment\n", "a file without the keys of a trial"),
        ("[training]\n", "no arm, no seed, no classes, and 10 more such faults"),
    ],
)
def test_a_file_without_a_trial_says_so_in_words(content: str | None, found: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "trial.toml").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        TrialConfig.read(tmp_path / "trial.toml")
    assert caught.value.found == found


def test_a_key_that_is_wrong_is_named_with_what_it_should_be(tmp_path: Path) -> None:
    text = config().to_toml().replace("seed = 3", "seed = -3").replace('arm = "weight_inv_freq"\n', "")
    (tmp_path / "trial.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        TrialConfig.read(tmp_path / "trial.toml")
    assert caught.value.found == "no arm, seed: input should be greater than or equal to 0"
