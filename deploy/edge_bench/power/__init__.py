"""Power sensors and energy over a window."""
