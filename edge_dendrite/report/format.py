"""How numbers and foreign texts look in a report: the one place where SI values get their printed unit."""

from __future__ import annotations

import math
import re

_DIGIT_THEN_UNIT = re.compile(
    r"(?<=\d) (?=(?:%|[n\N{MICRO SIGN}m]?s|[\N{MICRO SIGN}m]?J|m?W|[kMG]?B|C|/s|[kMG]|points)(?![A-Za-z]))"
)
_MICRO = re.compile(r"(?<=\d )u(?=[sJ](?![A-Za-z]))")
_MINUS = re.compile(r"(?<![^\s(\[])-(?=\d)")


def clean_text(value: object, limit: int = 200) -> str:
    """A text from a file on one line: what is not printable (controls, bidi marks, lone surrogates) is a space."""
    text = "".join(char if char.isprintable() else " " for char in str(value)[: 2 * limit])
    return shorten(" ".join(text.split()), limit)


def shorten(text: str, limit: int) -> str:
    """The text, or its beginning and an ellipsis, `limit` characters at most."""
    return text if len(text) <= limit else text[: max(1, limit - 3)].rstrip() + "..."


def squeeze(text: str, limit: int) -> str:
    """The text with its middle left out, `limit` characters at most: names often differ at their ends."""
    if len(text) <= limit:
        return text
    tail = max(0, (limit - 3) * 2 // 5)
    return f"{text[: max(1, limit - 3 - tail)].rstrip()}...{text[len(text) - tail :]}"


def typographic(text: str) -> str:
    """The same text for a page: a true minus, micro sign and arrow, and no line break before a unit."""
    if text == "-":
        return "\N{EN DASH}"
    text = _MINUS.sub("\N{MINUS SIGN}", text.replace(" -> ", " \N{RIGHTWARDS ARROW} "))
    return _DIGIT_THEN_UNIT.sub("\N{NO-BREAK SPACE}", _MICRO.sub("\N{MICRO SIGN}", text))


def count(number: int) -> str:
    """A count with thousands separators."""
    return f"{number:,}"


def compact_count(number: int) -> str:
    """A count for a picture: exact below 10,000, then thousands (k), millions (M) or billions (G)."""
    return count(number) if number < 10_000 else _scaled(float(number), ((1e9, "G"), (1e6, "M"), (1e3, "k")))


def plural(number: int, noun: str) -> str:
    """A count and its noun, with an s unless the count is one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def significant(value: float, digits: int = 3) -> str:
    """A number to so many significant digits, in scientific notation only where nothing real is."""
    if value == 0 or not 1e-9 < abs(value) < 1e15:
        return f"{value:.{digits - 1}g}"
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{decimals}f}"


def _scaled(value: float, units: tuple[tuple[float, str], ...]) -> str:
    # Rounded before the unit is chosen, so that 999.9 us becomes 1.00 ms.
    rounded = float(f"{value:.2e}")
    for factor, unit in units:
        if abs(rounded) >= factor:
            return f"{significant(rounded / factor)} {unit}"
    factor, unit = units[-1]
    return f"{significant(rounded / factor)} {unit}"


def seconds(value_s: float) -> str:
    """A time in s, ms, us or ns, by its size, to three digits."""
    return _scaled(value_s, ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns")))


def tick_seconds(value_s: float) -> str:
    """A time as on an axis: without zeros behind the point."""
    return re.sub(r"(\.\d*?)0+ ", r"\1 ", seconds(value_s)).replace(". ", " ")


def seconds_like(value_s: float, other_s: float) -> str:
    """A spread in the unit that `seconds` takes for `other_s`, to two digits."""
    unit = seconds(other_s).split()[1]
    factor = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}[unit]
    return f"{significant(value_s / factor, 2)} {unit}"


def joules(value_j: float) -> str:
    """An energy in J, mJ or uJ, by its size, to three digits."""
    return _scaled(value_j, ((1.0, "J"), (1e-3, "mJ"), (1e-6, "uJ")))


def joules_interval(interval_j: tuple[float, float] | None) -> str:
    """'4.10 to 4.42 mJ', both ends in the unit of the larger one; 'no interval' where nothing tells it."""
    if interval_j is None:
        return "no interval"
    unit = joules(max(map(abs, interval_j))).split()[-1]
    factor = {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6}[unit]
    return f"{' to '.join(significant(end / factor) for end in interval_j)} {unit}"


def rate(per_s: float) -> str:
    """A number per second, to three digits."""
    return f"{significant(per_s)} /s"


def watts(value_w: float) -> str:
    """A power in W or mW, by its size, to three digits."""
    return _scaled(value_w, ((1.0, "W"), (1e-3, "mW")))


def file_size(num_bytes: int) -> str:
    """Bytes as B, kB (1000 B), MB or GB, to three digits."""
    if num_bytes < 1000:
        return f"{num_bytes} B"
    return _scaled(float(num_bytes), ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")))


def percent(share: float, decimals: int = 1) -> str:
    """A share as percent."""
    return f"{100 * share:.{decimals}f} %"


def accuracy_decimals(num_samples: int | None) -> int:
    """Decimals that an accuracy in percent deserves: two from 2,000 samples on, where 0.1 hides whole samples."""
    return 2 if num_samples is not None and num_samples >= 2000 else 1


def points(difference: float, decimals: int = 1) -> str:
    """A difference of two shares in percentage points, with its sign."""
    rounded = round(100 * difference, decimals)
    return f"{rounded:+.{decimals}f} points" if rounded else f"{0:.{decimals}f} points"


def change(before: float, after: float) -> str:
    """The signed change relative to `before`, such as '-60.4 %'; never '-100.0 %' while something is left."""
    relative = after / before - 1.0
    if -1.0 < relative < -0.9995:
        return "more than -99.9 %"
    rounded = round(100 * relative, 1)
    return f"{rounded:+.1f} %" if rounded else "0.0 %"


def change_in_words(before: float, after: float, less: str, more: str) -> str:
    """The change in words, such as '60.4 % fewer'; 'no change' when one decimal shows none."""
    text = change(before, after)
    if text == "0.0 %":
        return "no change"
    word = less if after < before else more
    return f"{text.replace('+', '').replace('-', '')} {word}"
