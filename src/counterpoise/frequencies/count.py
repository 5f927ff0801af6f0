"""Count classes straight from the crops, without a store: one pass over the finest listed levels."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from counterpoise.frequencies.table import CropCount, FrequencyTable
from counterpoise.volumes.crops import CropSet

__all__ = ["count_crops"]


def count_crops(
    crop_set: CropSet, *, workers: int, on_array: Callable[[int], object] = lambda _: None
) -> FrequencyTable:
    """Count every class of every crop exactly, at the finest listed level.

    Parameters
    ----------
    crop_set : CropSet
        Opened crops.
    workers : int
        Arrays decoded at the same time; the decoders release the interpreter lock.
    on_array : callable
        Told the number of voxels after each array (for a progress bar).

    Returns
    -------
    FrequencyTable
        Counts as integers; the same whatever ``workers`` is.

    Raises
    ------
    DamagedChunkError
        If a stored chunk cannot be decoded.
    """
    jobs = [(crop, name, levels[0]) for crop in crop_set.crops for name, levels in crop.labels.items()]

    with ThreadPoolExecutor(max_workers=max(workers, 1)) as pool:
        futures = [(crop.crop_id, name, pool.submit(label.count)) for crop, name, label in jobs]
        results = {}
        try:
            for crop_id, name, future in futures:
                results[crop_id, name] = future.result()
                on_array(sum(results[crop_id, name].voxels))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return FrequencyTable(
        crop_set.classes,
        tuple(
            CropCount(crop.crop_id, crop.split, {name: results[crop.crop_id, name] for name in crop.labels})
            for crop in crop_set.crops
        ),
    )
