"""Making networks smaller: which tensors belong together, what they are worth, and cutting them."""
