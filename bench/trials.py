"""Trials for benchmarks: the configuration that a run would write, without its run folder."""

from __future__ import annotations

from counterpoise.experiment.load import parse_experiment
from counterpoise.experiment.trial import TrialConfig
from counterpoise.store import VoxelStore

__all__ = ["trial_config"]


def trial_config(
    store: VoxelStore,
    *,
    width: int,
    depth: int,
    side: int,
    batch_size: int,
    steps: int,
    precision: str = "float32",
    rotation_degrees: float = 180.0,
) -> TrialConfig:
    """Make a trial of one epoch with uniform weights."""
    experiment = parse_experiment(
        f"""
        [data]
        datasplit = "datasplit.csv"
        classes = {list(store.classes)}
        voxel_size_nm = {list(store.voxel_size_nm)}
        [sampling]
        patch_shape = [{side}, {side}]
        rotation_degrees = {rotation_degrees}
        [model]
        width = {width}
        depth = {depth}
        [training]
        epochs = 1
        steps_per_epoch = {steps}
        batch_size = {batch_size}
        precision = "{precision}"
        """
    )
    tables = ("sampling", "model", "loss", "training", "validation")
    return TrialConfig.model_validate(
        {
            "arm": "bench",
            "seed": 0,
            "classes": store.classes,
            "class_weights": dict.fromkeys(store.classes, 1.0),
            "store": store.path,
            "store_fingerprint": "",
            "tiles_hash": "",
            **{name: getattr(experiment, name).model_dump() for name in tables},
        }
    )
