"""cuda-python 12: `from cuda import cudart`."""
