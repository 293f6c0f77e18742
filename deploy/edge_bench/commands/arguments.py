"""What the arguments of several commands have in common: their types, and what is asked for in the same words."""

import argparse

from edge_bench import schema
from edge_bench.power.meter import CHOICES, MIN_INTERVAL_S, PowerChoice

BACKENDS = ("auto", "onnxruntime", "tensorrt", "trtexec")
BUFFERS = ("ctypes", "pycuda", "cuda-python")


def add_root(parser: argparse.ArgumentParser) -> None:
    """`--root`: for containers that have the board's /proc and /sys somewhere else."""
    parser.add_argument("--root", default="/", metavar="DIR", help="where the board's /proc and /sys are mounted")


def add_json(parser: argparse.ArgumentParser) -> None:
    """`--json`: for machines."""
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def add_power(parser: argparse.ArgumentParser) -> None:
    """`--power`, `--power-cmd`, `--power-interval`: where power comes from; see power_choice()."""
    sources = ", ".join(source for source in CHOICES if source != "command")
    parser.add_argument(
        "--power",
        type=power_source,
        default="auto",
        metavar="SOURCE",
        help="power sensor: one of %s, or hwmon:CHIP/LABEL" % sources,
    )
    parser.add_argument("--power-cmd", metavar="CMD", help="a program that prints watts, one number a line, instead")
    parser.add_argument(
        "--power-interval",
        type=power_interval,
        metavar="S",
        help="seconds between power readings, else as the sensor allows",
    )


def power_choice(given: argparse.Namespace) -> PowerChoice:
    """What add_power()'s arguments say."""
    return PowerChoice(given.power, given.power_cmd, given.power_interval)


def power_source(text: str) -> str:
    source, _, name = text.partition(":")
    if source not in CHOICES or source == "command" or (name and source != "hwmon"):
        raise argparse.ArgumentTypeError("%s is none of %s" % (text, ", ".join(CHOICES)))
    return text


def power_interval(text: str) -> float:
    value = positive(text)
    if value < MIN_INTERVAL_S:
        raise argparse.ArgumentTypeError("%s is less than %g s" % (text, MIN_INTERVAL_S))
    return value


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
