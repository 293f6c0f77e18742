"""A fake of pycuda (documen.tician.de/pycuda) over the fake libcudart."""
