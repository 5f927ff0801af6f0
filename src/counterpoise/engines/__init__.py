"""Where trials run: processes of this machine, or jobs of a cluster. ``engine`` states the contract."""
