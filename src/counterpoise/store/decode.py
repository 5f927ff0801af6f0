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
from counterpoise.store.bars import bars, nearest, outside, part_of, parts_without_raw
from counterpoise.store.files import BlockFile
from counterpoise.store.window import RawWindow
from counterpoise.store.workspace import BarWords, Workspace
from counterpoise.text import percent
from counterpoise.volumes.annotation import ClassCount, LabelMeaning, VoxelCount, largest_of
from counterpoise.volumes.fit import FittedCrop
from counterpoise.volumes.geometry import IndexBox, Shape3
from counterpoise.volumes.labels import CountedLabel, LabelLevel

__all__ = ["CropBlocks", "DecodedCrop", "DecodedRaw", "OnVoxels", "decode_crop", "voxels_of"]

OnVoxels = Callable[[int], object]

_COUNTED_AT_ONCE = 1 << 18
"""Words counted at once: as many as stay in the processor's cache."""
_MOST_ZEROS = 0.5
"""Of the raw under a crop: 0 is black, and more of it than this is padding or a copy that was not finished."""
_SUMMED_WITH_32_BITS = ((1 << 32) - 1) // 255
"""Bytes that can be added up in 32 bits, which takes half the time."""


@dataclass(frozen=True)
class CropBlocks:
    """One crop's place in the array files of a store: raw, and one label word per voxel in each of the others."""

    raw: BlockFile
    present: BlockFile
    unknown: BlockFile


@dataclass(frozen=True)
class DecodedRaw:
    """What became known about a crop's raw.

    Parameters
    ----------
    missing : tuple of IndexBox
        Chunks that are not stored, on the raw level's grid.
    total, voxels : int
        Sum of the 8-bit values, and number, of the voxels that are.
    notes : tuple of Note
        What is odd about the raw under the crop.
    """

    missing: tuple[IndexBox, ...]
    total: int
    voxels: int
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class DecodedCrop:
    """What became known about a crop while it was decoded."""

    counts: Mapping[str, ClassCount]
    known_word: int
    has_unknown: bool
    raw: DecodedRaw
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
    *,
    window: RawWindow | None = None,
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
    window : RawWindow, optional
        What turns raw of more than 8 bits into 8.

    Raises
    ------
    DamagedChunkError
        If a stored chunk cannot be decoded.
    LayoutError
        If a label array holds a value that may be the class or unknown.
    """
    raw = _copy_raw(item, blocks.raw, workspace, on_voxels, window)
    counted: dict[str, CountedLabel] = {}
    for name, label in item.labels.items():
        first = item.crop.labels[name][0]
        if label is not first or label.level.grid != item.grid:
            counted[name] = first.count()
            on_voxels(first.level.whole().voxels)
            settled = counted[name].label
            label = settled if label is first else label.following(settled)  # noqa: PLW2901 - the same one, settled
            item = replace(item, labels={**item.labels, name: label})
    packer = _pack(item, classes, blocks, raw.missing, workspace, on_voxels)
    for name, label in item.labels.items():
        if label.level.grid != item.grid:
            on_voxels(label.level.whole().voxels)
        if name not in counted:
            counted[name] = label.settled() if name in packer.in_doubt else label.compared(packer.counts[name])
    notes = [*item.notes, *raw.notes, *(note for name in item.labels for note in counted[name].notes)]
    if packer.in_doubt:  # rare: only now it is known what these values mean
        item, passed_over = _settle(item, packer.in_doubt, counted)
        notes += passed_over
        packer = _pack(item, classes, blocks, raw.missing, workspace)
    if packer.without_raw:
        share = f"{100.0 * packer.without_raw / math.prod(item.grid.shape):.1f} %"
        text = f"raw level {item.raw.name} is missing under {share} of the crop; those voxels are treated as unknown"
        notes.append(Note(NoteKind.DATA, text, item.crop.crop_id))
    exact = {name: counted[name].count for name in item.labels}
    return DecodedCrop(exact, packer.known_word, packer.has_unknown, raw, tuple(notes))


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
    for bar in bars(IndexBox((0, 0, 0), item.grid.shape), packer.chunks, blocks.present.dtype.itemsize):
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


def _copy_raw(
    item: FittedCrop, file: BlockFile, workspace: Workspace, on_voxels: OnVoxels, window: RawWindow | None
) -> DecodedRaw:
    """Copy the raw block; where no chunk is stored, the store's mean is filled in when all crops are decoded."""
    missing: dict[IndexBox, None] = {}
    table = window.table() if window else None
    under = _Grey(item.raw.grid.covering(item.grid.box))
    total = voxels = 0
    for bar in bars(item.raw_block, item.raw.chunks, file.dtype.itemsize):
        raw = workspace.empty("bar of raw", bar.shape, file.dtype)
        for box, stored in item.raw.decoded_chunks(bar):
            part = box.common(bar)
            place = raw[part.within(bar)]
            if stored is None:
                missing[box] = None
                place[...] = 0
                continue
            values = stored[part.within(box)]
            place[...] = window.apply(values, table) if window and table is not None else values
            under.add(place, part)
            total += int(place.sum(dtype=np.uint32 if part.voxels <= _SUMMED_WITH_32_BITS else np.uint64))
            voxels += part.voxels
        file.write(bar.relative_to(item.raw_block), raw)
        on_voxels(bar.voxels)
    return DecodedRaw(tuple(missing), total, voxels, tuple(under.notes(item.crop.crop_id)))


class _Grey:
    """The grey values under a crop, as far as they tell that nobody looked at them."""

    def __init__(self, block: IndexBox) -> None:
        self._block = block
        self._lowest, self._highest, self._zeros, self._voxels = 255, 0, 0, 0

    def add(self, raw: np.ndarray, box: IndexBox) -> None:
        common = box.common(self._block)
        if common.voxels:
            values = raw[common.within(box)]
            self._lowest, self._highest = min(self._lowest, int(values.min())), max(self._highest, int(values.max()))
            self._zeros += common.voxels - int(np.count_nonzero(values))
            self._voxels += common.voxels

    def notes(self, crop_id: str) -> Iterator[Note]:
        if self._voxels and self._lowest == self._highest:
            text = f"its raw is {self._lowest} everywhere: there is nothing to see, whatever the labels say"
            yield Note(NoteKind.RAW, text, crop_id)
        elif self._zeros > _MOST_ZEROS * self._voxels:
            text = f"{percent(round(self._zeros / self._voxels, 2))} of its raw is stored as 0: was it copied whole?"
            yield Note(NoteKind.RAW, text, crop_id)


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
        self._blank = np.array(list(parts_without_raw(item, missing)), dtype=np.int64).reshape(-1, 2, 3)
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
                voxels = label.filled(shape) if stored is None else stored[z]
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
        index = [nearest(self._item.grid, level.grid, axis) for axis in range(3)]
        for part in outside(part_of(index, level.whole()), self._item.grid.shape):
            common = part.common(bar)  # beyond its own block a class is unknown
            if common.voxels:
                words.unknown[common.within(bar)] |= bit
                self.has_unknown = True
        ends = [(i[a], i[b - 1] + 1) for i, a, b in zip(index, bar.start, bar.stop, strict=True)]
        z, y, x = ((max(int(a), 0), max(int(b), 0)) for a, b in ends)
        needed = IndexBox((z[0], y[0], x[0]), (z[1], y[1], x[1])).common(level.whole())
        for box, stored in level.decoded_chunks(needed):
            part = part_of(index, box).common(bar)
            places = [i[a:b] - s for i, a, b, s in zip(index, part.start, part.stop, box.start, strict=True)]
            voxels = label.filled(box.shape) if stored is None else stored
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


def _same_chunks(item: FittedCrop) -> list[list[str]]:
    """Group the classes that lie on the crop's own grid by the shape of their chunks."""
    groups: dict[tuple[int, int, int], list[str]] = {}
    for name, label in item.labels.items():
        if label.level.grid == item.grid:
            groups.setdefault(label.level.chunks, []).append(name)
    return list(groups.values())
