"""Annotated crops as they lie on disk: where they are, what they hold, how big a voxel is."""
