"""Measurements over time, kept in one file: what was measured when, where, in which state, and whether it drifted."""
