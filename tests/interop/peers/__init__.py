"""Programs that the runner starts, over other implementations."""
