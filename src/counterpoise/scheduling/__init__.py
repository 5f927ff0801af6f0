"""What to run where: hardware found, trials planned, processes started and watched."""
