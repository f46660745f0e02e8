"""What accounts may use, and what is kept warm for them."""
