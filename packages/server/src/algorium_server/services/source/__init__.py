"""Source: pushed, edited, hosted here or elsewhere."""
