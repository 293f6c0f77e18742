"""TensorRT engines: building them here, and knowing where one loads."""
