"""SQL as plain functions on a connection; transactions are opened above."""
