"""What this board is and can do, what is wrong with it, and the command that mends it."""
