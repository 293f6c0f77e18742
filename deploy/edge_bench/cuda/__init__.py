"""NVIDIA's driver and runtime through ctypes."""
