"""Programs that git runs while something is pushed."""
