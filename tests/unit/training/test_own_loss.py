"""A trial with a loss that is a plain function: the same training as with the fused path of the same formula."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from counterpoise.errors import ConfigError
from counterpoise.runs.records import TrialStatus
from counterpoise.training import validation
from counterpoise.training.micro_batches import MicroBatches
from counterpoise.training.trial import run_trial

WriteTrial = Callable[..., Path]

USER_MODULE = """
def tversky(logits, target, known, class_weights, *, alpha, beta, smooth):
    axes = (0, 2, 3)
    p = logits.sigmoid()
    tp = (p * target * known).sum(axes)
    fp = (p * (1 - target) * known).sum(axes)
    fn = ((1 - p) * target * known).sum(axes)
    return (class_weights * (alpha * fp + beta * fn) / (tp + alpha * fp + beta * fn + smooth)).mean()
"""


@pytest.fixture(autouse=True)
def _user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "losses_for_this_test.py").write_text(USER_MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("losses_for_this_test", None)


def losses(folder: Path) -> list[float]:
    status = run_trial(folder, say=lambda _: None)
    assert status.state == "finished"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line[key] for line in lines for key in ("train_loss", "val_loss", "dice_mean")]


def test_a_plain_function_trains_and_scores_as_the_fused_loss_does(
    write_trial: WriteTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    fused = losses(write_trial("fused", smooth=1e-3))
    plain = losses(write_trial("plain", smooth=1e-3, type="losses_for_this_test:tversky"))
    assert plain == pytest.approx(fused, rel=1e-4)
    assert losses(write_trial("other", smooth=1e-3, alpha=0.2, type="losses_for_this_test:tversky")) != pytest.approx(
        fused, rel=1e-2
    )
    monkeypatch.setattr(validation, "MicroBatches", lambda _: MicroBatches(3))
    in_parts = losses(write_trial("parts", smooth=1e-3, type="losses_for_this_test:tversky"))
    assert in_parts == pytest.approx(plain, rel=1e-5)


def test_a_loss_that_is_not_there_fails_the_trial_with_its_name(write_trial: WriteTrial) -> None:
    folder = write_trial(type="losses_for_this_test:dice")
    with pytest.raises(ConfigError, match="losses_for_this_test:dice"):
        run_trial(folder, say=lambda _: None)
    assert TrialStatus.read(folder / "status.json").state == "failed"
