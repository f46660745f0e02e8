"""The tables of the database, by what they are about; `schema.py` beside has all of them."""
