"""Programs that are sent as text to a board's Python: standard library, 3.6 or newer, each one alone."""
