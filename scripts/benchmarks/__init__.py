"""Benchmarks of the methods against their controls and peers; one row for each (study, arm, budget, seed)."""
