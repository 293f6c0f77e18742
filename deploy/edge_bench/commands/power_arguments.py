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
        metavar="SOURCE",
        help="power sensor: one of %s, or hwmon:CHIP/LABEL (default: auto)" % sources,
    )
    parser.add_argument("--power-cmd", metavar="CMD", help="a program that prints watts, one number a line, instead")
    parser.add_argument(
        "--power-interval",
        type=power_interval,
        metavar="S",
        help="seconds between power readings, else as the sensor allows",
    )


def power_choice(given: argparse.Namespace) -> PowerChoice:
    """What add_power()'s arguments say; ends with a line on usage where they contradict each other."""
    if given.power_cmd is not None and given.power not in (None, "auto"):
        given.fail("--power %s and --power-cmd contradict each other; leave one of the two out" % given.power)
    if given.power == "none":
        arguments.refuse_given(given, "--power none", "power_interval")
    return PowerChoice(given.power or "auto", given.power_cmd, given.power_interval)


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
