"""Everything before the first trial."""
