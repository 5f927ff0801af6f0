"""What only all crops together show: classes that lack crops, crops that overlap or are copies, inverted contrast."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, median

import numpy as np

from counterpoise.inspection.copies import find_copies
from counterpoise.inspection.facts import ClassState, CropFacts, Overlap
from counterpoise.inspection.problems import Problem, ProblemCode
from counterpoise.inspection.shift import CLEAR_CONTRAST
from counterpoise.text import percent, shortest
from counterpoise.volumes.overlap import NEAR_NM, CropPair, find_pairs

__all__ = ["class_problems", "compare_crops"]

_SIDES = {"train": ProblemCode.NEVER_POSITIVE_TRAIN, "validate": ProblemCode.NEVER_POSITIVE_VALIDATE}


def compare_crops(crops: Sequence[CropFacts], *, has_splits: bool) -> tuple[list[CropFacts], list[Problem]]:
    """Compare crops with each other; return them with their overlaps, and the problems that this shows."""
    pairs = find_pairs([entry.crop for entry in crops if entry.crop is not None], gap_nm=NEAR_NM if has_splits else 0.0)
    overlaps: dict[str, list[Overlap]] = defaultdict(list)
    usage = {entry.crop_id: entry.usage for entry in crops}
    for pair in pairs:
        if pair.shared is not None:
            one, two = pair.first.crop_id, pair.second.crop_id
            overlaps[two].append(Overlap(one, usage[one], pair.share))
            overlaps[one].append(Overlap(two, usage[two], _share_of_first(pair)))
    problems = [
        *(_of_overlap(pair, has_splits=has_splits) for pair in pairs if pair.shared is not None),
        *_near(pairs),
        *_copies(crops, has_splits=has_splits),
        *_inverted(crops),
    ]
    return [replace(entry, overlaps=tuple(overlaps[entry.crop_id])) for entry in crops], problems


def _share_of_first(pair: CropPair) -> float:
    assert pair.shared is not None  # noqa: S101 - asked of overlapping crops only
    common = float(np.prod(pair.shared.size_nm))
    block = max(float(np.prod(levels[0].level.grid.box.size_nm)) for levels in pair.first.labels.values())
    return min(common / block, 1.0)


def _near(pairs: Sequence[CropPair]) -> Iterator[Problem]:
    """Name every validation crop once, with the train crop that is nearest."""
    by_crop: dict[str, list[CropPair]] = defaultdict(list)
    for pair in sorted((pair for pair in pairs if pair.shared is None), key=lambda pair: pair.gap_nm):
        by_crop[pair.second.crop_id].append(pair)
    for crop_id, near in by_crop.items():
        more = f" ({len(near) - 1} more within {shortest(NEAR_NM)} nm)" if near[1:] else ""
        gap_nm = near[0].gap_nm + 0.0  # no -0
        text = f"{shortest(gap_nm)} nm from train crop {near[0].first.crop_id}{more}"
        details = {"gap_nm": gap_nm, "near": [pair.first.crop_id for pair in near]}
        yield Problem(ProblemCode.NEAR_TRAIN_VALIDATE, text, (crop_id,), details=details)


def _of_overlap(pair: CropPair, *, has_splits: bool) -> Problem:
    one, two = pair.first, pair.second
    crops = (two.crop_id, one.crop_id)
    share, details = percent(round(pair.share, 3)), {"share": pair.share}
    if pair.is_leak:
        text = (
            f"{share} of this validation crop lies in train crop {one.crop_id}: put both on one side, or leave one out"
        )
        return Problem(ProblemCode.OVERLAP_TRAIN_VALIDATE, text, crops, details=details)
    side = f" ({one.split})" if has_splits else ""
    text = f"{share} of it lies in {one.crop_id} of the same side{side}: these voxels count twice"
    if not has_splits:
        text = f"{share} of it lies in {one.crop_id}: keep both on one side"
    return Problem(ProblemCode.OVERLAP_SAME_SIDE, text, crops, details=details)


def _copies(crops: Sequence[CropFacts], *, has_splits: bool) -> Iterator[Problem]:
    for copy in find_copies([entry.windows for entry in crops], [entry.volume for entry in crops]):
        one, two = crops[copy.first], crops[copy.second]
        text = (
            f"about {percent(round(copy.share, 2))} of the raw under it is also under {one.crop_id}, in another volume"
        )
        if has_splits and one.usage != two.usage:
            text += ": what is trained on is scored; put both on one side, or leave one out"
        details = {"share": copy.share, "across_splits": has_splits and one.usage != two.usage}
        yield Problem(ProblemCode.DUPLICATE_RAW, text, (two.crop_id, one.crop_id), details=details)


def _inverted(crops: Sequence[CropFacts]) -> Iterator[Problem]:
    """Compare the mean contrast of a class in every raw volume with the median of all volumes."""
    by_class: dict[str, dict[object, list[tuple[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for entry in crops:
        for name, found in entry.classes.items():
            if found.contrast is not None:
                by_class[name][entry.volume].append((entry.crop_id, found.contrast))
    for name, volumes in by_class.items():
        means = {volume: fmean(value for _, value in entries) for volume, entries in volumes.items()}
        usual = _usual(means, volumes)
        for volume, mean in means.items():
            if abs(mean) > CLEAR_CONTRAST and mean * usual < 0:
                shades = ("brighter", "darker") if mean > 0 else ("darker", "brighter")
                names = tuple(crop for crop, _ in volumes[volume])
                where = f"all {len(names)} crops of this raw volume" if names[1:] else "this crop"
                text = (
                    f"in {where} {shades[0]} than its surroundings (contrast {mean:+.2f}), in the other data sets "
                    f"{shades[1]} ({usual:+.2f}): the grey values of one are inverted"
                )
                yield Problem(ProblemCode.INVERTED_CONTRAST, text, names, name, {"raw": str(volume), "contrast": mean})


def _usual(means: Mapping[object, float], volumes: Mapping[object, Sequence[object]]) -> float:
    """Return the median of all volumes; of two, the mean of the one with more crops (of the first, if they tie)."""
    if len(means) == 2:  # noqa: PLR2004 - their median lies between, and has the sign of neither
        return means[max(volumes, key=lambda volume: len(volumes[volume]))]
    return median(means.values())


def class_problems(
    classes: Sequence[str], states: Mapping[str, Sequence[tuple[str | None, ClassState]]]
) -> Iterator[Problem]:
    """Say which classes lack crops.

    Parameters
    ----------
    classes : sequence of str
        Those asked for.
    states : mapping
        Of each class, side and state in every crop.
    """
    for name in classes:
        there = [(side, state) for side, state in states.get(name, ()) if state is not ClassState.UNANNOTATED]
        positive = [side for side, state in there if state is ClassState.PRESENT]
        if not there:
            yield Problem(ProblemCode.NEVER_ANNOTATED, "annotated in no crop", (), name)
        elif not positive and all(state is ClassState.EMPTY for _, state in there):
            yield Problem(ProblemCode.EMPTY_CLASS, f"annotated in {len(there)} crops and present in none", (), name)
        elif None in positive:
            if len(positive) == 1:
                yield Problem(
                    ProblemCode.ONE_CROP, "present in one crop only: it cannot be both trained and scored", (), name
                )
        else:
            yield from _by_side(name, positive)


def _by_side(name: str, positive: Sequence[str | None]) -> Iterator[Problem]:
    for side, code in _SIDES.items():
        kind = "train" if side == "train" else "validation"
        if not positive.count(side):
            yield Problem(code, f"present in no {kind} crop", (), name)
        elif positive.count(side) == 1:
            yield Problem(ProblemCode.ONE_CROP, f"present in one {kind} crop only", (), name, {"usage": side})
