"""`edge-bench run`: measure a bundle, a model or a command on this board."""

import argparse
import os
from typing import Any, Dict

from edge_bench import atomic, render
from edge_bench.bundle import open_bundle
from edge_bench.commands import arguments, output
from edge_bench.errors import EdgeBenchError
from edge_bench.measure.run import Run, Settings


def add(commands: Any, formatter: Any) -> None:
    """Its arguments."""
    run = commands.add_parser("run", help="verify and measure a bundle", formatter_class=formatter)
    defaults = Settings()
    run.add_argument("bundle", metavar="BUNDLE", help="folder or .tar that `edge-dendrite export` wrote")
    run.add_argument("--output", default="measurement.json", metavar="FILE", help="where the measurement is written")
    run.add_argument(
        "--runs", type=arguments.num_runs, metavar="N", help="exactly N timed runs, instead of by duration"
    )
    run.add_argument(
        "--duration", type=arguments.positive, default=defaults.duration_s, metavar="S", help="latency phase, seconds"
    )
    run.add_argument(
        "--warmup", type=arguments.positive, default=defaults.warmup_s, metavar="S", help="warm-up, seconds"
    )
    run.add_argument(
        "--threads", type=arguments.positive_int, default=defaults.num_threads, metavar="N", help="intra-op threads"
    )
    run.add_argument("--provider", metavar="NAME", help="onnxruntime provider, else the one that the runtime prefers")
    run.add_argument(
        "--idle-s", type=arguments.positive, default=defaults.idle_s, metavar="S", help="idle power, seconds"
    )
    run.add_argument(
        "--energy-s", type=arguments.positive, default=defaults.energy_s, metavar="S", help="energy phase, seconds"
    )
    run.add_argument(
        "--max-other-load",
        type=arguments.positive,
        default=defaults.max_other_load,
        metavar="SHARE",
        help="share of all processor time that other programs may use before the run is invalid",
    )
    run.add_argument("--strict", action="store_true", help="exit with 3 when there are warnings")
    arguments.add_json(run)
    run.set_defaults(handler=_run)


def _run(given: argparse.Namespace) -> int:
    settings = Settings(
        num_runs=given.runs,
        duration_s=given.duration,
        warmup_s=given.warmup,
        num_threads=given.threads,
        provider=given.provider,
        idle_s=given.idle_s,
        energy_s=given.energy_s,
        max_other_load=given.max_other_load,
    )
    bundle = open_bundle(given.bundle)
    target, source = os.path.realpath(given.output), os.path.realpath(given.bundle)
    if target == source or target.startswith(source + os.sep):
        raise EdgeBenchError("--output %s lies in the bundle, which may hold nothing else" % given.output)

    def save(record: Dict[str, Any]) -> None:
        try:
            atomic.write_json(given.output, record)
        except OSError as error:
            raise EdgeBenchError(
                "cannot write %s (%s); make room or give another path with --output"
                % (given.output, error.strerror or error)
            ) from error

    run = Run(bundle, settings, save, output.progress_writer())
    try:
        record = run.measure()
    except KeyboardInterrupt:
        output.say("interrupted: what was measured so far is in %s, marked partial" % given.output)
        return output.EXIT_INTERRUPTED
    output.print_result(record, render.render_measurement, given.json)
    if record["status"] == "failed":
        output.say("error: the outputs do not match the bundle's reference; nothing was timed. See 'check' in the file")
        return output.EXIT_FAILED
    if record["invalid"]:
        return output.EXIT_INVALID
    return output.EXIT_WARNINGS if given.strict and record["warnings"] else output.EXIT_DONE
