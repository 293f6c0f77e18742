"""Ticks on a linear axis, with their unit and as many decimals as tell them apart."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.ticker import FixedFormatter, FixedLocator

from edge_dendrite.report.format import typographic

_FACTORS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


def linear_axis(axis: Any, low: float, high: float, unit: str, factor: float | None = None, count: int = 3) -> None:
    """About `count` labelled ticks; `factor`: what a value of one unit is on the axis, known for units of time."""
    scale = _FACTORS[unit] if factor is None else factor
    ticks, decimals = linear_ticks(low / scale, high / scale, count)
    axis.set_major_locator(FixedLocator([tick * scale for tick in ticks]))
    axis.set_major_formatter(FixedFormatter([typographic(f"{tick:,.{decimals}f} {unit}") for tick in ticks]))


def linear_ticks(low: float, high: float, count: int = 3) -> tuple[list[float], int]:
    """(round numbers in the range, decimals that they need): about `count`, at least two."""
    if not low < high:
        return [low], 1
    power = math.floor(math.log10((high - low) / count))
    steps = [factor * 10.0**exponent for exponent in (power + 1, power, power - 1) for factor in (5.0, 2.0, 1.0)]
    # Enough of them, but rather one too few than twice as many as there is room for.
    step = next(step for step in steps if len(_places(low, high, step)) >= count)
    coarser = steps[max(0, steps.index(step) - 1)]
    if len(_places(low, high, step)) > count + 2 and len(_places(low, high, coarser)) >= 2:
        step = coarser
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return [round(place * step, decimals + 2) for place in _places(low, high, step)], decimals


def _places(low: float, high: float, step: float) -> range:
    """The multiples of a step in the range."""
    return range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
