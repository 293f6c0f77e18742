"""Data sets: the embedded digits, MNIST, folders of images, tensors of the user's own."""
