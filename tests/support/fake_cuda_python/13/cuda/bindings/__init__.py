"""cuda-python 13: `cuda.bindings.runtime`, and no `cuda.cudart`."""
