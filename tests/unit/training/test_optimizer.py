"""The lean optimiser is torch's, bit for bit, and leaves torch's compiler alone."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from counterpoise.training.optimizer import LeanAdamW


def train(
    optimizer: type[torch.optim.AdamW], steps: int, *, fused: bool, state: object = None
) -> tuple[nn.Module, object]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1))
    made = optimizer(model.parameters(), lr=1e-2, weight_decay=1e-2, fused=fused)
    schedule = torch.optim.lr_scheduler.OneCycleLR(made, max_lr=1e-2, total_steps=20)
    if state is not None:
        made.load_state_dict(state)  # type: ignore[arg-type]
    for step in range(steps):
        made.zero_grad()
        images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(step))
        torch.autograd.backward(model(images).square().mean())
        made.step()
        schedule.step()
    return model, made.state_dict()


@pytest.mark.parametrize("fused", [True, False])
def test_it_is_torchs_adamw_to_the_bit(*, fused: bool) -> None:
    ours, state = train(LeanAdamW, 7, fused=fused)
    theirs, expected = train(torch.optim.AdamW, 7, fused=fused)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    again, _ = train(LeanAdamW, 3, fused=fused, state=state)
    also, _ = train(torch.optim.AdamW, 3, fused=fused, state=expected)
    for a, b in zip(again.parameters(), also.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_step_of_training_does_not_import_torchs_compiler() -> None:
    program = """
import sys, torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from counterpoise.training import trainer  # noqa: F401
from counterpoise.training.optimizer import LeanAdamW
layer = torch.nn.Linear(2, 2)
made = LeanAdamW(layer.parameters(), fused=True)
schedule = torch.optim.lr_scheduler.OneCycleLR(made, max_lr=1e-3, total_steps=9)
made.zero_grad(set_to_none=True)
scaler = torch.amp.GradScaler("cpu", enabled=False)
scaler.scale(layer(torch.rand(1, 2)).sum()).backward()
scaler.unscale_(made)
torch.nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
scaler.step(made)
schedule.step()
made.load_state_dict(made.state_dict())
means = [p.detach().clone() for p in layer.parameters()]
get_ema_multi_avg_fn(0.9)(means, [p.detach() for p in layer.parameters()], AveragedModel(layer).n_averaged)
print("torch._dynamo" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert found.stdout == "False\n"
