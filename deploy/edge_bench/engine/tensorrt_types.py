"""What TensorRT calls types of numbers, and what manifests call them."""

_NAMES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}


def type_name(name: str) -> str:
    """float32 for FLOAT; of a type that neither we nor manifests know its own name, such as fp8."""
    return _NAMES.get(name, name.lower())
