"""`edge-bench doctor`: what this board is and can do."""

import argparse
import json
import sys
from typing import Optional

from edge_bench.commands import arguments, output
from edge_bench.doctor.diagnose import diagnose, diagnose_runtimes
from edge_bench.doctor.text import progress_line, render_diagnosis


def add_arguments(doctor: argparse.ArgumentParser) -> None:
    """Its command line."""
    doctor.description = (
        "Which runtimes work here (each is tried in a process of its own), which sensors can be read, "
        "whether clocks are pinned and the board is throttled, and for every problem the command that mends it."
    )
    arguments.add_root(doctor)
    doctor.add_argument("--strict", action="store_true", help="exit with 3 when there are problems")
    doctor.add_argument(
        "--runtimes", action="store_true", help="only what decides whether a network loads here, as JSON: quicker"
    )
    arguments.add_json(doctor)
    doctor.set_defaults(handler=_doctor)


def _doctor(given: argparse.Namespace) -> int:
    if given.runtimes:
        output.print_text(json.dumps(diagnose_runtimes(), sort_keys=True))
        return output.EXIT_DONE
    try:
        diagnosis = diagnose(given.root, _show_step)
    finally:
        _show_step(None)
    output.print_result(diagnosis, render_diagnosis, given.json)
    return output.EXIT_WARNINGS if given.strict and diagnosis["problems"] else output.EXIT_DONE


def _show_step(step: Optional[str]) -> None:
    """A hung library takes a minute to be a row: a person sees which one."""
    if sys.stderr.isatty():
        output.write_error(progress_line(step))
