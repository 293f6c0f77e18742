"""The power of a board that is not there: recorded figures in a loop, the same in its sensor and in its tegrastats.

What was shown when is logged with the monotonic clock, which the board shares, so the energy of any time is known.
Recorded lines are read here by their rails only, not by the parser of the agent: that would judge itself.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.virtual_board.errors import BoardError

CORPUS = Path(__file__).parent.parent.parent / "tests/edge_bench/data/tegrastats-corpus.jsonl"
# Steps of the INA3221's converter: 8 mV, and 8 mA at a shunt of 5 milliohms.
_STEP = 8
_VOLTAGE_RANGE = 250


@dataclass(frozen=True)
class Step:
    """What is shown for a while: numbers in files below /sys, texts for programs, and their truth."""

    duration_s: float
    total_w: float
    numbers: dict[str, int]
    texts: dict[str, str]


def read_steps(replay: dict[str, Any]) -> list[Step]:
    """The steps of a profile's `replay`. Raises BoardError when a recorded line is not there."""
    if replay["kind"] == "pmic":
        return [_pmic_step(replay, step["total_w"], step["duration_s"]) for step in replay["steps"]]
    return [_recorded_step(replay, _recorded(step["line"]), step["duration_s"]) for step in replay["steps"]]


def _recorded(part: str) -> str:
    lines = [json.loads(line) for line in CORPUS.read_text("utf-8").splitlines()]
    found = [entry["line"] for entry in lines if part in entry["line"] and entry["kind"] == "real"]
    if len(found) != 1:
        raise BoardError(f"{CORPUS.name} has {len(found)} recorded lines with {part!r}, not one")
    return found[0]


def _recorded_step(replay: dict[str, Any], line: str, duration_s: float) -> Step:
    sensor = replay["sensor"]
    numbers: dict[str, int] = {}
    for place, rail in enumerate(sensor["rails"]):
        milliwatts = rail_milliwatts(line, rail)
        millivolts, milliamperes = split_power(milliwatts, sensor["millivolts"])
        numbers |= rail_numbers(sensor, place, milliwatts, millivolts, milliamperes)
    return Step(duration_s, rail_milliwatts(line, replay["total_rail"]) / 1e3, numbers, {"line": f"{line}\n"})


def rail_milliwatts(line: str, rail: str) -> int:
    """The first figure of a rail in a line of tegrastats: the power at that moment."""
    found = re.search(rf"(?:^| ){re.escape(rail)} (\d+)(?:mW)?/", line)
    if found is None:
        raise BoardError(f"the recorded line has no rail {rail}: {line}")
    return int(found.group(1))


def split_power(milliwatts: int, millivolts: int) -> tuple[int, int]:
    """Voltage and current in steps of the chip whose product is this power to the milliwatt, next to a voltage."""
    near = sorted(range(-_VOLTAGE_RANGE // _STEP, _VOLTAGE_RANGE // _STEP + 1), key=abs)
    for volts in (millivolts + _STEP * steps for steps in near):
        amperes = _STEP * round(1e3 * (milliwatts + 0.5) / volts / _STEP)
        if volts * amperes // 1000 == milliwatts:
            return volts, amperes
    return millivolts, round(1e3 * milliwatts / millivolts)


def rail_numbers(
    sensor: dict[str, Any], place: int, milliwatts: int, millivolts: int, milliamperes: int
) -> dict[str, int]:
    """Files of one rail below /sys, as the driver of a JetPack shows it."""
    folder = sensor["folder"]
    if sensor["driver"] == "hwmon":
        return {f"{folder}/in{place + 1}_input": millivolts, f"{folder}/curr{place + 1}_input": milliamperes}
    return {
        f"{folder}/in_voltage{place}_input": millivolts,
        f"{folder}/in_current{place}_input": milliamperes,
        f"{folder}/in_power{place}_input": milliwatts,
    }


def sensor_names(replay: dict[str, Any]) -> dict[str, str]:
    """Files of the sensor that never change, below /sys."""
    sensor = replay.get("sensor")
    if sensor is None:
        return {}
    folder, rails = sensor["folder"], enumerate(sensor["rails"])
    if sensor["driver"] == "iio":
        return {f"{folder}/rail_name_{place}": rail for place, rail in rails} | {f"{folder}/name": "ina3221x"}
    names = {f"{folder}/in{place + 1}_label": rail for place, rail in rails}
    names |= {f"{folder}/shunt{place + 1}_resistor": "5000" for place in range(len(sensor["rails"]))}
    return names | {f"{folder}/name": "ina3221", f"{folder}/in7_label": "sum of shunt voltages"}


def _pmic_step(replay: dict[str, Any], total_w: float, duration_s: float) -> Step:
    """`vcgencmd pmic_read_adc` with pairs that add up to a total; one rail's current makes up for the rest."""
    rails = replay["rails"]
    others_w = sum(volts * amperes for name, _, _, volts, amperes in rails if name != replay["filler"])
    lines, shown_w = [], 0.0
    for name, at, _, volts, amperes in rails:
        shown_a = round((total_w - others_w) / volts if name == replay["filler"] else amperes, 8)
        shown_w += volts * shown_a
        lines.append(f"{name + '_A':>12} current({at})={shown_a:.8f}A")
    for name, _, at, volts, *_rest in [*rails, *([name, 0, at, volts] for name, at, volts in replay["voltages"])]:
        lines.append(f"{name + '_V':>12} volt({at})={volts:.8f}V")
    return Step(duration_s, shown_w, {}, {"pmic_read_adc": "\n".join(lines) + "\n"})


def run_replay(
    steps: Sequence[Step], show: Callable[[Step], None], note: Callable[[float], None], wait: Callable[[float], bool]
) -> None:
    """Show the steps in a loop until `wait`, which sleeps, says that it is over."""
    for step in itertools.cycle(steps):
        show(step)
        note(step.total_w)
        if wait(step.duration_s):
            return


def true_energy_j(log: Path, begin_s: float, end_s: float) -> float:
    """Joules between two moments of the monotonic clock, from a log of `moment watts`. Raises BoardError."""
    entries = [
        tuple(map(float, line.split())) for line in log.read_text().splitlines(keepends=True) if line[-1] == "\n"
    ]
    if not entries or entries[0][0] > begin_s:
        raise BoardError(f"{log}: does not reach back to {begin_s:.3f}")
    energy_j = 0.0
    for (moment_s, watts), (next_s, _) in zip(entries, [*entries[1:], (end_s, 0.0)], strict=True):
        energy_j += watts * max(0.0, min(next_s, end_s) - max(moment_s, begin_s))
    return energy_j
