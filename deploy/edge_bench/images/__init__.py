"""Pictures into the input of a network."""
