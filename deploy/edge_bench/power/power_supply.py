"""Batteries and supplies that the kernel shows: power_now, or current_now times voltage_now, in micro-units.

Kernel ABI testing/sysfs-class-power. A battery measures the whole system only while it is discharging.
"""

import glob
import os
from typing import Callable, Dict, List, Optional

from edge_bench.board.files import read_number, read_text
from edge_bench.power.jetson import Found
from edge_bench.power.polled import PolledFeed
from edge_bench.power.sysfs import Rail, read_rails, unreadable
from edge_bench.power.window import Meter
from edge_bench.schema import unavailable

_INTERVAL_S = 0.25


def find(interval_s: Optional[float], root: str) -> Found:
    """The meter of the only supply that feeds this system now; (None, []) where there is none."""
    usable, refused = [], []
    for folder in sorted(glob.glob(os.path.join(glob.escape(root), "sys/class/power_supply/*"))):
        rail = _rail(folder)
        if rail is None:
            continue
        reason = _not_feeding(folder)
        if reason:
            refused.append("%s %s" % (rail.name, reason))
        else:
            usable.append((rail, read_text(os.path.join(folder, "type")) or "supply"))
    if len(usable) != 1:
        return None, _refusal([rail.name for rail, _kind in usable], refused)
    rail, kind = usable[0]
    if rail.read() is None:
        return None, [unreadable(rail.paths)]
    every_s = interval_s or _INTERVAL_S
    scope = "system input (battery)" if kind == "Battery" else "system input (%s)" % kind
    return Meter(
        "power_supply",
        (rail.name,),
        scope,
        every_s,
        lambda clock: PolledFeed(lambda: read_rails([rail]), every_s, clock),
    ), []


def _rail(folder: str) -> Optional[Rail]:
    power, current, voltage = (os.path.join(folder, name) for name in ("power_now", "current_now", "voltage_now"))
    name = os.path.basename(folder)
    if os.path.exists(power):
        return Rail(name, _product([power], 1e-6), None, (power,))
    if os.path.exists(current) and os.path.exists(voltage):
        return Rail(name, _product([current, voltage], 1e-12), None, (current, voltage))
    return None


def _product(paths: List[str], unit_w: float) -> Callable[[], Optional[float]]:
    def read() -> Optional[float]:
        product = unit_w
        for path in paths:
            value = read_number(path)
            if value is None:
                return None
            product *= abs(value)  # some drivers show the current of discharging as negative
        return product

    return read


def _not_feeding(folder: str) -> str:
    """Why this supply's power is not that of the system; nothing when it is."""
    if read_text(os.path.join(folder, "scope")) == "Device":
        return "is a device's own"
    if read_text(os.path.join(folder, "type")) == "Battery":
        status = read_text(os.path.join(folder, "status")) or "unknown"
        return "" if status == "Discharging" else "is a battery and not discharging (%s)" % status
    return "is not plugged in" if read_text(os.path.join(folder, "online")) == "0" else ""


def _refusal(usable: List[str], refused: List[str]) -> List[Dict[str, str]]:
    if usable:
        reason = "several supplies feed this system: %s" % ", ".join(usable)
        return [unavailable("energy", reason, "unplug all but one, or measure with --power-cmd")]
    if refused:
        reason = "no supply that measures this system: %s" % "; ".join(refused)
        return [unavailable("energy", reason, "unplug the charger, or measure with --power-cmd")]
    return []
