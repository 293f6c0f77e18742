"""What measurements show: requirements met or not, sides that differ or not."""
