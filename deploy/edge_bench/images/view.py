"""The live view: the label large, confidences and the latency as bars, what the network sees; all of it ASCII."""

import os
from typing import Any, Dict, List, Optional, Tuple

from edge_bench.images.big_text import big_text
from edge_bench.images.classifier import Result
from edge_bench.images.image import Image
from edge_bench.images.tally import Tally
from edge_bench.render import format_seconds, to_ascii

# From dark to light on a dark terminal.
_SHADES = " .:-=+*#%@"
# A character of a terminal is about twice as high as wide.
_ASPECT = 2
_MAX_PREVIEW_ROWS = 16
_MIN_TEXT_COLUMNS = 40
# The title, two lines of latency, the counts.
_OTHER_ROWS = 4


class View:
    """Draws the state after an image into a screen of so many columns and rows."""

    def __init__(self, title: str, labels: Any, tally: Tally, with_preview: bool):
        """`labels`: a function from a class to its text."""
        self._title = title
        self._label = labels
        self._tally = tally
        self._with_preview = with_preview

    def draw(self, result: Result, num_dropped: Optional[int], columns: int, rows: int) -> List[str]:
        """At most `rows` - 1 lines of at most `columns` - 1 characters: a full line would scroll some terminals."""
        columns, rows = max(columns - 1, 1), max(rows - 1, 1)
        preview = self._preview(result.fitted, columns, rows) if self._with_preview else []
        indent = len(preview[0]) + 2 if preview else 0
        body = self._body(result, columns - indent, rows - _OTHER_ROWS)
        preview += [" " * (indent - 2)] * (len(body) - len(preview)) if preview else []
        if preview:
            body += [""] * (len(preview) - len(body))
            body = ["%s  %s" % pair for pair in zip(preview, body)]
        lines = [self._title] + body + self._latency(result, columns) + [self._counts(num_dropped)]
        return [to_ascii(line)[:columns].rstrip() for line in lines[:rows]]

    def _body(self, result: Result, columns: int, num_rows: int) -> List[str]:
        lines = big_text(to_ascii(self._label(result.top[0][0])), columns) + [self._truth(result)]
        texts = [self._label(number) for number, _ in result.top]
        width = min(max(map(len, texts)), max(columns // 3, 1))
        for text, (_, confidence) in list(zip(texts, result.top))[: max(num_rows - len(lines), 1)]:
            size = max(columns - width - 12, 4)
            lines.append("%-*s [%s] %5.1f %%" % (width, text[:width], bar(confidence, size), 100 * confidence))
        return lines

    def _truth(self, result: Result) -> str:
        name = os.path.basename(result.name)
        if result.is_correct is None:
            return name
        return "%s   %s" % ("correct" if result.is_correct else "WRONG, is " + self._label(result.truth), name)

    def _latency(self, result: Result, columns: int) -> List[str]:
        total_s, deadline_s = result.times_s["total_s"], self._tally.deadline_s
        line = "latency %9s" % format_seconds(total_s)
        if deadline_s is not None:
            end = "] of %s %s" % (format_seconds(deadline_s), "MISSED" if total_s > deadline_s else "met")
            line += " [" + bar(total_s / deadline_s, max(columns - len(line) - len(end) - 3, 4)) + end
        return [line, "        " + ", ".join(parts_of(result.times_s))]

    def _counts(self, num_dropped: Optional[int]) -> str:
        tally = self._tally
        parts = ["images %d" % tally.num_images, "%.1f/s" % tally.rate()]
        if tally.deadline_s is not None:
            parts.append("missed %d (%.1f %%)" % (tally.num_missed, 100.0 * tally.num_missed / tally.num_images))
        if tally.num_labelled:
            parts.append("accuracy %.2f %%" % (100.0 * tally.num_correct / tally.num_labelled))
        if tally.num_failed:
            parts.append("broken %d" % tally.num_failed)
        if num_dropped is not None:
            parts.append("dropped %d" % num_dropped)
        return "   ".join(parts)

    def _preview(self, image: Image, columns: int, rows: int) -> List[str]:
        most_columns = min(columns - _MIN_TEXT_COLUMNS, columns // 2)
        most_rows = min(rows - _OTHER_ROWS, _MAX_PREVIEW_ROWS)
        if most_columns < 8 or most_rows < 4:
            return []
        return shades(image, most_columns, most_rows)


def shades(image: Image, max_columns: int, max_rows: int) -> List[str]:
    """The image in characters, its sides in their proportion, each character the mean of what lies under it."""
    scale = min(max_columns / float(_ASPECT * image.width), max_rows / float(image.height))
    num_columns = min(max(int(_ASPECT * image.width * scale), 1), max_columns)
    num_rows = min(max(int(image.height * scale), 1), max_rows)
    return [
        "".join(_SHADES[_mean(image, x, y, num_columns, num_rows) * len(_SHADES) // 256] for x in range(num_columns))
        for y in range(num_rows)
    ]


def _mean(image: Image, column: int, row: int, num_columns: int, num_rows: int) -> int:
    left, right = _span(column, num_columns, image.width)
    total = count = 0
    for y in range(*_span(row, num_rows, image.height)):
        start = y * image.width
        values = image.pixels[(start + left) * image.channels : (start + right) * image.channels]
        total += sum(values)
        count += len(values)
    return total // count


def _span(place: int, num_places: int, size: int) -> Tuple[int, int]:
    """The pixels under a place; one at least."""
    first = min(place * size // num_places, size - 1)
    return first, max((place + 1) * size // num_places, first + 1)


def bar(share: float, size: int) -> str:
    """`size` characters, of which `share` is filled; what is above 1 fills all."""
    filled = int(round(min(max(share, 0.0), 1.0) * size))
    return "#" * filled + "." * (size - filled)


def parts_of(times_s: Dict[str, float]) -> List[str]:
    """What a latency is made of, in the order in which it happens; waiting only where there is some."""
    names = ("wait_s", "decode_s", "preprocess_s", "inference_s")
    kept = [name for name in names if name != "wait_s" or times_s[name] > 0.0]
    return ["%s %s" % (name[: -len("_s")], format_seconds(times_s[name])) for name in kept]
