"""Fields in space for the synthetic EM volume: grids on which they are evaluated, and smooth random ones.

Lengths are in nm, axes z, y, x, fields float32.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from counterpoise.volumes.geometry import Grid

__all__ = ["Field", "Shape", "SmoothNoise", "SpaceGrid", "block_of", "distance_to_level", "noise_on"]

Field = npt.NDArray[np.float32]
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class SpaceGrid(Grid):
    """A grid on which fields are evaluated."""

    def axes(self) -> list[Field]:
        """Return the three coordinates, shaped so that they broadcast to the grid."""
        lines = zip(self.translation_nm, self.voxel_size_nm, self.shape, strict=True)
        z, y, x = ((start + step * np.arange(count)).astype(np.float32) for start, step, count in lines)
        return [z[:, None, None], y[None, :, None], x[None, None, :]]

    def cut(self, low: Shape, high: Shape) -> "SpaceGrid":
        """Return the voxels from `low` to `high`."""
        z, y, x = (o + n * v for o, n, v in zip(self.translation_nm, low, self.voxel_size_nm, strict=True))
        return SpaceGrid((high[0] - low[0], high[1] - low[1], high[2] - low[2]), self.voxel_size_nm, (z, y, x))

    def refined(self) -> "SpaceGrid":
        """Return the grid with 2 x 2 x 2 voxels in place of each."""
        (z, y, x), (dz, dy, dx) = self.translation_nm, self.voxel_size_nm
        shape = (2 * self.shape[0], 2 * self.shape[1], 2 * self.shape[2])
        return SpaceGrid(shape, (dz / 2, dy / 2, dx / 2), (z - dz / 4, y - dy / 4, x - dx / 4))

    def centre(self) -> Field:
        """Return the middle of the grid, shape (3,)."""
        half = np.array(self.voxel_size_nm) * (np.array(self.shape) - 1) / 2
        return np.asarray(np.array(self.translation_nm) + half, np.float32)

    def window(self, points: Field, reach: float) -> tuple[tuple[slice, ...], "SpaceGrid"]:
        """Cut out what lies within `reach` of the bounding box of some points, shape (n, 3)."""
        low = np.floor((points.min(0) - reach - self.translation_nm) / self.voxel_size_nm).astype(int)
        high = np.ceil((points.max(0) + reach - self.translation_nm) / self.voxel_size_nm).astype(int) + 1
        z, y, x = np.clip(low, 0, self.shape).tolist()
        z_end, y_end, x_end = np.clip(high, (z, y, x), self.shape).tolist()
        return block_of((z, y, x), (z_end, y_end, x_end)), self.cut((z, y, x), (z_end, y_end, x_end))

    def lookup(self, points: npt.NDArray[np.floating]) -> tuple[npt.NDArray[np.intp], ...]:
        """Return the voxel nearest to each point (clipped to the grid), as an index into arrays."""
        index = np.rint((points - self.translation_nm) / self.voxel_size_nm).astype(np.intp)
        return tuple(np.clip(index, 0, np.array(self.shape) - 1).T)


def block_of(low: Shape, high: Shape) -> tuple[slice, ...]:
    """Return the voxels from `low` to `high` as an index."""
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True))


@dataclass(frozen=True)
class SmoothNoise:
    """Smooth noise of about unit variance: a cubic B-spline with random coefficients, at any place of a box.

    Parameters
    ----------
    origin_nm : tuple of float
        Corner of the box.
    spacing_nm : float
        Distance between coefficients; blobs are about twice as large.
    coefficients : float32 array, shape (z, y, x)
    """

    origin_nm: tuple[float, float, float]
    spacing_nm: float
    coefficients: Field

    @classmethod
    def over(cls, rng: np.random.Generator, grid: SpaceGrid, spacing_nm: float) -> "SmoothNoise":
        """Draw noise for the box of a grid."""
        extent = (np.array(grid.voxel_size_nm) * grid.shape / spacing_nm).astype(int) + 5
        z, y, x = (origin - step / 2 for origin, step in zip(grid.translation_nm, grid.voxel_size_nm, strict=True))
        return cls((z, y, x), spacing_nm, 3 * rng.standard_normal(tuple(extent), dtype=np.float32))

    def on(self, grid: SpaceGrid, slope_axis: int | None = None) -> Field:
        """Evaluate on a grid (or the slope per nm along an axis), as a product of three small matrices."""
        z, y, x = (
            _spline_matrix((line.ravel() - origin) / self.spacing_nm, knots, slope=axis == slope_axis)
            for axis, (line, origin, knots) in enumerate(
                zip(grid.axes(), self.origin_nm, self.coefficients.shape, strict=True)
            )
        )
        depth, height, width = self.coefficients.shape
        field = (z @ self.coefficients.reshape(depth, -1)).reshape(len(z), height, width)
        field = (y @ field) @ x.T
        return field if slope_axis is None else field / np.float32(self.spacing_nm)


def noise_on(rng: np.random.Generator, grid: SpaceGrid, spacing_nm: float) -> Field:
    """Draw smooth noise and evaluate it on a grid."""
    return SmoothNoise.over(rng, grid, spacing_nm).on(grid)


def _spline_matrix(position: Field, knots: int, *, slope: bool) -> Field:
    first = np.floor(position).astype(int)
    t = position - first
    if slope:
        weights = [-((1 - t) ** 2) / 2, (3 * t**2 - 4 * t) / 2, (-3 * t**2 + 2 * t + 1) / 2, t**2 / 2]
    else:
        middle = [(3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6]
        weights = [(1 - t) ** 3 / 6, *middle, t**3 / 6]
    matrix = np.zeros((len(position), knots), np.float32)
    for offset, weight in enumerate(weights):
        matrix[np.arange(len(position)), first + offset] = weight
    return matrix


def distance_to_level(rng: np.random.Generator, grid: SpaceGrid, spacing_nm: float) -> Field:
    """Return the signed distance (first order: value / slope) to the zero surface of smooth noise."""
    noise = SmoothNoise.over(rng, grid, spacing_nm)
    value, slope = noise.on(grid), np.zeros(grid.shape, np.float32)
    for axis in range(3):
        slope += noise.on(grid, axis) ** 2
    value /= np.sqrt(slope) + np.float32(0.25 / spacing_nm)
    return value
