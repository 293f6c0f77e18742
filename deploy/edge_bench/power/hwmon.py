"""Any power sensor that the kernel shows as hwmon: powerN_input (uW), energyN_input (uJ), or inN and currN of a chip.

Names and units: kernel documentation hwmon/sysfs-interface. What such a sensor feeds is not written anywhere, so by
itself it is taken only where it is the only one; else the user names it: `hwmon:CHIP/LABEL`.
"""

import glob
import os
import re
from typing import Any, Dict, List, NamedTuple, Optional

from edge_bench.board.files import read_number, read_text
from edge_bench.power.counter import CounterFeed, Zone
from edge_bench.power.ina3221 import chip_settings, product_reader, scaled_reader
from edge_bench.power.jetson import Found
from edge_bench.power.polled import PolledFeed
from edge_bench.power.sysfs import Rail, read_rails, unreadable
from edge_bench.power.window import Meter
from edge_bench.schema import unavailable

_INTERVAL_S = 0.1
# Of energyN_input no range is written; 32 bits of microjoules is the shortest that is known.
_WRAP_UJ = float(1 << 32)


class Channel(NamedTuple):
    """One sensor: a rail of power, or (with `is_energy`) a counter."""

    name: str
    folder: str
    rail: Rail
    is_energy: bool


def find(name: str, interval_s: Optional[float], root: str) -> Found:
    """The meter of the channel `CHIP/LABEL`, or, for an empty name, of the only channel there is."""
    channels = find_channels(root)
    if not channels and not name:
        return None, []
    chosen = [channel for channel in channels if channel.name == name] if name else channels
    if len(chosen) != 1:
        names = ", ".join(channel.name for channel in channels) or "none"
        reason = "hwmon has no sensor %s; it has: %s" % (name, names) if name else "hwmon has several: %s" % names
        fix = "choose the one that carries the load: --power hwmon:CHIP/LABEL"
        return None, [unavailable("energy", reason, fix)]
    channel, every_s = chosen[0], interval_s or _INTERVAL_S
    rail = channel.rail
    if read_number(rail.paths[0]) is None or (not channel.is_energy and rail.read() is None):
        return None, [unreadable(rail.paths)]
    details: Dict[str, Any] = {"chips": {os.path.basename(channel.folder): chip_settings(channel.folder)}}
    scope = "what %s feeds" % channel.name
    if channel.is_energy:
        zones = [Zone(rail.name, rail.paths[0], _WRAP_UJ)]
        return Meter(
            "hwmon",
            (rail.name,),
            scope,
            every_s,
            lambda clock: CounterFeed(zones, [], every_s, clock),
            details=details,
            counts_energy=True,
        ), []
    return Meter(
        "hwmon", (rail.name,), scope, every_s, lambda clock: PolledFeed(lambda: read_rails([rail]), every_s, clock),
        details=details,
    ), []  # fmt: skip


def find_channels(root: str) -> List[Channel]:
    """All sensors of power, energy, or voltage with current; chips in the order of their names."""
    found: List[Channel] = []
    for folder in sorted(glob.glob(os.path.join(glob.escape(root), "sys/class/hwmon/hwmon*"))):
        chip = read_text(os.path.join(folder, "name"))
        if chip:
            found.extend(_of_kind(chip, folder, "power") or _pairs(chip, folder))
            found.extend(_of_kind(chip, folder, "energy"))
    return found


def _of_kind(chip: str, folder: str, kind: str) -> List[Channel]:
    channels = []
    for number in _numbers(folder, kind):
        path = os.path.join(folder, "%s%d_input" % (kind, number))
        name = _name(chip, folder, "%s%d" % (kind, number))
        rail = Rail(name, scaled_reader(path, 1e-6), None, (path,))
        channels.append(Channel(name, folder, rail, kind == "energy"))
    return channels


def _pairs(chip: str, folder: str) -> List[Channel]:
    channels = []
    for number in _numbers(folder, "curr"):
        volts, amperes = (os.path.join(folder, "%s%d_input" % (kind, number)) for kind in ("in", "curr"))
        if os.path.exists(volts):
            name = _name(chip, folder, "in%d" % number)
            rail = Rail(name, product_reader(volts, amperes), None, (volts, amperes))
            channels.append(Channel(name, folder, rail, False))
    return channels


def _name(chip: str, folder: str, stem: str) -> str:
    return "%s/%s" % (chip, read_text(os.path.join(folder, stem + "_label")) or stem)


def _numbers(folder: str, kind: str) -> List[int]:
    names = (os.path.basename(path) for path in glob.glob(os.path.join(glob.escape(folder), kind + "*_input")))
    matches = (re.match(r"^%s(\d{1,3})_input$" % kind, name) for name in names)
    return sorted(int(match.group(1)) for match in matches if match)
