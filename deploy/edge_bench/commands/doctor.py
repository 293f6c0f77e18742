"""`edge-bench doctor`: what this board is and can do."""

import argparse

from edge_bench import render
from edge_bench.board.doctor import diagnose
from edge_bench.commands import arguments, output


def add_arguments(doctor: argparse.ArgumentParser) -> None:
    """Its command line."""
    arguments.add_json(doctor)
    doctor.set_defaults(handler=_doctor)


def _doctor(given: argparse.Namespace) -> int:
    output.print_result(diagnose(), render.render_diagnosis, given.json)
    return output.EXIT_DONE
