"""The voxel store: every crop decoded once into flat, memory-mapped arrays that all trials share."""

from counterpoise.store.build import StoreRequest, build_store, open_or_build
from counterpoise.store.store import StoredCrop, VoxelStore, open_store

__all__ = ["StoreRequest", "StoredCrop", "VoxelStore", "build_store", "open_or_build", "open_store"]
