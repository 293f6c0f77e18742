"""Getting a bundle to a board and the measurement back. Runs without torch."""
