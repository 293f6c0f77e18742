"""`edge-bench parse`: what tegrastats or trtexec wrote, as JSON lines or for a person."""

import argparse
import json
from typing import Any, BinaryIO, Dict, Iterator, Tuple

from edge_bench.commands import arguments, output
from edge_bench.errors import EdgeBenchError
from edge_bench.logs import report, trtexec
from edge_bench.logs.lines import TEGRASTATS, TRTEXEC_JSON, TRTEXEC_TEXT, detect, open_log, read_lines, read_rest
from edge_bench.logs.statistics import LogStatistics
from edge_bench.logs.tegrastats import parse_line


def add_arguments(parse: argparse.ArgumentParser) -> None:
    """Its command line."""
    parse.description = (
        "Read what tegrastats wrote, or trtexec (its text, --exportTimes or --exportProfile). "
        "Prints a line for each sample; a trtexec run as a summary."
    )
    add_log(parse)
    parse.add_argument("--format", choices=("auto", "tegrastats", "trtexec"), default="auto", help="what wrote it")
    parse.add_argument("--stats", action="store_true", help="the whole log: power and energy of each rail, or latency")
    parse.add_argument(
        "--warmup",
        type=arguments.not_negative,
        metavar="S",
        help="warm-up of the trtexec run, which is cut from its times: its --warmUp, in seconds (default: %g)"
        % trtexec.DEFAULT_WARMUP_S,
    )
    parse.add_argument("--json", action="store_true", help="print JSON, one object a line, instead of text")
    parse.set_defaults(handler=_parse, fail=parse.error)


def add_log(parser: argparse.ArgumentParser) -> None:
    """What commands that read a log have in common."""
    parser.add_argument("log", metavar="LOG", help="a file, or - for stdin")
    parser.add_argument(
        "--interval", type=arguments.positive, metavar="S", help="time from line to line, instead of the time stamps"
    )


def _parse(given: argparse.Namespace) -> int:
    if given.interval is not None and not given.stats:
        given.fail("--interval S is for the energy of --stats")
    with open_log(given.log) as stream:
        kind, head = detect(stream)
        if given.format == "tegrastats":
            kind = TEGRASTATS
        elif given.format == "trtexec" and kind != TRTEXEC_JSON:
            kind = TRTEXEC_TEXT
        if kind in (TRTEXEC_JSON, TRTEXEC_TEXT) and given.interval is not None:
            given.fail("--interval S is for lines of tegrastats, which this is not")
        if kind in (TEGRASTATS, TRTEXEC_TEXT) and given.warmup is not None:
            given.fail("--warmup S is for the times of trtexec (--exportTimes), which this is not")
        if kind == TEGRASTATS:
            return _tegrastats(given, stream, head)
        if kind == TRTEXEC_JSON:
            data = read_rest(stream, head, trtexec.MAX_JSON_BYTES)
            warmup_s = trtexec.DEFAULT_WARMUP_S if given.warmup is None else given.warmup
            return _trtexec(given, trtexec.read_json(data, given.log, warmup_s))
        if kind == TRTEXEC_TEXT:
            return _trtexec(given, trtexec.read_text((line.text for line in read_lines(stream, head)), given.log))
    raise EdgeBenchError("%s: neither lines of tegrastats nor anything of trtexec; see --format" % given.log)


def _tegrastats(given: argparse.Namespace, stream: BinaryIO, head: bytes) -> int:
    if given.stats:
        return _statistics(given, stream, head)
    has_header = given.json
    for _, sample in samples(stream, head, given.log):
        if not has_header:
            output.print_text(report.HEADER)
            has_header = True
        output.print_text(json.dumps(sample, allow_nan=False) if given.json else report.row(sample))
    return output.EXIT_DONE


def _statistics(given: argparse.Namespace, stream: BinaryIO, head: bytes) -> int:
    """Of `tegrastats | edge-bench parse - --stats` Ctrl-C is the usual end: what was read so far counts."""
    whole, code = LogStatistics(given.interval), output.EXIT_DONE
    try:
        for number, sample in samples(stream, head, given.log):
            whole.add(sample, number)
    except KeyboardInterrupt:
        output.say("interrupted: this is what was read so far")
        code = output.EXIT_INTERRUPTED
    output.print_result(whole.result(), lambda result: "\n".join(report.statistics_lines(result)), given.json)
    return code


def samples(stream: BinaryIO, head: bytes, origin: str) -> Iterator[Tuple[int, Dict[str, Any]]]:
    """The samples of tegrastats in a log with their line numbers; says at the end what else was in it.

    The last line of a program that was killed may be cut in the middle of a number: without its end it is no sample.
    Raises EdgeBenchError for a log without samples.
    """
    num_samples, num_lines, cut = 0, 0, False
    for line in read_lines(stream, head):
        num_lines += 1
        sample = parse_line(line.text)
        cut = sample is not None and not line.has_end
        if sample is not None and not cut:
            num_samples += 1
            yield num_lines, sample
    if num_samples == 0:
        raise EdgeBenchError("%s: no complete line of tegrastats among its %d line(s)" % (origin, num_lines))
    num_others = num_lines - num_samples - cut
    if num_others:
        output.say("%d of %d lines were no samples of tegrastats" % (num_others, num_lines))
    if cut:
        output.say("the last line has no end, so it may be cut in a number: left out")


def _trtexec(given: argparse.Namespace, result: Dict[str, Any]) -> int:
    each = result.get("queries", result.get("layers"))
    if given.json and each is not None and not given.stats:
        for one in each:
            output.print_text(json.dumps(one, allow_nan=False))
        return output.EXIT_DONE
    result.pop("queries", None)
    output.print_result(result, lambda result: "\n".join(report.trtexec_lines(result)), given.json)
    return output.EXIT_DONE
