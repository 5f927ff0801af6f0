"""The experiment: its configuration, its arms, and what decides their results."""
