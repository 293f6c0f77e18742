"""`edge-bench show`: a measurement for a person."""

import argparse

from edge_bench import render, schema
from edge_bench.commands import arguments, output


def add_arguments(show: argparse.ArgumentParser) -> None:
    """Its command line."""
    show.add_argument("measurement", metavar="FILE", help="what `edge-bench run` wrote")
    arguments.add_json(show)
    show.set_defaults(handler=_show)


def _show(given: argparse.Namespace) -> int:
    record = schema.read_measurement(given.measurement)
    output.print_result(record, render.render_measurement, given.json)
    return output.EXIT_INVALID if record["invalid"] or record["status"] != "complete" else output.EXIT_DONE
