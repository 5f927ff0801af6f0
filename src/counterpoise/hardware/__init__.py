"""What this machine has and this process may use: GPUs, cores, memory, and how they are doing now."""
