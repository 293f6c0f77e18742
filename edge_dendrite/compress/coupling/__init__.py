"""Which slices of which tensors make one unit."""
