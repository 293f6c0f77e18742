"""The arguments that choose a power sensor. Apart from the others: sensors are many files to import."""

import argparse
from typing import Any

from edge_bench.commands import arguments
from edge_bench.power.choice import CHOICES, MIN_INTERVAL_S, PowerChoice


def add_power(parser: Any) -> None:
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
    value = arguments.positive(text)
    if value < MIN_INTERVAL_S:
        raise argparse.ArgumentTypeError("%s is less than %g s" % (text, MIN_INTERVAL_S))
    return value
