"""`edge-bench run`: measure a bundle, a model, an engine or a command on this board."""

import argparse
import contextlib
import os
from typing import Any, Dict, Iterator

from edge_bench import atomic, render, schema
from edge_bench.commands import arguments, output, power_arguments
from edge_bench.errors import EdgeBenchError
from edge_bench.measure.journal import journal_path
from edge_bench.measure.run import Run
from edge_bench.measure.settings import Settings
from edge_bench.measure.source import open_command, open_source


def add_arguments(run: argparse.ArgumentParser) -> None:
    """Its command line."""
    run.add_argument(
        "source",
        metavar="SOURCE",
        nargs="?",
        help="bundle (folder or .tar that `edge-dendrite export` wrote), model.onnx or model.engine",
    )
    run.add_argument("--cmd", metavar="COMMAND", help="measure a program instead: each run of it is an inference")
    run.add_argument("--output", default="measurement.json", metavar="FILE", help="where the measurement is written")
    _add_phases(run)
    _add_backend(run)
    run.add_argument("--strict", action="store_true", help="exit with 3 when there are warnings")
    arguments.add_root(run)
    arguments.add_json(run)
    run.set_defaults(handler=_run, fail=run.error)


def _add_phases(run: argparse.ArgumentParser) -> None:
    defaults = Settings()
    positive = arguments.positive
    power_arguments.add_power(run.add_argument_group("power"))
    add = run.add_argument_group("phases").add_argument
    add("--runs", type=arguments.num_runs, metavar="N", help="exactly N timed runs, instead of by duration")
    seconds = " (default: %g)"
    add("--duration", type=positive, metavar="S", help="latency phase, seconds" + seconds % defaults.duration_s)
    add("--warmup", type=positive, metavar="S", help="warm-up, seconds" + seconds % defaults.warmup_s)
    add("--deadline-ms", type=positive, metavar="MS", help="count the inferences that take longer")
    add("--period-ms", type=positive, metavar="MS", help="release an inference every so often, as a camera does")
    add("--idle-s", type=positive, metavar="S", help="idle power, seconds" + seconds % defaults.idle_s)
    add("--energy-s", type=positive, metavar="S", help="energy phase, seconds" + seconds % defaults.energy_s)
    add(
        "--layers",
        action="store_true",
        default=None,
        help="in the end profile how long each layer takes, in a phase of its own that changes no other figure",
    )
    add(
        "--max-other-load",
        type=positive,
        default=defaults.max_other_load,
        metavar="SHARE",
        help="share of all processor time that other programs may use before the run is invalid",
    )


def _add_backend(run: argparse.ArgumentParser) -> None:
    group = run.add_argument_group("runtime")
    arguments.add_backend(group)
    group.add_argument("--batch", type=arguments.positive_int, metavar="N", help="examples at once, where the file can")


def _run(given: argparse.Namespace) -> int:
    settings = _settings(given)
    _check_usage(given)
    source = open_source(given.source) if given.cmd is None else open_command(given.cmd)
    if not source.words:
        output.refuse_inside("--output", given.output, source.path)

    def save(record: Dict[str, Any]) -> None:
        try:
            atomic.write_json(given.output, record)
        except OSError as error:
            raise EdgeBenchError(
                "cannot write %s (%s); make room or give another path with --output"
                % (given.output, error.strerror or error)
            ) from error

    run = Run(source, settings, save, output.progress_writer(), journal_path(given.output))
    with _earlier_kept(given.output, run.record):
        try:
            record = run.measure()
        except KeyboardInterrupt:
            output.say(_interrupted(run.record["status"]) % given.output)
            return output.EXIT_INTERRUPTED
    output.print_result(record, render.render_measurement, given.json)
    if record["status"] == "failed":
        output.say("error: the outputs do not match the bundle's reference; nothing was timed. See 'check' in the file")
        return output.EXIT_FAILED
    if record["invalid"]:
        return output.EXIT_INVALID
    return output.EXIT_WARNINGS if given.strict and record["warnings"] else output.EXIT_DONE


def _interrupted(status: str) -> str:
    if status == "complete":
        return "interrupted while the layers were profiled: all else is in %s, and valid as it says"
    return "interrupted: what was measured so far is in %s, marked partial"


def _check_usage(given: argparse.Namespace) -> None:
    """Ends with a line on usage where flags contradict each other: what one asks for, another would silently drop."""
    if (given.source is None) == (given.cmd is None):
        given.fail("say either SOURCE or --cmd COMMAND")
    output.refuse_dash(given, "--output", given.output)
    if given.cmd is not None:
        arguments.refuse_given(given, "--cmd", "backend", "provider", "threads", "buffers", "batch", "layers")
    arguments.check_backend(given)
    if given.source is not None and given.source.endswith((".engine", ".plan")):
        arguments.refuse_given(given, "an engine", "provider", "threads")
    if given.runs is not None:
        arguments.refuse_given(given, "--runs", "duration")
    if given.power == "none":
        arguments.refuse_given(given, "--power none", "idle_s", "energy_s")
    if given.backend == "trtexec":  # it runs as fast as it goes, and warms up by itself
        arguments.refuse_given(given, "--backend trtexec", "period_ms", "warmup")


@contextlib.contextmanager
def _earlier_kept(path: str, record: Dict[str, Any]) -> Iterator[None]:
    """A complete measurement that lies at `path` goes when the new one is complete too, and not before."""
    kept = path + ".before"
    try:
        if schema.read_measurement(path)["status"] != "complete":
            raise OSError
        os.link(path, kept)
    except (OSError, EdgeBenchError):
        kept = ""  # nothing to keep; or its file system knows no links, or another one is kept already
    try:
        yield
    finally:
        if kept and (record["status"] == "complete" or os.path.samefile(path, kept)):
            os.unlink(kept)
        elif kept:
            output.say("the earlier measurement is in %s" % kept)


def _settings(given: argparse.Namespace) -> Settings:
    """What was given; the rest as Settings has it."""
    power = power_arguments.power_choice(given)
    values = {
        "num_runs": given.runs,
        "duration_s": given.duration,
        "warmup_s": given.warmup,
        "num_threads": given.threads,
        "backend": given.backend,
        "provider": given.provider,
        "batch": given.batch,
        "buffers": given.buffers,
        "deadline_s": _seconds(given.deadline_ms),
        "period_s": _seconds(given.period_ms),
        "idle_s": given.idle_s,
        "energy_s": given.energy_s,
        "power": power.source,
        "power_command": power.command,
        "power_interval_s": power.interval_s,
        "max_other_load": given.max_other_load,
        "layers": given.layers,
        "root": given.root,
    }
    return Settings(**{key: value for key, value in values.items() if value is not None})


def _seconds(milliseconds: Any) -> Any:
    return None if milliseconds is None else milliseconds / 1e3
