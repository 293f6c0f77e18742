"""One measurement from its source to its record."""
