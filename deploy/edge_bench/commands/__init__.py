"""The commands of edge-bench, one file each."""
