"""Virtual ARM boards: a real arm64 userland behind its own address, with the sensors of a board replayed.

`scripts/virtual-board --help` is the entry. Linux, root.
"""
