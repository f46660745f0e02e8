"""How projects are built, by language."""
