"""Training of one arm with one seed."""
