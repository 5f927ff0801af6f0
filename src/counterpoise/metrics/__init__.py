"""Scores from counts."""
