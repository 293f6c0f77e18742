"""Dendrites: branches in place of a dense layer, dendrites that are grown, gates."""
