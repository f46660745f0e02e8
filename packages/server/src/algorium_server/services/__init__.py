"""One function per use case: check the right, call down, record."""
