"""What to train with, in numbers: the weights, loss and network of an arm."""

from __future__ import annotations

from collections.abc import Mapping

from counterpoise.experiment.config import Experiment
from counterpoise.experiment.trial import TrialConfig
from counterpoise.report.statements import Entry
from counterpoise.runs.read import Run
from counterpoise.statistics.verdict_types import Verdict
from counterpoise.text import counted, shortest, significant

__all__ = ["recipe", "recommended_recipe"]


def recipe(weights: Mapping[str, float], config: Experiment | TrialConfig | None) -> tuple[Entry, ...]:
    """Write the weights of an arm, and the loss and network it was trained with, where these are known."""
    written = ", ".join(f"{name} {significant(weight)}" for name, weight in weights.items())
    entries = [Entry("Weights", written)]
    if config is not None:
        options = config.loss.model_dump(mode="json", exclude={"type"})
        loss = ", ".join([config.loss.type, *(f"{key} {_plain(value)}" for key, value in options.items())])
        model, slices = config.model, counted(config.sampling.slices, "slice")
        entries += [
            Entry("Loss", loss),
            Entry("Network", f"{model.name}, width {model.width}, depth {model.depth}, {slices}"),
        ]
    return tuple(entries)


def recommended_recipe(run: Run, verdict: Verdict) -> tuple[Entry, ...]:
    """Write that of the recommended arm; empty if none is."""
    name = verdict.recommendation.arm
    return next((recipe(arm.weights, run.experiment) for arm in run.plan.arms if arm.name == name), ())


def _plain(value: object) -> str:
    return shortest(value) if isinstance(value, float) else str(value)
