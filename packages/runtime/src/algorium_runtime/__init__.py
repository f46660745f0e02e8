"""What runs inside an algorithm's own interpreter. Standard library only, Python 3.8 or newer."""
