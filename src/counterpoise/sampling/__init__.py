"""Patches: drawn as a pure function of (seed, step), gathered from the store."""
