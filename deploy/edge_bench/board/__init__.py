"""What this board is, in which state, and what it can do."""
