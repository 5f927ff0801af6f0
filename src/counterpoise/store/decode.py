"""Decode one crop into its place in a store: every chunk once, in bars of bounded size whatever the size of the crop.

A bar is a few layers of chunks, or a few rows of them where a layer is large. The classes of a crop usually lie on one
grid with equal chunks. Their chunks are then decoded in parallel, packed into words in a piece of memory that fits the
processor's cache, and copied into the bar, which goes to its file when it is complete.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from counterpoise.notes import Note, NoteKind
from counterpoise.store.files import BlockFile
from counterpoise.store.workspace import BarWords, Workspace
from counterpoise.volumes.annotation import ClassCount, LabelMeaning, VoxelCount, largest_of
from counterpoise.volumes.fit import FittedCrop
from counterpoise.volumes.geometry import Grid, IndexBox, Shape3
from counterpoise.volumes.labels import CountedLabel, LabelLevel

__all__ = ["CropBlocks", "DecodedCrop", "OnVoxels", "decode_crop", "voxels_of"]

OnVoxels = Callable[[int], object]

_TIE = 1e-6
"""Nearest-neighbour ties (a position exactly between two voxels) go up, whatever the rounding of the division."""
_COUNTED_AT_ONCE = 1 << 18
"""Words counted at once: as many as stay in the processor's cache."""
_BAR_BYTES = 1 << 24
"""Size of a bar, unless a single row of chunks is larger. Larger ones are no faster; in smaller ones fewer crops have
whole layers, which are written, and whose checksums are followed, in one piece."""


@dataclass(frozen=True)
class CropBlocks:
    """One crop's place in the array files of a store: raw, and one label word per voxel in each of the others."""

    raw: BlockFile
    present: BlockFile
    unknown: BlockFile


@dataclass(frozen=True)
class DecodedCrop:
    """What became known about a crop while it was decoded."""

    counts: Mapping[str, ClassCount]
    known_word: int
    has_unknown: bool
    notes: tuple[Note, ...]


def voxels_of(item: FittedCrop) -> int:
    """Add up the voxels that decoding a crop reads: what :func:`decode_crop` reports in the end."""
    total = item.raw_block.voxels
    for name, label in item.labels.items():
        first = item.crop.labels[name][0]
        counted_on_the_way = label is first and label.level.grid == item.grid
        total += label.level.whole().voxels + (0 if counted_on_the_way else first.level.whole().voxels)
    return total


def decode_crop(
    item: FittedCrop,
    classes: Sequence[str],
    blocks: CropBlocks,
    workspace: Workspace,
    on_voxels: OnVoxels = lambda _: None,
) -> DecodedCrop:
    """Write a crop's blocks and count its classes exactly at their finest listed level.

    Parameters
    ----------
    item : FittedCrop
        The crop and its chosen levels.
    classes : sequence of str
        All classes of the store: the position of a name is its bit.
    blocks : CropBlocks
        Where the crop goes.
    workspace : Workspace
        Of this thread.
    on_voxels : callable
        Told how many voxels were decoded since it was told last.

    Raises
    ------
    DamagedChunkError
        If a stored chunk cannot be decoded.
    LayoutError
        If a label array holds a value that may be the class or unknown.
    """
    missing = _copy_raw(item, blocks.raw, workspace, on_voxels)
    counted: dict[str, CountedLabel] = {}
    for name, label in item.labels.items():
        first = item.crop.labels[name][0]
        if label is not first or label.level.grid != item.grid:
            counted[name] = first.count()
            on_voxels(first.level.whole().voxels)
            settled = counted[name].label
            label = settled if label is first else label.following(settled)  # noqa: PLW2901 - the same one, settled
            item = replace(item, labels={**item.labels, name: label})
    packer = _pack(item, classes, blocks, missing, workspace, on_voxels)
    for name, label in item.labels.items():
        if label.level.grid != item.grid:
            on_voxels(label.level.whole().voxels)
        if name not in counted:
            counted[name] = label.settled() if name in packer.in_doubt else label.compared(packer.counts[name])
    notes = [*item.notes, *(note for name in item.labels for note in counted[name].notes)]
    if packer.in_doubt:  # rare: only now is it known what these values mean
        item, passed_over = _settle(item, packer.in_doubt, counted)
        notes += passed_over
        packer = _pack(item, classes, blocks, missing, workspace)
    if packer.without_raw:
        share = f"{100.0 * packer.without_raw / math.prod(item.grid.shape):.1f} %"
        text = f"raw level {item.raw.name} is missing under {share} of the crop; those voxels are treated as unknown"
        notes.append(Note(NoteKind.DATA, text, item.crop.crop_id))
    exact = {name: counted[name].count for name in item.labels}
    return DecodedCrop(exact, packer.known_word, packer.has_unknown, tuple(notes))


def _pack(
    item: FittedCrop,
    classes: Sequence[str],
    blocks: CropBlocks,
    missing: Sequence[IndexBox],
    workspace: Workspace,
    on_voxels: OnVoxels = lambda _: None,
) -> _Packer:
    """Write the label words of a crop; return what became known on the way."""
    packer = _Packer(item, classes, blocks.present.dtype, missing, workspace)
    for bar in _bars(IndexBox((0, 0, 0), item.grid.shape), packer.chunks, blocks.present.dtype.itemsize):
        present, unknown, decoded = packer.pack(bar)
        blocks.present.write(bar, present)
        blocks.unknown.write(bar, unknown)
        on_voxels(decoded)
    return packer


def _settle(
    item: FittedCrop, in_doubt: Iterable[str], counted: Mapping[str, CountedLabel]
) -> tuple[FittedCrop, list[Note]]:
    """Replace the labels whose values were in doubt by what was found to be right.

    A coarser level with values that its finest level does not have was down-sampled smoothly: it is passed over.
    """
    labels, notes = dict(item.labels), []
    for name in sorted(in_doubt):
        finest = counted[name].label
        if labels[name].level.path != finest.level.path:
            text = (
                f"level {labels[name].level.name} of {name} holds values that {finest.level.name} does not, as after "
                f"smooth down-sampling, and is passed over: the nearest voxel of {finest.level.name} counts"
            )
            notes.append(Note(NoteKind.DATA, text, item.crop.crop_id))
        labels[name] = finest
    return replace(item, labels=labels), notes


def _copy_raw(item: FittedCrop, file: BlockFile, workspace: Workspace, on_voxels: OnVoxels) -> list[IndexBox]:
    """Copy the raw block and return the chunks under it that are not on disk."""
    missing: dict[IndexBox, None] = {}
    for bar in _bars(item.raw_block, item.raw.chunks, file.dtype.itemsize):
        voxels = workspace.empty("bar of raw", bar.shape, file.dtype)
        for box, stored in item.raw.decoded_chunks(bar):
            part = box.common(bar)
            if stored is None:
                missing[box] = None
                voxels[part.within(bar)] = item.raw.fill_value
            else:
                voxels[part.within(bar)] = stored[part.within(box)]
        file.write(bar.relative_to(item.raw_block), voxels)
        on_voxels(bar.voxels)
    return list(missing)


class _Packer:
    """Packs the labels of one crop into words, bar by bar, and counts them on the way.

    Parameters
    ----------
    item, classes
        As :func:`decode_crop` takes them.
    dtype : dtype
        Of a word.
    missing : sequence of IndexBox
        Raw chunks that are not on disk: labels there are unknown.
    workspace : Workspace
        Of this thread.
    """

    def __init__(
        self,
        item: FittedCrop,
        classes: Sequence[str],
        dtype: np.dtype[Any],
        missing: Sequence[IndexBox],
        workspace: Workspace,
    ) -> None:
        self._item, self._dtype, self._workspace = item, dtype, workspace
        self._bits = {name: dtype.type(1 << classes.index(name)) for name in item.labels}
        self._groups = _same_chunks(item)
        self._blank = np.array(list(_parts_without_raw(item, missing)), dtype=np.int64).reshape(-1, 2, 3)
        self.known_word = sum(int(bit) for bit in self._bits.values())
        self.counts = {name: VoxelCount(0, 0, 0) for names in self._groups for name in names}
        self.in_doubt: set[str] = set()
        """Classes with a value that nobody declared."""
        self.has_unknown = False
        self.without_raw = 0

    @property
    def chunks(self) -> Shape3:
        """Return the shape of the chunks of the first classes on the crop's own grid, else of the first ones."""
        first = self._groups[0][0] if self._groups else next(iter(self._item.labels))
        return self._item.labels[first].level.chunks

    def pack(self, bar: IndexBox) -> tuple[np.ndarray, np.ndarray | None, int]:
        """Pack one bar: words of presence, words of what is unknown, and how many voxels on the own grid were read.

        The words stay valid until the next bar is packed; None stands for words in which nothing is unknown.
        """
        words = BarWords(bar.shape, self._dtype, self._workspace)
        if not self._groups:
            words.present[...] = 0
        for first, names in enumerate(self._groups):
            touched = self._copy(names, bar, words, is_first=first == 0)
            for name in names:
                found = self._count(words.present, name) if (name, "present") in touched else 0
                not_known = self._count(words.unknown, name) if (name, "unknown") in touched else 0
                self.counts[name] += VoxelCount(found, bar.voxels - found - not_known, not_known)
                self.has_unknown |= not_known > 0
        for name, label in self._item.labels.items():
            if label.level.grid != self._item.grid:
                self._resample(name, label, bar, words)
        for common in self._blank_parts(bar):
            words.unknown[common.within(bar)] = self.known_word
            words.present[common.within(bar)] = 0
            self.without_raw += common.voxels
        self.has_unknown |= self.without_raw > 0
        return words.present, words.unknown if words.has_unknown else None, bar.voxels * sum(map(len, self._groups))

    def _copy(self, names: Sequence[str], bar: IndexBox, words: BarWords, *, is_first: bool) -> set[tuple[str, str]]:
        """Add classes stored in equal chunks on the crop's own grid; say whose bits may be set in which words."""
        labels = [self._item.labels[name] for name in names]
        touched: set[tuple[str, str]] = set()
        for parts in zip(*(label.level.decoded_chunks(bar, as_stored=True) for label in labels), strict=True):
            box = parts[0][0]
            part = box.common(bar)
            place, (z, y, x) = part.within(bar), part.within(box)
            shape = (part.shape[0], *labels[0].level.chunks[1:])
            packed = BarWords(shape, self._dtype, self._workspace, "chunk")
            packed.present[...] = 0
            for name, label, (_, stored) in zip(names, labels, parts, strict=True):
                if stored is None and not label.level.fill_value and label.meaning.zero_is_absent:
                    continue  # every voxel is absent, as the words say already
                # Packed as wide as it is stored: rows without gaps are packed several times faster than parts of rows.
                voxels = _filled(label, shape) if stored is None else stored[z]
                kinds = self._add(voxels, name, packed, np.s_[:])
                touched |= {(name, kind) for kind in kinds}
            if is_first:
                words.present[place] = packed.present[:, y, x]
            else:
                words.present[place] |= packed.present[:, y, x]
            if packed.has_unknown:
                words.unknown[place] |= packed.unknown[:, y, x]
        return touched

    def _blank_parts(self, bar: IndexBox) -> Iterator[IndexBox]:
        """Find the parts of a bar without raw; a large volume of which little was fetched has many."""
        starts, stops = self._blank[:, 0], self._blank[:, 1]
        for start, stop in self._blank[((starts < bar.stop) & (stops > bar.start)).all(axis=1)].tolist():
            yield IndexBox(tuple(start), tuple(stop)).common(bar)

    def _count(self, words: np.ndarray, name: str) -> int:
        """Count the words with a class's bit."""
        flat, bit, total = words.reshape(-1), self._bits[name], 0
        for start in range(0, flat.size, _COUNTED_AT_ONCE):
            piece = flat[start : start + _COUNTED_AT_ONCE]
            masked = self._workspace.empty("masked", piece.shape, self._dtype)
            total += int(np.count_nonzero(np.bitwise_and(piece, bit, out=masked)))
        return total

    def _resample(self, name: str, label: LabelLevel, bar: IndexBox, words: BarWords) -> None:
        """Add a class stored on another grid than its crop's: the nearest voxel's value counts."""
        level, bit = label.level, self._bits[name]
        index = [_nearest(self._item.grid, level.grid, axis) for axis in range(3)]
        for part in _outside(_part_of(index, level.whole()), self._item.grid.shape):
            common = part.common(bar)  # beyond its own block a class is unknown
            if common.voxels:
                words.unknown[common.within(bar)] |= bit
                self.has_unknown = True
        ends = [(i[a], i[b - 1] + 1) for i, a, b in zip(index, bar.start, bar.stop, strict=True)]
        z, y, x = ((max(int(a), 0), max(int(b), 0)) for a, b in ends)
        needed = IndexBox((z[0], y[0], x[0]), (z[1], y[1], x[1])).common(level.whole())
        for box, stored in level.decoded_chunks(needed):
            part = _part_of(index, box).common(bar)
            places = [i[a:b] - s for i, a, b, s in zip(index, part.start, part.stop, box.start, strict=True)]
            voxels = _filled(label, box.shape) if stored is None else stored
            place = part.within(bar)
            if "unknown" in self._add(voxels[np.ix_(*places)], name, words, place):
                self.has_unknown |= bool(np.any(words.unknown[place] & bit))

    def _add(
        self, voxels: np.ndarray, name: str, words: BarWords, place: slice | tuple[slice, slice, slice]
    ) -> tuple[str, ...]:
        """Set one class's bit in words; say which of "present" and "unknown" may have been touched."""
        meaning: LabelMeaning = self._item.labels[name].meaning
        largest = largest_of(voxels)
        if largest == 0 and meaning.zero_is_absent:
            return ()
        bit, added = self._bits[name], self._workspace.empty("added", voxels.shape, self._dtype)
        if largest == 1 and meaning.one_is_present and voxels.dtype == np.uint8:
            present, unknown = voxels, None
        else:
            if name not in self.in_doubt and meaning.is_in_doubt(voxels, largest):
                self.in_doubt.add(name)
            present, unknown = meaning.masks(voxels, largest)
        np.multiply(present, bit, out=added, casting="unsafe")
        words.present[place] |= added
        if unknown is None:
            return ("present",)
        np.multiply(unknown, bit, out=added, casting="unsafe")
        words.unknown[place] |= added
        return ("present", "unknown")


def _filled(label: LabelLevel, shape: Shape3) -> np.ndarray:
    return np.full(shape, label.level.fill_value, label.level.dtype)


def _bars(block: IndexBox, chunks: Shape3, item_bytes: int) -> Iterator[IndexBox]:
    """Cut a block at borders of chunks into bars: whole layers, or rows of chunks where a layer is too large."""
    room = _BAR_BYTES // item_bytes
    _, height, width = block.shape
    layers = max(room // max(chunks[0] * height * width, 1), 1) * chunks[0]
    rows = max(room // max(chunks[0] * chunks[1] * width, 1), 1) * chunks[1]
    if layers * height * width <= room:
        rows = block.stop[1]  # a whole layer
    for z, z_end in _cuts(block.start[0], block.stop[0], layers):
        for y, y_end in _cuts(block.start[1], block.stop[1], rows):
            yield IndexBox((z, y, block.start[2]), (z_end, y_end, block.stop[2]))


def _cuts(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut a range at multiples of a step."""
    while start < stop:
        end = min((start // step + 1) * step, stop)
        yield start, end
        start = end


def _same_chunks(item: FittedCrop) -> list[list[str]]:
    """Group the classes that lie on the crop's own grid by the shape of their chunks."""
    groups: dict[tuple[int, int, int], list[str]] = {}
    for name, label in item.labels.items():
        if label.level.grid == item.grid:
            groups.setdefault(label.level.chunks, []).append(name)
    return list(groups.values())


def _parts_without_raw(item: FittedCrop, missing: Sequence[IndexBox]) -> Iterator[IndexBox]:
    """Find the label voxels that lie outside the raw volume, or in one of its chunks that is not on disk."""
    index = [_nearest(item.grid, item.raw.grid, axis) for axis in range(3)]
    yield from _outside(_part_of(index, item.raw.whole()), item.grid.shape)
    for box in missing:
        part = _part_of(index, box)
        if part.voxels:
            yield part


def _part_of(index: Sequence[np.ndarray], box: IndexBox) -> IndexBox:
    """Find the voxels whose nearest voxels on another grid lie in a box of that grid; indices ascend."""
    start = [int(np.searchsorted(i, a)) for i, a in zip(index, box.start, strict=True)]
    stop = [int(np.searchsorted(i, b)) for i, b in zip(index, box.stop, strict=True)]
    return IndexBox((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def _outside(inner: IndexBox, shape: Shape3) -> Iterator[IndexBox]:
    """Cut what lies around a box into boxes that do not meet."""
    start, stop = [0, 0, 0], list(shape)
    for axis in range(3):
        for a, b in ((0, inner.start[axis]), (inner.stop[axis], shape[axis])):
            first, last = list(start), list(stop)
            first[axis], last[axis] = a, b
            part = IndexBox((first[0], first[1], first[2]), (last[0], last[1], last[2]))
            if part.voxels:
                yield part
        start[axis], stop[axis] = inner.start[axis], inner.stop[axis]


def _nearest(grid: Grid, other: Grid, axis: int) -> np.ndarray:
    """Find, for every index of one grid's axis, the nearest index of another grid."""
    centres = grid.translation_nm[axis] + np.arange(grid.shape[axis]) * grid.voxel_size_nm[axis]
    index = (centres - other.translation_nm[axis]) / other.voxel_size_nm[axis]
    nearest: np.ndarray = np.floor(index + 0.5 + _TIE).astype(np.int64)
    return nearest
