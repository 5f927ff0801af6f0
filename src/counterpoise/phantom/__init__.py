"""The synthetic EM volume with exactly known labels."""
