"""Layers that stand where others were, and how a plan builds them."""
