"""Cutting whole units: which go under a budget, the plan, the proof."""
