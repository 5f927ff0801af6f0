"""The short measurement of a trial, in this process."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from counterpoise.experiment.config import SamplingConfig
from counterpoise.experiment.trial import TrialConfig
from counterpoise.models.registry import build_model
from counterpoise.sampling.sampler import Sampler
from counterpoise.store import VoxelStore
from counterpoise.training.checkpoint import load_checkpoint
from counterpoise.training.measure import _mean_seconds, main, measure
from counterpoise.training.trial import run_trial
from counterpoise.volumes.datasplit import Split


def test_batches_are_made_where_and_as_a_trial_makes_them(
    write_trial: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: dict[str, list[tuple[str, int, torch.device]]] = {"trial": [], "measure": []}

    def noting(who: str) -> Callable[..., Sampler]:
        def open_sampler(
            store: VoxelStore, split: Split, config: SamplingConfig, *, threads: int, device: torch.device
        ) -> Sampler:
            opened[who].append((split, threads, device))
            return Sampler(store, split, config, threads=threads, device=device)

        return open_sampler

    def once(work: Callable[[], None], **_: object) -> float:
        work()
        return 1.0

    monkeypatch.setattr("counterpoise.training.measure._mean_seconds", once)
    monkeypatch.setattr("counterpoise.training.trial.Sampler", noting("trial"))
    monkeypatch.setattr("counterpoise.sampling.sampler.Sampler", noting("measure"))
    folder = write_trial()
    run_trial(folder, device="cpu", threads=1, say=lambda _: None)
    measure(TrialConfig.read(folder / "trial.toml"), tmp_path, device="cpu", threads=1)
    assert opened["measure"] == opened["trial"]
    assert opened["trial"] == [("train", 1, torch.device("cpu")), ("validate", 1, torch.device("cpu"))]


def test_real_steps_are_measured_after_everybody_is_ready(write_trial: Callable[..., Path], tmp_path: Path) -> None:
    config = TrialConfig.read(write_trial() / "trial.toml")
    waited = []
    speed = measure(
        config, tmp_path, device="cpu", threads=1, brief=True, wait=lambda: waited.append(list(tmp_path.glob("*.pt")))
    )
    assert waited == [[]], "waits once, and before anything is saved"
    network = build_model(config.model, slices=config.sampling.slices, classes=len(config.classes))
    assert speed.parameters == sum(p.numel() for p in network.parameters())
    last, best = (load_checkpoint(tmp_path / name) for name in ("last.pt", "best.pt"))
    assert last is not None
    assert best is not None
    assert set(last["trainer"]) >= {"model", "averaged", "optimizer"}
    assert set(best["model_state_dict"]) == set(network.state_dict())
    steps = {state["step"].item() for state in last["trainer"]["optimizer"]["state"].values()}
    assert steps == {speed.steps + 2}, "the warm-up is two steps more"


@pytest.mark.parametrize(
    ("lasts", "at_least", "seconds", "times"),
    [(0.125, 3, 2.0, 16), (1.0, 3, 2.0, 3), (15.0, 3, 2.0, 2), (30.0, 3, 2.0, 1), (0.125, 1, 0.0, 1)],
)
def test_work_is_repeated_until_it_was_done_often_and_long_enough_or_takes_too_long(
    lasts: float, at_least: int, seconds: float, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, done = [0.0], list[float]()
    monkeypatch.setattr("counterpoise.training.measure.time", SimpleNamespace(perf_counter=lambda: now[0]))

    def work() -> None:
        done.append(lasts)
        now[0] += lasts

    assert _mean_seconds(work, at_least=at_least, seconds=seconds) == lasts
    assert len(done) == times


def test_what_a_network_prints_is_not_taken_for_an_answer(
    write_trial: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "talking.py").write_text(
        "from counterpoise import UNet2D\n\ndef network(**shape):\n    print('hello')\n    return UNet2D(**shape)\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    trial = write_trial() / "trial.toml"
    config = TrialConfig.read(trial)
    model = config.model.model_copy(update={"name": "talking:network"})
    trial.write_text(config.model_copy(update={"model": model}).to_toml(), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["measure", str(trial), str(tmp_path), "--brief"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("go\n"))
    assert main() == 0
    said = capsys.readouterr()
    ready, answer = said.out.splitlines()
    assert ready == "ready"
    assert json.loads(answer)["parameters"] > 0
    assert "hello" in said.err
