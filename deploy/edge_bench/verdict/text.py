"""Verdicts and comparisons for a terminal: ASCII, at most 80 columns."""

import textwrap
from typing import Any, Dict, List, Optional

from edge_bench.render import to_ascii

_WIDTH = 80


def render_verdicts(result: Dict[str, Any]) -> str:
    """The result of `edge-bench validate`: a table per measurement, the verdict over all of them last."""
    lines = []  # type: List[str]
    for judged in result["measurements"]:
        bundle = judged["bundle"]
        lines.extend(_wrapped("%s: %s (%s)" % (judged["measurement"], bundle["name"], bundle["role"])))
        lines.extend(_wrapped(judged["board_state"], "  "))
        lines.append("  %-15s %13s %11s  %-22s %s" % ("requirement", "limit", "measured", "95 % interval", "verdict"))
        for entry in judged["requirements"]:
            lines.append("  " + requirement_line(entry))
            if entry["verdict"] != "PASS":
                lines.extend(_wrapped(entry["reason"], " " * 6))
        lines.append("")
    lines.append("result: %s" % result["verdict"])
    return "\n".join(to_ascii(line).rstrip() for line in lines)


def requirement_line(entry: Dict[str, Any]) -> str:
    """One requirement: limit, value, interval and verdict."""
    limit = ("%s %.6g %s" % (">=" if entry["is_minimum"] else "<=", entry["limit"], entry["unit"])).rstrip()
    value = "-" if entry["value"] is None else quantity(entry["value"], entry["unit"])
    line = "%-15s %13s %11s  %-22s %s" % (
        entry["label"],
        limit,
        value,
        _interval(entry["low"], entry["high"], 4 if entry["unit"] else 3),
        entry["verdict"],
    )
    return line.rstrip()


def render_comparisons(result: Dict[str, Any]) -> str:
    """The result of `edge-bench compare`: the sides, the board, a table, and what to keep in mind."""
    lines = []  # type: List[str]
    for compared in result["comparisons"]:
        for name in ("a", "b"):
            side = compared[name]
            what = "%s (%s), %d run(s), id %s" % (side["name"], side["role"], len(side["files"]), side["id"][:12])
            lines.extend(_wrapped("%s  %s" % (name.upper(), what), "", "   "))
            lines.extend(_wrapped(side["board_state"], "   "))
        if compared["forced"]:
            lines.extend(_wrapped("FORCED: these runs are not comparable", "", "   "))
        label = "REFUSED" if compared["refused"] else "FORCED" if compared["forced"] else ""
        for reason in compared["reasons"]:
            lines.extend(_wrapped("%s: %s" % (label, reason), "", "   "))
        if compared["rows"]:
            lines.append("%-14s %10s %10s  %-23s%s" % ("", "A", "B", "B/A, 95 % interval", "B is"))
            for row in compared["rows"]:
                lines.extend(_row_lines(row))
        for caveat in compared["caveats"]:
            lines.extend(_wrapped("note: %s" % caveat, "", "   "))
        lines.append("")
    return "\n".join(to_ascii(line).rstrip() for line in lines).rstrip()


def _row_lines(row: Dict[str, Any]) -> List[str]:
    a, b = (scaled(row[side], row["unit"]) for side in ("a", "b"))
    ratio = "-" if row["ratio"] is None else "%.3g [%.4g, %.4g]" % (row["ratio"], row["ratio_low"], row["ratio_high"])
    lines = ["%-14s %10s %10s  %-23s%s" % (row["label"], a, b, ratio, row["verdict"])]
    if row["difference"] is not None:
        words = tuple(scaled(row[key], row["unit"]) for key in ("difference", "difference_low", "difference_high"))
        lines.append("%-14s %21s  [%s .. %s]" % ("", "B - A: " + words[0], words[1], words[2]))
    if row["reason"]:
        lines.extend(_wrapped(row["reason"], " " * 6))
    return lines


def quantity(value: float, unit: str) -> str:
    """A value in its unit, with four digits."""
    return ("%.4g %s" % (value, unit)).rstrip()


def scaled(value: Optional[float], unit: str) -> str:
    """A value in SI with a prefix that suits it; bytes in MiB."""
    if value is None:
        return "-"
    if unit == "bytes":
        return "%.4g MiB" % (value / 1048576.0)
    for factor, prefix in ((1.0, ""), (1e3, "m"), (1e6, "u")):
        if abs(value) * factor >= 1.0:
            return "%.4g %s%s" % (value * factor, prefix, unit)
    return "%.4g %s%s" % (value * 1e9, "n" if value else "", unit)


def _interval(low: Optional[float], high: Optional[float], num_digits: int) -> str:
    if low is None and high is None:
        return "-"
    return "[%s .. %s]" % tuple("?" if bound is None else "%.*g" % (num_digits, bound) for bound in (low, high))


def _wrapped(text: str, first: str = "", rest: Optional[str] = None) -> List[str]:
    rest = first if rest is None else rest
    return textwrap.wrap(to_ascii(text), _WIDTH, initial_indent=first, subsequent_indent=rest) or [first]
