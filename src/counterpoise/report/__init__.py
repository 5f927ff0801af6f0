"""What is said and shown of a run: each sentence once, on every surface."""
