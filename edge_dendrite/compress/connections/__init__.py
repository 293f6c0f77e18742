"""Cutting the inputs of layers: segments, groups, 2:4."""
