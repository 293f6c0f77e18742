"""`edge-bench compare`: which of two networks is faster, or takes less, and can these runs tell?"""

import argparse
from typing import List

from edge_bench.commands import arguments, output
from edge_bench.verdict import comparing, text
from edge_bench.verdict.records import read_record


def add_arguments(compare: argparse.ArgumentParser) -> None:
    """Its command line."""
    compare.description = (
        "Difference and ratio of two sides with 95 % intervals, and a verdict, which may be 'not "
        "distinguishable'. Two files are two sides; of more, each is compared with the first; --with gives several "
        "runs a side. Different boards, runtimes or board states are refused. Exit code: 0 compared, 4 refused."
    )
    compare.epilog = "example: edge-bench compare dense1.json dense2.json --with small1.json small2.json"
    compare.add_argument("measurements", metavar="A.json", nargs="+", help="what `edge-bench run` wrote")
    compare.add_argument(
        "--with", dest="others", metavar="B.json", nargs="+", help="the runs of side B; all before are of side A"
    )
    compare.add_argument(
        "--force",
        action="store_true",
        help="compare what is not comparable, labelled so; energies of different scopes never",
    )
    arguments.add_json(compare)
    compare.set_defaults(handler=_compare, fail=compare.error)


def _compare(given: argparse.Namespace) -> int:
    if given.others is None and len(given.measurements) < 2:
        given.fail("one measurement has nothing to be compared with; give two, or the other side with --with")
    first = given.measurements if given.others is not None else given.measurements[:1]
    sides = [given.others] if given.others is not None else [[path] for path in given.measurements[1:]]
    a = _side(first)
    compared = [comparing.compare(a, _side(paths), given.force) for paths in sides]
    result = {"confidence": 0.95, "refused": any(one["refused"] for one in compared), "comparisons": compared}
    output.print_result(result, text.render_comparisons, given.json)
    # Nothing that both sides measured is no comparison either.
    done = all(any(row["difference"] is not None for row in one["rows"]) for one in compared)
    return output.EXIT_DONE if done and not result["refused"] else output.EXIT_INVALID


def _side(paths: List[str]) -> comparing.Side:
    return comparing.Side(paths, [read_record(path) for path in paths])
