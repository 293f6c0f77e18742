"""`edge-bench validate`: does a measurement show that requirements are met?"""

import argparse
from typing import Any, Dict

from edge_bench import atomic
from edge_bench.commands import arguments, output
from edge_bench.errors import EdgeBenchError
from edge_bench.verdict import junit, requirements, text
from edge_bench.verdict.records import read_record

_EXIT_CODES = {
    requirements.PASS: output.EXIT_DONE,
    requirements.FAIL: output.EXIT_FAILED,
    requirements.INCONCLUSIVE: output.EXIT_INVALID,
}


def add_arguments(validate: argparse.ArgumentParser) -> None:
    """Its command line."""
    validate.description = (
        "PASS only where the whole 95 % interval keeps the limit, FAIL where it is wholly beyond it, else "
        "INCONCLUSIVE with what would decide. Each measurement is judged by itself, and all have to pass. "
        "Exit code: 0 all PASS, 1 any FAIL, 4 otherwise."
    )
    validate.epilog = (
        "example: edge-bench validate m.json --p99-ms 10 --max-energy-mj 60 --deadline-ms 12 "
        "--max-miss-ratio 0.001 --junit report.xml"
    )
    validate.add_argument("measurements", metavar="M.json", nargs="+", help="what `edge-bench run` wrote")
    for kind in requirements.KINDS:
        flag = "--" + kind.key.replace("_", "-")
        metavar = "SHARE" if not kind.unit else "N" if kind.unit == "1/s" else kind.unit.upper()
        validate.add_argument(flag, type=_limit(kind.key), metavar=metavar, help=kind.meaning)
    validate.add_argument(
        "--deadline-ms",
        type=_limit(requirements.DEADLINE),
        metavar="MS",
        help="deadline of --max-miss-ratio, instead of the run's own: counted again in its samples",
    )
    validate.add_argument(
        "--requirements", metavar="FILE", help='JSON with the same names, {"p99_ms": 10}; flags win over it'
    )
    validate.add_argument("--junit", metavar="FILE", help="also write JUnit XML")
    arguments.add_json(validate)
    validate.set_defaults(handler=_validate, fail=validate.error)


def _limit(key: str) -> Any:
    def limit(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            raise argparse.ArgumentTypeError("%s is not a number" % value) from None
        problem = requirements.limit_problem(key, number)
        if problem:
            raise argparse.ArgumentTypeError(problem)
        return number

    return limit


def _limits(given: argparse.Namespace) -> Dict[str, float]:
    """The limits of the file, and over them those of the command line."""
    limits = {}  # type: Dict[str, float]
    if given.requirements is not None:
        try:
            limits.update(requirements.read_requirements(given.requirements))
        except EdgeBenchError as error:
            given.fail(str(error))
    for key in [kind.key for kind in requirements.KINDS] + [requirements.DEADLINE]:
        if getattr(given, key) is not None:
            limits[key] = getattr(given, key)
    if not set(limits) - {requirements.DEADLINE}:
        given.fail("no requirement is given; e.g. --p99-ms 10 (--deadline-ms alone is none: add --max-miss-ratio)")
    if requirements.DEADLINE in limits and "max_miss_ratio" not in limits:
        given.fail("--deadline-ms says nothing without --max-miss-ratio")
    return limits


def _validate(given: argparse.Namespace) -> int:
    limits = _limits(given)
    if given.junit is not None:
        output.refuse_dash(given, "--junit", given.junit)
        for path in given.measurements:
            output.refuse_inside("--junit", given.junit, path)
    judged = [requirements.judge(read_record(path), path, limits) for path in given.measurements]
    verdict = requirements.overall([one["verdict"] for one in judged])
    result = {"verdict": verdict, "confidence": 0.95, "measurements": judged}  # type: Dict[str, Any]
    if given.junit is not None:
        try:
            atomic.write_bytes(given.junit, junit.junit_xml(result))
        except OSError as error:
            raise EdgeBenchError("cannot write %s (%s)" % (given.junit, error.strerror or error)) from error
    output.print_result(result, text.render_verdicts, given.json)
    return _EXIT_CODES[verdict]
