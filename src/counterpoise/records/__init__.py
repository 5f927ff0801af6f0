"""What a run leaves on disk: file names, versioned records, atomic writes."""
