"""The short measurement of a trial, in this process."""

from collections.abc import Callable
from pathlib import Path

from counterpoise.experiment.trial import TrialConfig
from counterpoise.models.registry import build_model
from counterpoise.training.checkpoint import load_checkpoint
from counterpoise.training.measure import measure


def test_real_steps_are_measured_after_everybody_is_ready(write_trial: Callable[..., Path], tmp_path: Path) -> None:
    config = TrialConfig.read(write_trial() / "trial.toml")
    waited = []
    speed = measure(config, tmp_path, device="cpu", threads=1, wait=lambda: waited.append(list(tmp_path.glob("*.pt"))))
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
