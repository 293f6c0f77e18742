"""What the arguments of several commands have in common: their types, and what is asked for in the same words."""

import argparse

from edge_bench import schema

BACKENDS = ("auto", "onnxruntime", "tensorrt", "trtexec")
BUFFERS = ("ctypes", "pycuda", "cuda-python")


def add_root(parser: argparse.ArgumentParser) -> None:
    """`--root`: for containers that have the board's /proc and /sys somewhere else."""
    parser.add_argument("--root", default="/", metavar="DIR", help="where the board's /proc and /sys are mounted")


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`: for machines."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("%s is not a positive number" % text)
    return value


def positive_int(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value <= 0:
        raise argparse.ArgumentTypeError("%s is not a positive whole number" % text)
    return value


def num_runs(text: str) -> int:
    value = positive_int(text)
    if value > schema.MAX_SAMPLES:
        raise argparse.ArgumentTypeError("a measurement holds at most %d samples" % schema.MAX_SAMPLES)
    return value


def not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError("%s is not a number of 0 or more" % text)
    return value
