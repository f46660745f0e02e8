"""Source: git repositories, served, read, written, fetched from elsewhere."""
