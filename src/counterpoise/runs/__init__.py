"""The run folder: its layout and the records in it."""
