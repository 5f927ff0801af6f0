"""A synthetic EM volume with exactly known labels, written as `csc fetch-data` would leave it.

`cells` says where the membranes are; this module images them, cuts out crops and writes them. It is there so that
the demo and the tests need no data and no network.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from counterpoise.phantom.cells import (
    ATOMIC_IDS,
    MEMBRANE_NM,
    NUCLEAR_ENVELOPE_NM,
    Anatomy,
    Scene,
    grow,
)
from counterpoise.phantom.space import Field, Shape, SmoothNoise, SpaceGrid
from counterpoise.volumes.datasplit import Split, write_datasplit
from counterpoise.writing.cellmap import UNKNOWN, LabelVolume, create_raw, write_crop, write_raw_block
from counterpoise.writing.levels import MultiscaleGeometry, downsample_mode

__all__ = ["PHANTOM_CLASSES", "PhantomSize", "write_phantom"]

PHANTOM_CLASSES = ("nuc", "mito_mem", "er_mem", "pm", "golgi_mem")
"""The classes that the datasplit asks for; the crops also hold the groups around them."""

PhantomSize = Literal["default", "small"]

Image = npt.NDArray[np.uint8]

_NUCLEUS = ("ne_mem", "ne_lum", "nucpl", "nucleo")
# Which atomic classes make up a class, as in CellMap's classes.csv (where er includes the nuclear envelope).
_CONTENT: dict[str, tuple[str, ...]] = {
    "nuc": _NUCLEUS,
    "mito_mem": ("mito_mem",),
    "er_mem": ("er_mem",),
    "pm": ("pm",),
    "golgi_mem": ("golgi_mem",),
    "mito": ("mito_mem", "mito_lum"),
    "er": ("er_mem", "er_lum", "ne_mem", "ne_lum"),
    "cell": tuple(name for name in ATOMIC_IDS if name != "ecs"),
    "ecs": ("ecs",),
}

_RAW_PATH = "recon-1/em/fibsem-uint8"


@dataclass(frozen=True)
class _Look:
    """How a microscope shows a dataset: mean, spread and noise (standard deviation) of grey from 0 to 1."""

    brightness: float
    contrast: float
    noise: float


@dataclass(frozen=True)
class _Dataset:
    """One synthetic dataset. Labels have voxels of half the size of the grid on which anatomy is computed."""

    name: str
    grid_nm: tuple[float, float, float]
    raw_per_grid: int  # 1: raw voxels are twice the labels'; 2: the same
    chunk: Shape  # of raw voxels; also the grid on which the imaged boxes lie
    look: _Look


@dataclass(frozen=True)
class _Crop:
    """Plan of one crop; `box` (the imaged part) and `shape` (the annotated part) count voxels of the grid."""

    number: int
    split: Literal["train", "validate"]
    box: Shape
    shape: Shape
    scene: Scene
    not_annotated: tuple[str, ...] = ()
    unknown_in: str | None = None
    finest: int = 0  # level from which on labels are stored
    levels: int = 3  # of labels, counted from 0

    def start(self) -> Shape:
        """Return the first annotated voxel of the box."""
        z, y, x = ((outer - inner) // 2 for outer, inner in zip(self.box, self.shape, strict=True))
        return (z, y, x)

    def stop(self) -> Shape:
        """Return the voxel of the box after the last annotated one."""
        z, y, x = (first + length for first, length in zip(self.start(), self.shape, strict=True))
        return (z, y, x)


_PLAN: tuple[tuple[_Dataset, tuple[_Crop, ...]], ...] = (
    (
        _Dataset("phantom-1", (16.0, 16.0, 16.0), 1, (48, 64, 64), _Look(0.60, 0.84, 0.050)),
        (
            _Crop(1, "train", (48, 160, 160), (32, 128, 128), Scene(700, (4, 190), 0.10)),
            _Crop(2, "train", (48, 128, 128), (36, 92, 92), Scene(720, (4, 140), 0.10)),
            _Crop(3, "train", (48, 96, 96), (36, 68, 68), Scene(680, (0, 0), 0.11), ("golgi_mem",)),
            _Crop(4, "train", (48, 96, 128), (32, 72, 88), Scene(700, (3, 140), 0.09), unknown_in="er_mem"),
            _Crop(5, "validate", (48, 128, 128), (34, 92, 92), Scene(720, (4, 140), 0.10)),
            _Crop(6, "validate", (48, 128, 128), (32, 96, 88), Scene(740, (4, 135), 0.11)),
            _Crop(7, "train", (48, 96, 96), (32, 72, 72), Scene(700, (3, 140), 0.10), finest=1),
            _Crop(8, "train", (96, 96, 96), (48, 48, 48), Scene(680, (0, 0), 0.12)),
        ),
    ),
    (
        _Dataset("phantom-2", (16.0, 16.0, 16.0), 2, (32, 64, 64), _Look(0.52, 0.76, 0.090)),
        (
            _Crop(9, "train", (48, 96, 96), (32, 72, 72), Scene(760, (3, 130), 0.09)),
            _Crop(10, "train", (32, 80, 80), (22, 60, 56), Scene(720, (0, 0), 0.09), ("er_mem", "er")),
            _Crop(11, "validate", (48, 96, 96), (32, 72, 72), Scene(740, (3, 130), 0.09)),
            _Crop(12, "validate", (32, 80, 80), (24, 56, 60), Scene(760, (0, 0), 0.10), ("ecs",)),
        ),
    ),
    (
        _Dataset("phantom-3", (20.96, 16.0, 16.0), 2, (32, 64, 64), _Look(0.56, 0.90, 0.060)),
        (
            _Crop(13, "train", (32, 96, 96), (20, 72, 72), Scene(700, (3, 130), 0.10)),
            _Crop(14, "train", (32, 96, 96), (22, 74, 68), Scene(800, (3, 130), 0.11), ("nuc",)),
            _Crop(15, "validate", (32, 96, 96), (20, 72, 72), Scene(700, (3, 130), 0.10)),
        ),
    ),
)

_MORE_VALIDATION: Mapping[str, tuple[_Crop, ...]] = {
    name: tuple(
        _Crop(number, "validate", (32, 80, 80), (22, 64, 64), Scene(shift, (4, 120), 0.10)) for number, shift in crops
    )
    for name, crops in {
        "phantom-1": ((16, 700), (17, 720), (18, 690), (19, 710)),
        "phantom-2": ((20, 700), (21, 720), (22, 690)),
        "phantom-3": ((23, 700), (24, 720)),
    }.items()
}
"""Small crops that the default size has besides: a verdict about new crops takes more than five."""


def write_phantom(folder: Path, *, seed: int = 0, size: PhantomSize = "default") -> Path:
    """Write three synthetic datasets in the CellMap layout, and a datasplit of their crops.

    The datasets differ as real ones do: labels at half the raw voxel (8 of 16 nm), at the same voxel (8 nm),
    and anisotropic (10.48, 8, 8) nm; crops of many sizes; classes that a crop does not annotate, or annotates
    and does not contain; a block of unknown voxels; raw image only around the crops. The same seed gives the
    same files.

    Parameters
    ----------
    folder : Path
        Where to write; created if missing. Must not hold a phantom yet.
    seed : int
        Of everything that is left to chance.
    size : {"default", "small"}
        `small` has the first fifteen crops of 24 with about a fifth of the voxels, for tests: too little to train
        with.

    Returns
    -------
    Path
        The `datasplit.csv`; written last, so that its presence means that all is complete.

    Raises
    ------
    ValueError
        If the size is unknown, the seed negative, or one of the files to write exists.
    """
    if size not in ("default", "small"):
        raise ValueError(f"size of the phantom must be 'default' or 'small', found {size!r}")
    if seed < 0:
        raise ValueError(f"seed of the phantom must not be negative, found {seed}")
    table = folder / "datasplit.csv"
    existing = [path for path in (table, *(folder / dataset.name for dataset, _ in _PLAN)) if path.exists()]
    if existing:
        raise ValueError(f"{existing[0]} exists; remove it or name another folder for the phantom")
    rng = np.random.default_rng(seed)
    rows = []
    for (dataset, crops), dataset_rng in zip(_PLAN, rng.spawn(len(_PLAN)), strict=True):
        planned = tuple(map(_thinned, crops)) if size == "small" else (*crops, *_MORE_VALIDATION[dataset.name])
        store = folder / dataset.name / f"{dataset.name}.zarr"
        _write_dataset(store, dataset, planned, dataset_rng)
        rows += [_datasplit_row(store.relative_to(folder).as_posix(), crop) for crop in planned]
    temporary = table.with_suffix(".partial")
    write_datasplit(temporary, rows)
    temporary.replace(table)
    return table


def _thinned(crop: _Crop) -> _Crop:
    """Keep a third of the sections and three quarters of the other edges, with a smaller Golgi stack."""
    (deep, high, wide), (depth, height, width) = crop.box, crop.shape
    count, disk = crop.scene.golgi
    scene = replace(crop.scene, golgi=(min(count, 3), 0.7 * disk))
    box = (deep // 6 * 2, high // 8 * 6, wide // 8 * 6)
    shape = (depth // 6 * 2, height // 8 * 6, width // 8 * 6)
    return replace(crop, box=box, shape=shape, scene=scene, levels=2)


def _datasplit_row(store: str, crop: _Crop) -> tuple[Split, str, str, str, str, list[str]]:
    classes = [name for name in PHANTOM_CLASSES if name not in crop.not_annotated]
    return crop.split, store, _RAW_PATH, store, _crop_path(crop), classes


def _crop_path(crop: _Crop) -> str:
    return f"recon-1/labels/groundtruth/crop{crop.number}"


def _write_dataset(store: Path, dataset: _Dataset, crops: Sequence[_Crop], rng: np.random.Generator) -> None:
    z, y, x = (size / dataset.raw_per_grid for size in dataset.grid_nm)
    raw_geometry = MultiscaleGeometry((z, y, x))
    camera = _Camera.focus((z, y, x), dataset.look, rng)
    places = list(_places(dataset, crops))
    ends = [np.add(place, np.multiply(crop.box, dataset.raw_per_grid)) for place, crop in places]
    depth, height, width = (int(end) + 40 for end in np.max(ends, axis=0))
    raw = create_raw(store, _RAW_PATH, (depth, height, width), raw_geometry, chunk=dataset.chunk)
    for (place, crop), crop_rng in zip(places, rng.spawn(len(crops)), strict=True):
        grid, crop_grid = _grids(dataset, place, crop)
        anatomy = grow(crop_rng, grid, crop_grid, crop.scene)
        refine = dataset.raw_per_grid > 1
        photo = _photograph(crop_rng, anatomy, camera, refine=refine)
        write_raw_block(raw, place, photo, raw_geometry)
        _write_labels(store, crop, anatomy)


def _places(dataset: _Dataset, crops: Sequence[_Crop]) -> Iterator[tuple[Shape, _Crop]]:
    """Give each box its own place in the raw volume (first raw voxel), a chunk or more from the others."""
    deep, high, wide = dataset.chunk
    left = 2 * wide
    for index, crop in enumerate(crops):
        yield (deep * (1 + index % 2), high * (1 + index % 3), left), crop
        left += wide * (2 + -(-crop.box[2] * dataset.raw_per_grid // wide))


def _grids(dataset: _Dataset, place: Shape, crop: _Crop) -> tuple[SpaceGrid, SpaceGrid]:
    """Return the grid on which the anatomy of a box is computed, and the part of it that is annotated.

    The centre of raw voxel 0 is the origin of the world; `place` is the first raw voxel of the box.
    """
    per = dataset.raw_per_grid
    places = zip(place, dataset.grid_nm, strict=True)
    z, y, x = ((first + (per - 1) / 2) * size / per for first, size in places)
    grid = SpaceGrid(crop.box, dataset.grid_nm, (z, y, x))
    return grid, grid.cut(crop.start(), crop.stop())


def _write_labels(store: Path, crop: _Crop, anatomy: Anatomy) -> None:
    slabs = list(map(_annotate, anatomy.sections(crop.start(), crop.stop(), refine=True)))
    ids, cell_id, mito_id = (np.concatenate(parts) for parts in zip(*slabs, strict=True))
    objects = {"nuc": cell_id, "cell": cell_id, "mito": mito_id}
    names = [name for name in _CONTENT if name not in crop.not_annotated]
    labels = {name: _label(name, ids, objects.get(name)) for name in names}
    hidden = [ATOMIC_IDS[name] for name in crop.not_annotated if name in ATOMIC_IDS]
    hidden += [ATOMIC_IDS[part] for part in _NUCLEUS if "nuc" in crop.not_annotated]
    ids[np.isin(ids, hidden)] = 0
    if crop.unknown_in is not None:
        labels[crop.unknown_in].values[_some_block(ids.shape)] = UNKNOWN
    grid = anatomy.grid.cut(crop.start(), crop.stop()).refined()
    geometry = MultiscaleGeometry(grid.voxel_size_nm, grid.translation_nm, crop.levels)
    for _ in range(crop.finest):
        coarse = {name: downsample_mode(volume.values) for name, volume in labels.items()}
        labels = {name: replace(labels[name], values=values) for name, values in coarse.items()}
        ids = downsample_mode(ids).astype(np.uint8)
        geometry = geometry.coarser()
    write_crop(store, _crop_path(crop), labels, geometry, all_ids=ids)


def _annotate(anatomy: Anatomy) -> tuple[Image, Image, Image]:
    return anatomy.atomic_ids(), anatomy.cell_id, anatomy.mito_id


def _label(name: str, ids: Image, objects: Image | None) -> LabelVolume:
    parts = {ATOMIC_IDS[part]: 1 for part in _CONTENT[name]}
    present = _translate(ids, parts)
    if objects is None:
        return LabelVolume(present)
    object_ids = present * objects
    is_there = np.zeros(256, bool)
    is_there[object_ids.ravel()] = True
    # Objects that are not in this crop leave no gap: ids run from 1 to their number.
    consecutive = {int(old): new for new, old in enumerate(np.flatnonzero(is_there[1:]) + 1, start=1)}
    return LabelVolume(_translate(object_ids, consecutive), is_instance=True)


def _translate(ids: Image, new_ids: Mapping[int, int]) -> Image:
    """Replace ids; those without a new one become 0. Bytes translate several times faster than by index."""
    table = bytes(new_ids.get(old, 0) for old in range(256))
    return np.frombuffer(bytearray(ids.tobytes().translate(table)), np.uint8).reshape(ids.shape)


def _some_block(shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(length // 3, length // 3 + length // 4) for length in shape)


@dataclass(frozen=True)
class _Camera:
    """What images of one dataset have in common: its look and two periodic textures of unit variance."""

    look: _Look
    granules: Field
    chromatin: Field

    @classmethod
    def focus(cls, voxel_nm: tuple[float, float, float], look: _Look, rng: np.random.Generator) -> "_Camera":
        return cls(look, _texture(rng, voxel_nm, 11.0), _texture(rng, voxel_nm, 34.0))


def _texture(rng: np.random.Generator, voxel_nm: tuple[float, float, float], grain_nm: float) -> Field:
    """Return a block of smoothed noise that continues from each face to the opposite one."""
    white = rng.standard_normal((64, 96, 96), dtype=np.float32)
    smooth = ndimage.gaussian_filter(white, [grain_nm / size for size in voxel_nm], mode="wrap", truncate=2.5)
    return np.asarray(smooth / smooth.std(), np.float32)


def _tile(texture: Field, first: npt.NDArray[np.int64], shape: Shape) -> Field:
    """Repeat a periodic texture over a volume that begins at voxel `first` of it."""
    index = (np.arange(count) + start for count, start in zip(shape, first, strict=True))
    z, y, x = (line % period for line, period in zip(index, texture.shape, strict=True))
    return texture[np.ix_(z, y, x)]


def _photograph(rng: np.random.Generator, anatomy: Anatomy, camera: _Camera, *, refine: bool) -> Image:
    """Draw the anatomy in grey: compartments with soft edges, then light, shot noise and the detector."""
    grid, look = anatomy.grid, camera.look
    offsets = rng.integers(0, 96, (2, 3))
    cloud, light = SmoothNoise.over(rng, grid, 240), SmoothNoise.over(rng, grid, 1500)
    brightness = look.brightness + rng.normal(0, 0.025)
    contrast = look.contrast * rng.uniform(0.88, 1.12)
    photos = []
    for slab in anatomy.sections((0, 0, 0), grid.shape, refine=refine):
        shape = slab.grid.shape
        granules = _tile(camera.granules, offsets[0], shape)
        chromatin = _tile(camera.chromatin, offsets[1], shape)
        offsets[:, 0] += shape[0]
        grey = _draw(slab, granules, chromatin, cloud.on(slab.grid))
        grey = (grey - np.float32(0.55)) * np.float32(contrast) + np.float32(brightness)
        grey *= 1 + np.float32(0.05) * light.on(slab.grid)
        grey += rng.normal(0, 0.008, (len(grey), 1, 1)).astype(np.float32)
        shot = rng.standard_normal(shape, dtype=np.float32)
        grey += shot * np.float32(look.noise) * np.sqrt(np.clip(0.3 + 0.7 * grey, 0.1, 1))
        photos.append(np.clip(grey * 255 + np.float32(0.5), 1, 255).astype(np.uint8))
    return np.concatenate(photos)


def _draw(scene: Anatomy, granules: Field, chromatin: Field, cloud: Field) -> Field:
    """Return the grey of each voxel, about 0 (dense) to 1 (empty), without any noise of the microscope."""
    blur_nm = 1.3 * max(scene.grid.voxel_size_nm[1], 13.0)

    ribosomes = np.clip(granules - 0.75, 0, 1.3)
    grey: Field = np.float32(0.66) + 0.02 * cloud + 0.015 * granules - 0.20 * ribosomes
    thickness, envelope = MEMBRANE_NM, NUCLEAR_ENVELOPE_NM
    # Ribosomes sit on the ER: a darker, rough coat just outside its membrane.
    _paint(grey, blur_nm, scene.er, -14.0, 0.50 - 0.22 * ribosomes)
    _paint(grey, blur_nm, scene.er, 0.0, 0.24)
    _paint(grey, blur_nm, scene.er, thickness["er_mem"], 0.80)
    _paint(grey, blur_nm, scene.golgi, 0.0, 0.20)
    _paint(grey, blur_nm, scene.golgi, thickness["golgi_mem"], 0.50)
    _paint(grey, blur_nm, scene.mito, 0.0, 0.14)
    lamellae: Field = np.cos(scene.crista * np.float32(2 * np.pi / 66) + 0.9 * cloud)
    matrix: Field = 0.44 + 0.012 * granules - 0.17 * np.clip(1.6 * lamellae - 0.5, 0, 1)
    _paint(grey, blur_nm, scene.mito, thickness["mito_mem"], matrix)
    near_envelope = np.clip(1.25 + (scene.nucleus + envelope) / 110, 0, 1.2)
    dense: Field = np.clip(0.55 * chromatin + 0.25 * cloud + near_envelope - 0.35, 0, 1.1)
    _paint(grey, blur_nm, scene.nucleus, 0.0, 0.26)
    _paint(grey, blur_nm, scene.nucleus, thickness["ne_mem"], 0.78)
    _paint(grey, blur_nm, scene.nucleus, envelope - thickness["ne_mem"], 0.30)
    _paint(grey, blur_nm, scene.nucleus, envelope, 0.62 + 0.02 * granules - 0.22 * dense)
    _paint(grey, blur_nm, scene.nucleolus, 0.0, 0.33 + 0.03 * chromatin + 0.02 * granules)
    _paint(grey, blur_nm, -scene.cell, -thickness["pm"], 0.15)
    _paint(grey, blur_nm, -scene.cell, 0.0, 0.88 + 0.01 * granules)
    return grey


def _paint(grey: Field, blur_nm: float, distance: Field, depth: float, value: Field | float) -> None:
    """Cover, in place, what is more than `depth` inside a structure; the edge is a ramp of `blur_nm`."""
    if distance.min() > blur_nm - depth:
        return
    share = distance * np.float32(-1 / blur_nm) + np.float32(0.5 - depth / blur_nm)
    np.clip(share, 0, 1, out=share)
    grey += share * (value - grey)
