"""`edge-bench replay`: a recorded tegrastats log in the place of a live one."""

import argparse
import time
from typing import Any, Dict, List

from edge_bench import schema
from edge_bench.commands import arguments, output
from edge_bench.commands.parse import add_log, samples
from edge_bench.errors import EdgeBenchError
from edge_bench.logs import report
from edge_bench.logs.lines import open_log, read_lines
from edge_bench.logs.playback import DEFAULT_INTERVAL_S, timed_lines
from edge_bench.logs.statistics import LogStatistics
from edge_bench.power.totals import total_of
from edge_bench.render import format_seconds, to_ascii


def add_arguments(replay: argparse.ArgumentParser) -> None:
    """Its command line."""
    replay.description = (
        "Show what the energy window of a run would make of a recorded tegrastats log. With --print it is "
        "the program: it writes the lines at the times at which they were recorded, until it is ended."
    )
    add_log(replay)
    replay.add_argument("--print", action="store_true", dest="play", help="write the lines, as tegrastats would")
    replay.add_argument("--speed", type=arguments.positive, metavar="X", help="with --print: times faster")
    replay.add_argument("--loop", action="store_true", help="with --print: begin again at the end")
    arguments.add_json(replay)
    replay.set_defaults(handler=_replay, fail=replay.error)


def _replay(given: argparse.Namespace) -> int:
    if not given.play and (given.loop or given.speed is not None):
        given.fail("--speed and --loop are for --print")
    if given.play and given.json:
        given.fail("--print writes the lines of the log; --json is for the summary")
    if given.loop and given.log == "-":
        given.fail("--loop needs a file, stdin cannot be read again")
    return _play(given) if given.play else _summarise(given)


def _play(given: argparse.Namespace) -> int:
    """Being ended, or a reader that goes away, is the normal end of such a program."""
    speed = given.speed or 1.0
    try:
        begin_s = time.monotonic()
        last_s = _play_once(given, begin_s, speed)
        while given.loop:
            begin_s = last_s + (given.interval or DEFAULT_INTERVAL_S) / speed
            last_s = _play_once(given, begin_s, speed)
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    return output.EXIT_DONE


def _play_once(given: argparse.Namespace, begin_s: float, speed: float) -> float:
    """From `begin_s` on; gives the time of the last line. Raises EdgeBenchError for a log without lines."""
    due_s = None
    with open_log(given.log) as stream:
        for timed in timed_lines((line.text for line in read_lines(stream)), given.interval):
            due_s = begin_s + timed.time_s / speed
            time.sleep(max(due_s - time.monotonic(), 0.0))
            output.print_text(to_ascii(timed.text.replace("\t", " ")))
    if due_s is None:
        raise EdgeBenchError("log %s: empty, nothing to replay" % given.log)
    return due_s


def _summarise(given: argparse.Namespace) -> int:
    whole = LogStatistics(given.interval)
    with open_log(given.log) as stream:
        for number, sample in samples(stream, b"", given.log):
            whole.add(sample, number)
    result = _window(given.log, whole.result())
    output.print_result(result, lambda window: "\n".join(_lines(window)), given.json)
    return output.EXIT_DONE if result["total"] else output.EXIT_INVALID


def _window(log: str, statistics: Dict[str, Any]) -> Dict[str, Any]:
    """log, is_recorded, total (rails, scope, mean_power_w, energy_j; or null), unavailable, warnings, statistics."""
    power, unavailable = statistics["power"], []
    rails = total_of(power)
    total = None
    if rails is None:
        reason = "the log has no rails" if not power else "no known set of its rails is the whole"
        unavailable.append(schema.unavailable("energy", reason, "record on a board with a sensor, as root"))
    elif any(power[rail]["energy_j"] is None for rail in rails[0]):
        reason = "the lines of these rails have no time stamps that move on"
        unavailable.append(schema.unavailable("energy", reason, "give the time from line to line with --interval S"))
    else:
        total = {
            "rails": list(rails[0]),
            "scope": rails[1],
            "mean_power_w": sum(power[rail]["mean_power_w"] for rail in rails[0]),
            "energy_j": sum(power[rail]["energy_j"] for rail in rails[0]),
        }
    return {
        "log": log,
        "is_recorded": True,
        "total": total,
        "unavailable": unavailable,
        "warnings": report.warnings(statistics),
        "statistics": statistics,
    }


def _lines(window: Dict[str, Any]) -> List[str]:
    lines = ["%-18s %s: recorded data, not measured now" % ("replayed", to_ascii(window["log"]))]
    total = window["total"]
    if total:
        duration = format_seconds(window["statistics"]["duration_s"])
        energy = "%.6g J in %s, mean %.4g W" % (total["energy_j"], duration, total["mean_power_w"])
        lines.append("%-18s %s" % ("energy", energy))
        lines.append("%-18s %s (recorded tegrastats, %s)" % ("scope", total["scope"], " + ".join(total["rails"])))
    lines.extend("not measured %s: %s; %s" % (one["what"], one["reason"], one["fix"]) for one in window["unavailable"])
    return lines + report.statistics_lines(window["statistics"])
