"""See what crops hold before training: numbers, problems and pictures. Nothing is written into the data."""

from counterpoise.inspection.inspect import Inspection, inspect_listing

__all__ = ["Inspection", "inspect_listing"]
