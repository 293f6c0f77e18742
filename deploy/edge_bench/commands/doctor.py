"""`edge-bench doctor`: what this board is and can do."""

import argparse
from typing import Any

from edge_bench import render
from edge_bench.board.doctor import diagnose
from edge_bench.commands import arguments, output


def add(commands: Any, formatter: Any) -> None:
    """Its arguments."""
    doctor = commands.add_parser("doctor", help="what this board is and can do", formatter_class=formatter)
    arguments.add_json(doctor)
    doctor.set_defaults(handler=_doctor)


def _doctor(given: argparse.Namespace) -> int:
    output.print_result(diagnose(), render.render_diagnosis, given.json)
    return output.EXIT_DONE
