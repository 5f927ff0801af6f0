"""Exact class frequencies: counted voxels, never an estimate."""
