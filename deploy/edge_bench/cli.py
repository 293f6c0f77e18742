"""edge-bench: measure a bundle on this board.

Results go to stdout, progress to stderr. Exit codes: 0 done, 1 failed, 2 usage, 3 done with warnings under --strict,
4 an invalid run, 130 interrupted (what was measured is in the output file, marked partial).
"""

import argparse
import json
import os
import signal
import sys
import time
from typing import Any, Callable, Dict, List, Optional

from edge_bench import __version__, atomic, render, schema
from edge_bench.bundle import open_bundle
from edge_bench.doctor import diagnose
from edge_bench.errors import EdgeBenchError
from edge_bench.run import Progress, Run, Settings
from edge_bench.signature import signature_path, verify_signature

EXIT_DONE, EXIT_FAILED, EXIT_USAGE, EXIT_WARNINGS, EXIT_INVALID, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 130


def main(argv: Optional[List[str]] = None) -> int:
    """Run one command; returns the exit code and never lets a user's mistake end in a traceback."""
    _replace_closed_streams()
    arguments = build_parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup it stays ignored
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        return arguments.handler(arguments)  # type: ignore[no-any-return,unused-ignore]
    except KeyboardInterrupt:
        _say("interrupted")
        return EXIT_INTERRUPTED
    except EdgeBenchError as error:
        _say("error: %s" % error)
        return EXIT_FAILED
    except BrokenPipeError:
        return EXIT_FAILED  # the reader of our output went away: `edge-bench show M.json | head`
    except OSError as error:
        _say("error: %s" % error)
        return EXIT_FAILED


def build_parser() -> argparse.ArgumentParser:
    """The command line; every default is shown in the help."""
    show_defaults = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(prog="edge-bench", description="Measure a bundle on this board.")
    parser.add_argument("--version", action="version", version="edge-bench " + __version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True  # an argument of add_subparsers only from Python 3.7 on

    run = commands.add_parser("run", help="verify and measure a bundle", formatter_class=show_defaults)
    defaults = Settings()
    run.add_argument("bundle", metavar="BUNDLE", help="folder or .tar that `edge-dendrite export` wrote")
    run.add_argument("--output", default="measurement.json", metavar="FILE", help="where the measurement is written")
    run.add_argument("--runs", type=_num_runs, metavar="N", help="exactly N timed runs, instead of by duration")
    run.add_argument(
        "--duration", type=_positive, default=defaults.duration_s, metavar="S", help="latency phase, seconds"
    )
    run.add_argument("--warmup", type=_positive, default=defaults.warmup_s, metavar="S", help="warm-up, seconds")
    run.add_argument(
        "--threads", type=_positive_int, default=defaults.num_threads, metavar="N", help="intra-op threads"
    )
    run.add_argument("--provider", metavar="NAME", help="onnxruntime provider, else the one that the runtime prefers")
    run.add_argument("--idle-s", type=_positive, default=defaults.idle_s, metavar="S", help="idle power, seconds")
    run.add_argument("--energy-s", type=_positive, default=defaults.energy_s, metavar="S", help="energy phase, seconds")
    run.add_argument(
        "--max-other-load",
        type=_positive,
        default=defaults.max_other_load,
        metavar="SHARE",
        help="share of all processor time that other programs may use before the run is invalid",
    )
    run.add_argument("--strict", action="store_true", help="exit with 3 when there are warnings")
    _add_json(run)
    run.set_defaults(handler=_run)

    verify = commands.add_parser("verify", help="check that a bundle is whole, and who signed it")
    verify.add_argument("bundle", metavar="BUNDLE", help="folder or .tar that `edge-dendrite export` wrote")
    verify.add_argument("--allowed-signers", metavar="FILE", help="who may sign, with which key: see ssh-keygen(1)")
    verify.add_argument("--signer", metavar="NAME", help="who must have signed, a name in that file")
    verify.add_argument("--signature", metavar="FILE", help="detached signature (default: BUNDLE.sig)")
    _add_json(verify)
    verify.set_defaults(handler=_verify, fail=verify.error)

    doctor = commands.add_parser("doctor", help="what this board is and can do", formatter_class=show_defaults)
    _add_json(doctor)
    doctor.set_defaults(handler=_doctor)

    show = commands.add_parser("show", help="print a measurement", formatter_class=show_defaults)
    show.add_argument("measurement", metavar="FILE", help="what `edge-bench run` wrote")
    _add_json(show)
    show.set_defaults(handler=_show)
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("%s is not a positive number" % text)
    return value


def _positive_int(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value <= 0:
        raise argparse.ArgumentTypeError("%s is not a positive whole number" % text)
    return value


def _num_runs(text: str) -> int:
    value = _positive_int(text)
    if value > schema.MAX_SAMPLES:
        raise argparse.ArgumentTypeError("a measurement holds at most %d samples" % schema.MAX_SAMPLES)
    return value


def _run(arguments: argparse.Namespace) -> int:
    settings = Settings(
        num_runs=arguments.runs,
        duration_s=arguments.duration,
        warmup_s=arguments.warmup,
        num_threads=arguments.threads,
        provider=arguments.provider,
        idle_s=arguments.idle_s,
        energy_s=arguments.energy_s,
        max_other_load=arguments.max_other_load,
    )
    bundle = open_bundle(arguments.bundle)
    output, source = os.path.realpath(arguments.output), os.path.realpath(arguments.bundle)
    if output == source or output.startswith(source + os.sep):
        raise EdgeBenchError("--output %s lies in the bundle, which may hold nothing else" % arguments.output)

    def save(record: Dict[str, Any]) -> None:
        try:
            atomic.write_json(arguments.output, record)
        except OSError as error:
            raise EdgeBenchError(
                "cannot write %s (%s); make room or give another path with --output"
                % (arguments.output, error.strerror or error)
            ) from error

    run = Run(bundle, settings, save, _progress_writer())
    try:
        record = run.measure()
    except KeyboardInterrupt:
        _say("interrupted: what was measured so far is in %s, marked partial" % arguments.output)
        return EXIT_INTERRUPTED
    _print_result(record, render.render_measurement, arguments.json)
    if record["status"] == "failed":
        _say("error: the outputs do not match the bundle's reference; nothing was timed. See 'check' in the file")
        return EXIT_FAILED
    if record["invalid"]:
        return EXIT_INVALID
    return EXIT_WARNINGS if arguments.strict and record["warnings"] else EXIT_DONE


def _verify(arguments: argparse.Namespace) -> int:
    wanted = (arguments.allowed_signers, arguments.signer)
    if any(value is not None for value in wanted + (arguments.signature,)) and not all(wanted):
        arguments.fail("a signature is checked with both --allowed-signers FILE and --signer NAME")
    bundle = open_bundle(arguments.bundle)
    if arguments.signer:
        signature = arguments.signature or signature_path(bundle.path)
        verify_signature(bundle, signature, arguments.allowed_signers, arguments.signer)
    result = {"path": bundle.path, "id": bundle.id, "signer": arguments.signer}
    _print_result(result, render.render_verified, arguments.json)
    return EXIT_DONE


def _doctor(arguments: argparse.Namespace) -> int:
    _print_result(diagnose(), render.render_diagnosis, arguments.json)
    return EXIT_DONE


def _show(arguments: argparse.Namespace) -> int:
    record = schema.read_measurement(arguments.measurement)
    _print_result(record, render.render_measurement, arguments.json)
    return EXIT_INVALID if record["invalid"] or record["status"] != "complete" else EXIT_DONE


def _print_result(result: Dict[str, Any], to_text: Callable[[Dict[str, Any]], str], as_json: bool) -> None:
    try:
        print(json.dumps(result, sort_keys=True) if as_json else to_text(result))
        sys.stdout.flush()
    except OSError as error:
        _silence(1)
        if isinstance(error, BrokenPipeError):
            raise
        raise EdgeBenchError("cannot write to stdout (%s)" % (error.strerror or error)) from error


def _progress_writer() -> Progress:
    """A bar on a terminal; elsewhere a line per phase and fifth of it, `edge-bench: PHASE N %`: hosts may read it."""
    on_terminal = sys.stderr.isatty()
    seen = {"phase": "", "drawn": 0.0, "fifth": 0}  # type: Dict[str, Any]

    def progress(phase: str, share: float) -> None:
        new_phase = phase != seen["phase"]
        now = time.perf_counter()
        if on_terminal and (new_phase or share >= 1.0 or now - seen["drawn"] > 0.1):
            bar = "#" * int(30 * share)
            _write("\r%-12s [%-30s] %3.0f %%" % (phase, bar, 100 * share) + ("\n" if share >= 1.0 else ""))
            seen["drawn"] = now
        fifth = int(5 * share)
        if not on_terminal and (new_phase or fifth > seen["fifth"]):
            _say("%s %d %%" % (phase, 20 * fifth))
        seen["phase"], seen["fifth"] = phase, fifth

    return progress


def _say(text: str) -> None:
    _write("edge-bench: %s\n" % render.to_ascii(text))


def _write(text: str) -> None:
    """Write to stderr; a terminal that went away or a full disk there is no reason to lose a measurement."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        _silence(2)


def _silence(descriptor: int) -> None:
    """Send a broken stream to the null device: Python tries to write the rest at its end and would exit with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def _replace_closed_streams() -> None:
    """Started with `>&-` Python has no stdout, and the next file that is opened would get stdout's number."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - stays open


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt()
