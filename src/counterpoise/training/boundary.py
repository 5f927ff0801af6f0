"""Count boundaries and skeletons on the fixed validation tiles (docs/scores.md): once, after the last epoch."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.experiment.trial import TrialConfig
from counterpoise.metrics.boundary import PARTS, count_boundaries, default_tolerance_nm, reach
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.npz import BoundaryCounts
from counterpoise.sampling.sampler import Sampler
from counterpoise.sampling.tiles import TileList
from counterpoise.training.counting import predicted_words
from counterpoise.training.device import Device
from counterpoise.training.micro_batches import MicroBatches
from counterpoise.training.validation import in_parts

__all__ = ["leave_boundaries", "score_boundaries"]


def leave_boundaries(
    folder: TrialFolder, model: nn.Module, sampler: Sampler, tiles: TileList, config: TrialConfig, device: Device
) -> str | None:
    """Write what :func:`score_boundaries` counts into a trial's folder, if it is asked for and not there yet.

    Returns
    -------
    str or None
        What was done; None if there was nothing to do.
    """
    asked, began = config.validation, time.perf_counter()
    if not asked.boundary or BoundaryCounts.is_whole(folder.boundaries):
        return None
    size, tolerance = config.training.batch_size, asked.tolerance_nm
    found = score_boundaries(model, sampler, tiles, config.classes, device, batch_size=size, tolerance_nm=tolerance)
    found.write(folder.boundaries)
    return (
        f"Counted boundaries (within {found.tolerance_nm:g} nm) and centre lines in {time.perf_counter() - began:.1f} s"
    )


@torch.no_grad()
def score_boundaries(
    model: nn.Module,
    sampler: Sampler,
    tiles: TileList,
    classes: tuple[str, ...],
    device: Device,
    *,
    batch_size: int,
    tolerance_nm: float | None = None,
) -> BoundaryCounts:
    """Predict every tile once more and count boundary and skeleton voxels, per crop and class.

    A boundary needs its neighbours: all of a tile is looked at, and what lies where the tile counts is counted.

    Parameters
    ----------
    model : nn.Module
        Network; put into evaluation mode and left there.
    sampler : Sampler
        Of the validation split.
    tiles : TileList
        The fixed list.
    classes : tuple of str
        In the order of the network's outputs.
    device : Device
        Where and how precisely to predict; counting is the CPU's, with as many threads as torch has there.
    batch_size : int
        Tiles at a time.
    tolerance_nm : float, optional
        How far two boundaries may be apart and count as one; one voxel if left out.

    Returns
    -------
    BoundaryCounts
        Exact integers: the same whatever the batch size and the number of threads.
    """
    model.eval()
    voxel_nm = sampler.plan.voxel_size_nm[1:]
    tolerance = default_tolerance_nm(voxel_nm) if tolerance_nm is None else tolerance_nm
    count = partial(count_boundaries, offsets=reach(tolerance, voxel_nm), classes=len(classes))

    def predict(images: Tensor, present: Tensor, _known: Tensor) -> Tensor:
        with device.autocast():
            logits = model(device.images(images))
        return predicted_words(logits, present.dtype).cpu()

    whole = replace(tiles.patches, counted=None)
    counts = np.zeros((len(tiles.crops), len(classes), 2, PARTS), np.int64)
    parts = MicroBatches(batch_size)
    done = 0
    with ThreadPoolExecutor(torch.get_num_threads(), thread_name_prefix="boundary") as pool:
        for batch in sampler.batches(whole, batch_size):
            predicted = torch.cat(list(in_parts(predict, batch, parts, sampler, device))).numpy()
            own = tiles.counted[done : done + len(predicted)]
            words = (predicted, batch.present.cpu().numpy(), batch.known.cpu().numpy(), own)
            for crop, found in zip(batch.crops.tolist(), pool.map(count, *words), strict=True):
                counts[crop] += found
            done += len(predicted)
    return BoundaryCounts(tiles.crops, classes, counts[:, :, 0], counts[:, :, 1], np.array(tolerance))
