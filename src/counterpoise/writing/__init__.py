"""Volumes written in the CellMap layout."""
