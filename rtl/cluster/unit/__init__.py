"""A compute unit and its parts."""
