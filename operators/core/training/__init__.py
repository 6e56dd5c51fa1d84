"""Training: the loop, its loader, its checkpoints and the processes that run it."""
