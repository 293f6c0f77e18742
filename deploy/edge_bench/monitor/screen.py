"""A sample of the board as lines of a terminal: ASCII, as wide and as high as there is room, coloured on request.

A line is made of pieces (text, colour), so that it can be cut to a width before control sequences come in.
"""

import time
from typing import Any, Dict, List, Optional, Sequence, Tuple

from edge_bench.board.files import natural_order
from edge_bench.monitor.history import History
from edge_bench.render import to_ascii

Piece = Tuple[str, str]
Line = List[Piece]

_COLOURS = {"": "", "head": "\x1b[1m", "dim": "\x1b[2m", "good": "\x1b[32m", "warm": "\x1b[33m", "hot": "\x1b[1;31m"}
_OFF = "\x1b[0m"
_GIB, _MIB = float(1 << 30), float(1 << 20)
_LABEL = 8
_LEVELS = " .:-=+*#%@"
_PROGRAM = "edge-bench monitor  "
_MIN_WIDTH, _MIN_CORE_WIDTH = 20, 30


def draw(
    sample: Dict[str, Any], title: str, history: History, size: Tuple[int, int], hint: str, colour: bool = False
) -> List[str]:
    """At most `size` (columns, rows), one column less than the terminal has: nothing may wrap or scroll."""
    width, height = max(size[0] - 1, _MIN_WIDTH), max(size[1], 1)
    for cores, roomy in ((_cores, True), (_cores, False), (_core_map, True), (_core_map, False)):
        lines = [_head(sample, title, width)]
        for section in (
            _cpu(sample) + cores(sample, width),
            _gpu(sample, width) + _memory(sample, width),
            _power(sample, history, width),
            _heat(sample, width) + _fans(sample),
            _throttling(sample, width) + _problems(sample, width),
        ):
            lines += ([[]] if roomy and section else []) + section
        if len(lines) < height:
            break
    lines = lines[: height - 1] + [[(" " * max(width - len(hint), 0) + hint, "dim")]] if height > 1 else lines[:1]
    return [_join(line, width, colour) for line in lines]


def _join(line: Line, width: int, colour: bool) -> str:
    parts, left = [], width
    for text, style in line:
        text = to_ascii(text)[:left]
        left -= len(text)
        parts.append(_COLOURS[style] + text + _OFF if colour and style and text else text)
    return "".join(parts)


def _label(name: str) -> Piece:
    return ("%-*s" % (_LABEL, name), "head")


def _bar(share: Optional[float], width: int) -> Line:
    """Of a share from 0 to 1; a question mark where it is not known."""
    inner = max(width - 2, 4)
    if share is None:
        return [("[", ""), ("?" + " " * (inner - 1), "dim"), ("]", "")]
    full = int(round(min(max(share, 0.0), 1.0) * inner))
    style = "hot" if share > 0.9 else "warm" if share > 0.7 else "good"
    return [("[", ""), ("|" * full, style), (" " * (inner - full) + "]", "")]


def _percent(share: Optional[float]) -> str:
    return "   ? %" if share is None else "%4.0f %%" % (100 * share)


def _head(sample: Dict[str, Any], title: str, width: int) -> Line:
    right = time.strftime("%H:%M:%S", time.localtime(sample["time_s"]))
    if sample["power_mode"]:
        right = "%s  %s" % (sample["power_mode"], right)
    right = right[: width - 4]
    left = _PROGRAM + title if len(_PROGRAM + title) + len(right) < width else title
    left = left[: max(width - len(right) - 1, 0)]
    return [(left, "head"), (" " * (width - len(left) - len(right)), ""), (right, "")]


def _cpu(sample: Dict[str, Any]) -> List[Line]:
    loads, clocks = list(sample["cpu_load"].values()), list(sample["cpu_clocks_hz"].values())
    words = []
    if loads:
        words.append("%.0f %% of %d cores" % (100 * sum(loads) / len(loads), len(loads)))
    if clocks:
        low, high = min(clocks) / 1e6, max(clocks) / 1e6
        words.append("%.0f MHz" % high if high - low < 1 else "%.0f to %.0f MHz" % (low, high))
    governors = ", ".join(sorted(set(sample["governors"].values())))
    words += [governors] if governors else []
    words += {"yes": ["clocks pinned"], "no": ["clocks not pinned"]}.get(sample["clocks_pinned"], [])
    return [[_label("CPU"), (", ".join(words) or "load not readable (/proc/stat)", "")]]


def _cores(sample: Dict[str, Any], width: int) -> List[Line]:
    """A bar for each core, in as many columns as fit, numbered downwards."""
    names = sorted(set(sample["cpu_load"]) | set(sample["cpu_clocks_hz"]), key=natural_order)
    columns = max(min(width // _MIN_CORE_WIDTH, 4, (len(names) + 3) // 4), 1)
    each, rows = width // columns, -(-len(names) // columns)
    lines = []
    for row in range(rows):
        line = []  # type: Line
        for name in names[row::rows]:
            line += _core(name, sample, each)
        lines.append(line)
    return lines


def _core(name: str, sample: Dict[str, Any], width: int) -> Line:
    load, clock = sample["cpu_load"].get(name), sample["cpu_clocks_hz"].get(name)
    end = "%s %8s  " % (_percent(load), "%.0f MHz" % (clock / 1e6) if clock is not None else "")
    head = "%4s " % name[len("cpu") :]
    return [(head, "")] + _bar(load, width - len(head) - len(end)) + [(end, "")]


def _core_map(sample: Dict[str, Any], width: int) -> List[Line]:
    """A character for each core, for many of them or a low terminal."""
    loads = [sample["cpu_load"][name] for name in sorted(sample["cpu_load"], key=natural_order)]
    room = max(width - _LABEL - 2, 1)
    text = scale(loads, 0.0, 1.0)
    parts = [text[start : start + room] for start in range(0, len(text), room)]
    return [[(" " * _LABEL, ""), ("[%s]" % part, "good")] for part in parts]


def scale(values: Sequence[float], low: float, high: float) -> str:
    """A row of characters, the denser the higher the value."""
    top = len(_LEVELS) - 1
    shares = [(value - low) / (high - low) if high > low else 0.5 for value in values]
    return "".join(_LEVELS[int(round(min(max(share, 0.0), 1.0) * top))] for share in shares)


def _gpu(sample: Dict[str, Any], width: int) -> List[Line]:
    lines = []
    for name in sorted(sample["gpu_clocks_hz"], key=natural_order):
        clock, highest = sample["gpu_clocks_hz"][name], sample["gpu_max_hz"].get(name)
        load = sample["gpu_load"].get(name)
        words = "" if clock is None else "  %.0f MHz" % (clock / 1e6)
        if clock is not None and highest:
            words = "  %.0f of %.0f MHz" % (clock / 1e6, highest / 1e6)
        label = "GPU" if len(sample["gpu_clocks_hz"]) == 1 else name.replace("gpu-", "")
        lines.append([_label(label)] + _bar(load, _bar_width(width)) + [(_percent(load) + words, "")])
    if sample["emc_clock_hz"] is not None:
        lines.append([_label("EMC"), ("%.0f MHz" % (sample["emc_clock_hz"] / 1e6), "")])
    return lines


def _bar_width(width: int) -> int:
    return max(min(width - _LABEL - 28, 60), 8)


def _memory(sample: Dict[str, Any], width: int) -> List[Line]:
    memory = sample["memory"]
    total, available = memory["total_bytes"], memory["available_bytes"]
    if not total or available is None:
        return [[_label("Memory"), ("not readable (/proc/meminfo)", "dim")]]
    used = total - available
    words = "  %.2f of %.2f GiB" % (used / _GIB, total / _GIB)
    lines = [[_label("Memory")] + _bar(used / float(total), _bar_width(width)) + [(words, "")]]
    if memory["swap_total_bytes"]:
        share = memory["swap_used_bytes"] / float(memory["swap_total_bytes"])
        words = "  %.0f of %.0f MiB" % (memory["swap_used_bytes"] / _MIB, memory["swap_total_bytes"] / _MIB)
        lines.append([_label("Swap")] + _bar(share, _bar_width(width)) + [(words, "")])
    return lines


def _power(sample: Dict[str, Any], history: History, width: int) -> List[Line]:
    if not sample["power_w"]:
        return [[_label("Power"), ("no sensor that can be read here", "dim")]]
    lines = []
    if sample["total_power_w"] is not None:
        lines.append(
            [_label("Power"), ("%7.3f W" % sample["total_power_w"], "head"), ("  %s" % sample["power_scope"], "")]
        )
        values = history.values[-(max(width - _LABEL - 28, 8)) :]
        if len(values) > 1:
            low, high = min(values), max(values)
            lines.append(
                [
                    (" " * _LABEL, ""),
                    ("%s" % scale(values, low - 0.15 * (high - low), high), "good"),
                    ("  %.2f to %.2f W" % (low, high), "dim"),
                ]
            )
    rails = ["%s %.3f W" % pair for pair in sorted(sample["power_w"].items())]
    if len(rails) > 1 or sample["total_power_w"] is None:
        lines += _flow("Rails", [(rail, "") for rail in rails], width)
    return lines


def _heat(sample: Dict[str, Any], width: int) -> List[Line]:
    pieces = []
    for name, celsius in sorted(sample["temperatures_c"].items(), key=lambda pair: -pair[1]):
        limit = sample["limits_c"].get(name)
        # Without a limit of the board's: hot to the touch, and where most boards begin to slow down.
        warm, hot = (limit - 15, limit - 3) if limit is not None else (70.0, 85.0)
        style = "hot" if celsius >= hot else "warm" if celsius >= warm else ""
        pieces.append(("%s %.1f C%s" % (name, celsius, "" if limit is None else " of %.0f" % limit), style))
    return _flow("Heat", pieces or [("no sensor that can be read here", "dim")], width)


def _fans(sample: Dict[str, Any]) -> List[Line]:
    words = []
    for _name, fan in sorted(sample["fans"].items()):
        words += ["pwm %.0f of 255" % fan["pwm"]] if fan["pwm"] is not None else []
        words += ["%.0f rpm" % fan["rpm"]] if fan["rpm"] is not None else []
    return [[_label("Fan"), (", ".join(words), "")]] if words else []


def _throttling(sample: Dict[str, Any], width: int) -> List[Line]:
    pieces = [(reason, "hot") for reason in sample["throttling"]]
    pieces += [("%s +%d since the start" % pair, "warm") for pair in sorted(sample["throttle_events"].items())]
    return _flow("Slowed", pieces or [("by nothing that can be read here", "dim")], width)


def _problems(sample: Dict[str, Any], width: int) -> List[Line]:
    return _flow("Missing", [(problem, "warm") for problem in sample["problems"]], width) if sample["problems"] else []


def _flow(label: str, pieces: List[Piece], width: int) -> List[Line]:
    """Pieces one after the other, in as many lines as they need."""
    lines, room = [[_label(label)]], width - _LABEL  # type: List[Line], int
    for text, style in pieces:
        if len(lines[-1]) > 1 and room < len(text):
            lines.append([(" " * _LABEL, "")])
            room = width - _LABEL
        lines[-1].append((text + "   ", style))
        room -= len(text) + 3
    return lines


def one_line(sample: Dict[str, Any]) -> str:
    """A sample for a log: what is known of it, in one line."""
    words = [time.strftime("%H:%M:%S", time.localtime(sample["time_s"]))]
    loads, clocks = list(sample["cpu_load"].values()), list(sample["cpu_clocks_hz"].values())
    if loads:
        words.append(
            "cpu %.0f %%%s" % (100 * sum(loads) / len(loads), " %.0f MHz" % (max(clocks) / 1e6) if clocks else "")
        )
    for name in sorted(sample["gpu_clocks_hz"]):
        load, clock = sample["gpu_load"].get(name), sample["gpu_clocks_hz"][name]
        known = ["%.0f %%" % (100 * load)] if load is not None else []
        known += ["%.0f MHz" % (clock / 1e6)] if clock is not None else []
        words.append("gpu %s" % (" ".join(known) or "?"))
    memory = sample["memory"]
    if memory["total_bytes"] and memory["available_bytes"] is not None:
        used = memory["total_bytes"] - memory["available_bytes"]
        words.append("memory %.2f of %.2f GiB" % (used / _GIB, memory["total_bytes"] / _GIB))
    if sample["temperatures_c"]:
        name, celsius = max(sample["temperatures_c"].items(), key=lambda pair: pair[1])
        words.append("%s %.1f C" % (name, celsius))
    if sample["total_power_w"] is not None:
        words.append("%.3f W (%s)" % (sample["total_power_w"], sample["power_scope"]))
    else:
        words += ["%s %.3f W" % pair for pair in sorted(sample["power_w"].items())]
    slowed = sample["throttling"] + ["%s +%d" % pair for pair in sorted(sample["throttle_events"].items())]
    words += ["slowed: " + ", ".join(slowed)] if slowed else []
    return to_ascii("  ".join(words))
