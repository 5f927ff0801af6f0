"""The anatomy of the synthetic EM volume: cells, nuclei, mitochondria, Golgi stacks and ER as distances in nm.

Everything is an implicit function of the position in the world, so it can be drawn at any voxel size.
A *distance* is negative inside, zero on the outer face of the outer membrane, positive outside; structures
are cut by those placed before them, so that none overlap. Lengths are in nm, axes z, y, x, fields float32.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from counterpoise.phantom.space import Field, Shape, SpaceGrid, block_of, distance_to_level, noise_on

__all__ = ["ATOMIC_IDS", "MEMBRANE_NM", "NUCLEAR_ENVELOPE_NM", "Anatomy", "Scene", "grow"]

Ids = npt.NDArray[np.uint8]

# Ids of CellMap's classes.csv.
ATOMIC_IDS = {
    "ecs": 1, "pm": 2, "mito_mem": 3, "mito_lum": 4, "golgi_mem": 6, "golgi_lum": 7,
    "er_mem": 16, "er_lum": 17, "ne_mem": 20, "ne_lum": 21, "nucpl": 28, "nucleo": 29, "cyto": 35,
}  # fmt: skip

MEMBRANE_NM = {"pm": 26.0, "mito_mem": 30.0, "er_mem": 22.0, "golgi_mem": 18.0, "ne_mem": 18.0}
NUCLEAR_ENVELOPE_NM = 56.0  # both membranes and the space between them

_CELL_SPACING_NM = 1900.0
_NUCLEUS_RADIUS_NM = 570.0
_GAP_NM = 30.0  # extracellular space between two cells
_FAR = np.float32(1e4)
_SLAB = 6  # sections; some 100 000 voxels
_MITO_ATTEMPTS = 450  # a third of them at each size; far fewer succeed than uint8 has ids
_NEIGHBOUR_NM = 250.0  # cells whose seed is this much farther than the nearest one don't come near


@dataclass(frozen=True)
class Scene:
    """What a crop contains.

    Parameters
    ----------
    nucleus_shift_nm : float
        Distance of the nearest nucleus from the middle of the crop.
    golgi : tuple of (int, float)
        Cisternae and disk radius (nm) of the Golgi stack; no stack if there are no cisternae.
    mito_fraction : float
        Share of the crop that mitochondria fill, if there is enough space.
    """

    nucleus_shift_nm: float
    golgi: tuple[int, float]
    mito_fraction: float


@dataclass(frozen=True)
class Anatomy:
    """The structures of one place on one grid: distances in nm, and ids of objects where they have some."""

    grid: SpaceGrid
    cell: Field
    nucleus: Field
    nucleolus: Field
    mito: Field
    crista: Field
    er: Field
    golgi: Field
    cell_id: Ids
    mito_id: Ids

    def sections(self, low: Shape, high: Shape, *, refine: bool) -> Iterator["Anatomy"]:
        """Yield the block `low` to `high` (voxels) in slabs of a few sections, which fit the cache.

        Refined, voxels are half as large on every axis: fields are interpolated, ids taken from the nearest.
        """
        for first in range(low[0], high[0], _SLAB):
            start, stop = (first, low[1], low[2]), (min(first + _SLAB, high[0]), high[1], high[2])
            yield self._refined(start, stop) if refine else self._cut(start, stop)

    def _cut(self, low: Shape, high: Shape) -> "Anatomy":
        parts = {name: getattr(self, name)[block_of(low, high)] for name in _FIELDS + _IDS}
        return Anatomy(self.grid.cut(low, high), **parts)

    def _refined(self, low: Shape, high: Shape) -> "Anatomy":
        # One more voxel on each side, where there is one, lets neighbouring blocks continue each other.
        z, y, x = (max(first - 1, 0) for first in low)
        outer = block_of((z, y, x), (high[0] + 1, high[1] + 1, high[2] + 1))
        before = (2 * (low[0] - z), 2 * (low[1] - y), 2 * (low[2] - x))
        grid = self.grid.cut(low, high).refined()
        after = (before[0] + grid.shape[0], before[1] + grid.shape[1], before[2] + grid.shape[2])
        inner = block_of(before, after)
        fields = {name: _halve_voxels(getattr(self, name)[outer])[inner] for name in _FIELDS}
        coarse = {name: getattr(self, name)[block_of(low, high)] for name in _IDS}
        ids = {name: block.repeat(2, 0).repeat(2, 1).repeat(2, 2) for name, block in coarse.items()}
        return Anatomy(grid=grid, **fields, **ids)  # type: ignore[arg-type]  # one dictionary per kind of field

    def atomic_ids(self) -> Ids:
        """Return the most granular CellMap id of each voxel."""
        ids = np.full(self.grid.shape, ATOMIC_IDS["cyto"], np.uint8)
        envelope, half = NUCLEAR_ENVELOPE_NM, MEMBRANE_NM["ne_mem"]
        layers: list[tuple[str, Field, float]] = [
            ("er_mem", self.er, 0), ("er_lum", self.er, MEMBRANE_NM["er_mem"]),
            ("golgi_mem", self.golgi, 0), ("golgi_lum", self.golgi, MEMBRANE_NM["golgi_mem"]),
            ("mito_mem", self.mito, 0), ("mito_lum", self.mito, MEMBRANE_NM["mito_mem"]),
            ("ne_mem", self.nucleus, 0), ("ne_lum", self.nucleus, half),
            ("ne_mem", self.nucleus, envelope - half), ("nucpl", self.nucleus, envelope),
            ("nucleo", self.nucleolus, 0),
        ]  # fmt: skip
        for name, distance, depth in layers:
            ids[distance <= -depth] = ATOMIC_IDS[name]
        ids[self.cell > -MEMBRANE_NM["pm"]] = ATOMIC_IDS["pm"]
        ids[self.cell > 0] = ATOMIC_IDS["ecs"]
        return ids


_FIELDS = ("cell", "nucleus", "nucleolus", "mito", "crista", "er", "golgi")
_IDS = ("cell_id", "mito_id")


def grow(rng: np.random.Generator, grid: SpaceGrid, crop: SpaceGrid, scene: Scene) -> Anatomy:
    """Make the anatomy of one place.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of everything that is left to chance.
    grid : SpaceGrid
        Where to evaluate it.
    crop : SpaceGrid
        The annotated part of it, where the scene is set.
    scene : Scene
        What the crop contains.

    Returns
    -------
    Anatomy
    """
    towards = _unit(rng.normal(size=3) * (0.35, 1, 1))
    nucleus_centre = crop.centre() - scene.nucleus_shift_nm * towards
    seed = nucleus_centre + 150 * towards
    # A neighbour on the far side, so that the border between the two crosses the crop beyond its middle.
    width = min(crop.voxel_size_nm[1] * crop.shape[1], crop.voxel_size_nm[2] * crop.shape[2])
    beyond = scene.nucleus_shift_nm - 150 + 0.3 * width
    cell, cell_id, seeds = _cells(rng, grid, np.stack([seed, seed + 2 * beyond * towards]).astype(np.float32))
    centres = np.concatenate([nucleus_centre[None], seeds[1:] + _jitter(rng, len(seeds) - 1, 120)])
    nucleus, nucleolus = _nuclei(rng, grid, cell, centres.astype(np.float32))
    free = _smooth_max(cell + 45, 45 - nucleus, 40.0)  # negative where organelles may lie
    golgi = _golgi(rng, grid, crop, nucleus, free, nucleus_centre, scene)
    mito, crista, mito_id = _mitos(rng, grid, crop, np.maximum(free, 60 - golgi), scene.mito_fraction)
    closed = np.maximum(np.maximum(free, 42 - golgi), 34 - mito)
    er = _er(rng, grid, closed)
    return Anatomy(grid, cell, nucleus, nucleolus, mito, crista, er, golgi, cell_id, mito_id)


def _cells(rng: np.random.Generator, grid: SpaceGrid, fixed_seeds: Field) -> tuple[Field, Ids, Field]:
    """Fill space with rounded, warped Voronoi cells; return distance, id (1..n) and seeds, shape (n, 3)."""
    centre = grid.centre()
    reach = (np.array(grid.voxel_size_nm) * grid.shape / 2 + _CELL_SPACING_NM).astype(np.float32)
    seeds = _scatter(rng, fixed_seeds, centre - reach, centre + reach, 0.88 * _CELL_SPACING_NM)
    seeds = _neighbours(seeds, grid)
    warped = [(a - c) + 55 * noise_on(rng, grid, 380) for a, c in zip(grid.axes(), centre, strict=True)]
    shifted = seeds - centre
    owner = np.zeros(grid.shape, np.uint8)
    best, squares = np.full(grid.shape, np.inf, np.float32), []
    for index, seed in enumerate(shifted):
        # The squared distance up to a term that all seeds share, which drops out of every difference.
        square = warped[0] * np.float32(-2 * seed[0]) + np.float32(seed @ seed)
        square += warped[1] * np.float32(-2 * seed[1])
        square += warped[2] * np.float32(-2 * seed[2])
        owner[square < best] = index
        np.minimum(best, square, out=best)
        squares.append(square)
    cell = np.full(grid.shape, -_FAR, np.float32)
    apart = np.linalg.norm(seeds[:, None] - seeds[None], axis=-1).astype(np.float32)
    for index, square in enumerate(squares):
        bisector = (best - square) / (2 * np.maximum(apart[index], 1))[owner]
        bisector[owner == index] = -_FAR
        cell = _smooth_max(cell, bisector, 90.0)
    cell += np.float32(_GAP_NM / 2)
    return _renormalise(cell, grid), owner + np.uint8(1), seeds


def _scatter(rng: np.random.Generator, fixed: Field, low: Field, high: Field, apart: float) -> Field:
    """Draw points in a box, each at least `apart` from all others; the fixed ones (n, 3) come first."""
    points = np.concatenate([fixed, rng.uniform(low, high, (400, 3)).astype(np.float32)])
    is_close = ((points[:, None] - points) ** 2).sum(-1) < apart**2
    kept = list(range(len(fixed)))
    for index in range(len(fixed), len(points)):
        if not is_close[index, kept].any():
            kept.append(index)
    return np.asarray(points[kept], np.float32)


def _neighbours(seeds: Field, grid: SpaceGrid) -> Field:
    """Keep the seeds (and the first) whose cells come near the grid, judged at a coarse set of points."""
    lines = (axis.ravel()[::8] for axis in grid.axes())
    points = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    distance = np.sqrt(((points - seeds) ** 2).sum(-1))
    is_near = (distance - distance.min(1, keepdims=True)).min(0) < _NEIGHBOUR_NM
    is_near[0] = True
    return np.asarray(seeds[is_near], np.float32)


def _renormalise(distance: Field, grid: SpaceGrid) -> Field:
    """Divide by the slope, so that layers of a warped distance are as thick as they should be."""
    square = np.zeros_like(distance)
    for axis, step in enumerate(grid.voxel_size_nm):
        square += np.gradient(distance, step, axis=axis) ** 2
    return np.asarray(distance / np.clip(np.sqrt(square), 0.6, 1.8), np.float32)


def _nuclei(rng: np.random.Generator, grid: SpaceGrid, cell: Field, centres: Field) -> tuple[Field, Field]:
    nucleus = np.full(grid.shape, _FAR, np.float32)
    nucleolus = np.full(grid.shape, _FAR, np.float32)
    dents = 45 * noise_on(rng, grid, 300)
    for centre in centres:
        radius = _NUCLEUS_RADIUS_NM * rng.uniform(0.93, 1.07)
        stretch = rng.uniform(0.9, 1.1, 3)
        speck = centre + 0.45 * radius * _unit(rng.normal(size=3) * (0.4, 1, 1))
        where, part = grid.window(centre[None], 1.5 * radius)
        if min(part.shape) == 0:
            continue
        ball = _radius(part, centre, stretch) - np.float32(radius) + dents[where]
        nucleus[where] = np.minimum(nucleus[where], ball)
        spot = _radius(part, speck, np.ones(3)) - np.float32(0.3 * radius) + 1.5 * dents[where]
        nucleolus[where] = np.minimum(nucleolus[where], spot)
    nucleus = _smooth_max(nucleus, cell + 120, 80.0)
    return nucleus, np.maximum(nucleolus, nucleus + 100)


def _golgi(
    rng: np.random.Generator, grid: SpaceGrid, crop: SpaceGrid, nucleus: Field, free: Field, centre: Field, scene: Scene
) -> Field:
    """Stack cisternae next to the nucleus, parallel to it: bent disks at equal steps."""
    count, disk = scene.golgi
    golgi = np.full(grid.shape, _FAR, np.float32)
    if not count:
        return golgi
    step, half = 92.0, 27.0
    height = step * (count - 1)
    # The best place of many tried: deep in the cytoplasm, near the middle of the crop.
    tries = crop.centre() + rng.uniform(-0.22, 0.22, (300, 3)) * (np.array(crop.voxel_size_nm) * crop.shape)
    tries = tries.astype(np.float32)
    shortage = np.maximum(free[grid.lookup(tries)], -(height / 2 + 60))
    place = tries[int(np.argmin(shortage + 0.05 * np.linalg.norm(tries - crop.centre(), axis=1)))]
    normal = _unit(place - centre + _jitter(rng, 1, 60)[0])
    where, part = grid.window(place[None], disk + height / 2 + 100)
    offset = [axis - value for axis, value in zip(part.axes(), place, strict=True)]
    bend = rng.uniform(600, 1000)
    origin_distance = _radius(part, place - bend * normal, np.ones(3))
    ripple = noise_on(rng, part, 160)
    layer = origin_distance - np.float32(bend) + 9 * ripple
    along = sum((np.float32(n) * o for n, o in zip(normal, offset, strict=True)), np.float32(0))
    lateral = np.sqrt(np.maximum(sum(o**2 for o in offset) - along**2, 0)) + 30 * noise_on(rng, part, 220)
    for index in range(count):
        rim = np.float32(disk * rng.uniform(0.8, 1.05))
        beyond = np.maximum(lateral - rim, 0)
        swelling = 14 * np.clip((lateral - rim) / 60 + 1, 0, 1)
        sheet = np.sqrt((layer - np.float32(step * index - height / 2)) ** 2 + beyond**2) - half - swelling
        golgi[where] = np.minimum(golgi[where], sheet)
    return np.maximum(golgi, np.maximum(-20 - nucleus, free))


def _mitos(
    rng: np.random.Generator, grid: SpaceGrid, crop: SpaceGrid, taken: Field, fraction: float
) -> tuple[Field, Field, Ids]:
    """Place tubes in free space until they fill a share of the crop: distance, axis position, id."""
    mito = np.full(grid.shape, _FAR, np.float32)
    along = np.zeros(grid.shape, np.float32)
    ids = np.zeros(grid.shape, np.uint8)
    dents = 16 * noise_on(rng, grid, 130)
    extent = np.array(crop.voxel_size_nm) * crop.shape
    wanted = fraction * float(np.prod(extent))
    inside, _ = grid.window(np.stack([crop.centre() - extent / 2, crop.centre() + extent / 2]), 0)
    middles = crop.centre() + rng.uniform(-0.6, 0.6, (_MITO_ATTEMPTS, 3)) * extent
    radii = rng.uniform(125, 190, _MITO_ATTEMPTS)
    is_blocked = taken[grid.lookup(middles)] > -0.55 * radii
    for attempt in range(_MITO_ATTEMPTS):
        radius = radii[attempt] * (1, 0.75, 0.55)[attempt * 3 // _MITO_ATTEMPTS]  # at last what fits
        if is_blocked[attempt]:
            continue
        path = _bent_path(rng, middles[attempt], rng.uniform(300, 1200))
        clearance = np.minimum(-taken[grid.lookup(path)], mito[grid.lookup(path)] - 45)
        if clearance.min() < radius:
            continue
        where, part = grid.window(path, radius + 120)
        distance, position = _tube_around(part, path)
        distance += dents[where] - np.float32(radius)
        nearer = distance < mito[where]
        mito[where] = np.where(nearer, distance, mito[where])
        along[where] = np.where(nearer, position, along[where])
        ids[where] = np.where(nearer, np.uint8(ids.max() + 1), ids[where])
        if np.count_nonzero(mito[inside] < 0) * np.prod(grid.voxel_size_nm) > wanted:
            break
    return mito, along, ids


def _bent_path(rng: np.random.Generator, middle: npt.NDArray[np.float64], length: float) -> Field:
    """Return seven points along a gently bent line, shape (7, 3)."""
    heading = _unit(rng.normal(size=3))
    bend = np.cross(heading, _unit(rng.normal(size=3)))
    t = np.linspace(-0.5, 0.5, 7)[:, None]
    return (middle + length * (t * heading + rng.uniform(0.3, 0.9) * (t**2 - 0.08) * bend)).astype(np.float32)


def _tube_around(grid: SpaceGrid, path: Field) -> tuple[Field, Field]:
    """Return the distance to a polyline and the position along it."""
    axes = grid.axes()
    nearest = np.full(grid.shape, _FAR * _FAR, np.float32)
    position = np.zeros(grid.shape, np.float32)
    travelled, last = 0.0, len(path) - 2
    for index, (start, stop) in enumerate(itertools.pairwise(path)):
        step = stop - start
        length = float(np.linalg.norm(step))
        offset = [axis - value for axis, value in zip(axes, start, strict=True)]
        scaled = step / np.float32(length**2)
        share = sum((s * o for s, o in zip(scaled, offset, strict=True)), np.float32(0))
        on_line = np.clip(share, 0, 1)
        square = sum((o - np.float32(s) * on_line) ** 2 for s, o in zip(step, offset, strict=True))
        closer = square < nearest
        nearest = np.where(closer, square, nearest)
        # The position runs on beyond both ends, so that cristae fill the caps too.
        share = np.clip(share, -np.inf if index == 0 else 0, np.inf if index == last else 1)
        position = np.where(closer, np.float32(travelled) + np.float32(length) * share, position)
        travelled += length
    return np.sqrt(nearest), position


def _er(rng: np.random.Generator, grid: SpaceGrid, closed: Field) -> Field:
    """Fill the remaining cytoplasm with ribbons: tubules where they are narrow, sheets where wide.

    A ribbon follows the zero surface of one noise near the zero surface of another.
    """
    across = distance_to_level(rng, grid, 300)
    along = np.abs(distance_to_level(rng, grid, 300))
    width = 130 + 110 * noise_on(rng, grid, 500)
    np.maximum(along - np.maximum(width, 0), 0, out=along)
    ribbon = np.sqrt(across**2 + along**2) - np.float32(41)
    return np.asarray(np.maximum(ribbon, closed), np.float32)


def _halve_voxels(field: Field) -> Field:
    """Interpolate linearly to half the voxel size: 2 x 2 x 2 voxels for each; constant at the rim."""
    for axis in (2, 1, 0):  # the last and largest step runs over contiguous rows
        before = (slice(None),) * axis
        shape = list(field.shape)
        shape[axis] *= 2
        fine = np.empty(shape, np.float32)
        fine[*before, 0::2] = field
        fine[*before, 1::2] = field
        step = np.float32(0.25) * (field[*before, 1:] - field[*before, :-1])
        fine[*before, 2::2] -= step
        fine[*before, 1:-1:2] += step
        field = fine
    return field


def _smooth_max(first: Field, second: Field, blend: float) -> Field:
    """Return the larger of two distances, rounded over `blend` nm."""
    overlap = np.maximum(np.float32(blend) - np.abs(first - second), 0)
    return np.asarray(np.maximum(first, second) + overlap**2 / np.float32(4 * blend), np.float32)


def _radius(grid: SpaceGrid, centre: npt.ArrayLike, stretch: npt.NDArray[np.float64]) -> Field:
    axes = zip(grid.axes(), np.asarray(centre), stretch, strict=True)
    z, y, x = (np.float32(factor) * (axis - np.float32(middle)) for axis, middle, factor in axes)
    return np.asarray(np.sqrt(z**2 + y**2 + x**2), np.float32)


def _unit(vector: npt.ArrayLike) -> Field:
    array = np.asarray(vector, np.float32)
    return array / np.float32(np.linalg.norm(array))


def _jitter(rng: np.random.Generator, count: int, size: float) -> Field:
    return rng.normal(0, size, (count, 3)).astype(np.float32)
