"""What this machine has and this process may use."""
