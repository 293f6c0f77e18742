"""The figures that a history follows: their names on the command line, which are those of `compare`, units, and what
they depend on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge_dendrite.errors import ConfigError
from edge_dendrite.report import format as fmt

Units = tuple[tuple[float, str], ...]
_TIME: Units = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))
_ENERGY: Units = ((1.0, "J"), (1e-3, "mJ"), (1e-6, "uJ"))
_BYTES: Units = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
_RATE: Units = ((1e9, "G/s"), (1e6, "M/s"), (1e3, "k/s"), (1.0, "/s"))
_COUNT: Units = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))
_SHARE: Units = ((0.01, "%"),)


@dataclass(frozen=True)
class Metric:
    """kind: what can change it beside the network: the board's state, the sensor as well, or nothing ("bundle")."""

    name: str
    title: str
    kind: Literal["time", "energy", "bundle"]
    units: Units

    def show(self, value: float) -> str:
        """The figure to three digits with its unit; an accuracy to two decimals."""
        if self.units is _SHARE:
            return fmt.percent(value, 2)
        if self.units is _COUNT:
            return fmt.count(round(value))
        factor, unit = self._unit(value)
        return f"{fmt.significant(value / factor)} {unit}" if value else f"0 {unit}"

    def show_ticks(self, ticks: Sequence[float]) -> list[str]:
        """Labels of an axis: all in one unit, with the decimals that tell neighbours apart."""
        factor, unit = self._unit(max(map(abs, ticks), default=1.0))
        steps = [b - a for a, b in zip(ticks, ticks[1:], strict=False) if b > a]
        step = min(steps, default=abs(ticks[0]) if ticks else 1.0) / factor or 1.0
        # Of a step of 2.5 the second digit counts too.
        decimals = max(0, -math.floor(math.log10(step)))
        decimals += round(step * 10**decimals, 6) % 1 > 1e-6
        return [f"{tick / factor:,.{min(decimals, 9)}f} {unit}".strip() for tick in ticks]

    def _unit(self, value: float) -> tuple[float, str]:
        rounded = float(f"{abs(value):.2e}")  # 999.9 us is 1.00 ms
        return next((one for one in self.units if rounded >= one[0]), self.units[-1])


METRICS = tuple(
    Metric(*words)
    for words in (
        ("latency", "Median latency", "time", _TIME),
        ("p90", "p90 of the latency", "time", _TIME),
        ("p99", "p99 of the latency", "time", _TIME),
        ("throughput", "Throughput (examples a second, one inference after another)", "time", _RATE),
        ("energy", "Gross energy per inference", "energy", _ENERGY),
        ("net-energy", "Net energy per inference (idle power taken off)", "energy", _ENERGY),
        ("memory", "Peak memory of the process", "time", _BYTES),
        ("accuracy", "Accuracy that the bundle states", "bundle", _SHARE),
        ("size", "Size of the ONNX file", "bundle", _BYTES),
        ("parameters", "Parameters", "bundle", _COUNT),
    )
)


def find_metric(name: str) -> Metric:
    """The metric of this name. Raises ConfigError."""
    for metric in METRICS:
        if metric.name == name:
            return metric
    raise ConfigError(f"METRIC {name!r} is not known; give one of {', '.join(one.name for one in METRICS)}")
