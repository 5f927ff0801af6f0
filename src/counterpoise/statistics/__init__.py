"""Statistics of a run: values in, values out, no files."""
