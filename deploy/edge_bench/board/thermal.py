"""Heat: temperatures, the points at which the kernel acts, what it has switched on against heat, and fans.

A cooling device whose state is not 0 slows something down (or is a fan). -256 C means that a sensor is powered off,
and PMIC zones report a constant (NVIDIA, "tegrastats Utility").
"""

import os
from typing import Any, Dict, Optional

from edge_bench.board.files import find_paths, read_number, read_text

_OFF_MILLIDEGREES = -250000
# Cooling that costs no speed.
_HARMLESS = ("fan", "lcd", "backlight")


def temperatures(root: str) -> Dict[str, float]:
    """Celsius by the name of the zone; where there is no zone, of the hwmon sensors (PCs)."""
    found = {}  # type: Dict[str, float]
    for path, name in temperature_files(root).items():
        celsius = read_celsius(path)
        if celsius is not None:
            found[name] = celsius
    return found


def temperature_files(root: str) -> Dict[str, str]:
    """Names by the path of the file; two sensors of one name get different ones, none may hide a hotter one."""
    named = {}  # type: Dict[str, str]
    for folder in find_paths(root, "sys/class/thermal/thermal_zone*"):
        if read_number(os.path.join(folder, "temp")) is not None:
            named[os.path.join(folder, "temp")] = _zone_name(folder)
    if not named:
        for path in find_paths(root, "sys/class/hwmon/hwmon*/temp*_input"):
            label = read_text(path[: -len("input")] + "label")
            chip = read_text(os.path.join(os.path.dirname(path), "name")) or os.path.basename(os.path.dirname(path))
            named[path] = "%s %s" % (chip, label or os.path.basename(path)[: -len("_input")])
    unique = {}  # type: Dict[str, str]
    for path, name in named.items():
        if "PMIC" not in name.upper():
            taken = name in unique.values()
            unique[path] = "%s (%s)" % (name, os.path.basename(os.path.dirname(path))) if taken else name
    return unique


def read_celsius(path: str) -> Optional[float]:
    """The temperature in a file of millidegrees; None when the sensor is off or does not answer."""
    millidegrees = read_number(path)
    return None if millidegrees is None or millidegrees <= _OFF_MILLIDEGREES else millidegrees / 1000.0


def trip_points(root: str) -> Dict[str, Dict[str, float]]:
    """By zone: the lowest temperature of each kind of trip point ("passive" slows down, "critical" switches off)."""
    found = {}  # type: Dict[str, Dict[str, float]]
    for path, name in temperature_files(root).items():
        for trip in find_paths(os.path.dirname(path), "trip_point_*_temp"):
            celsius, kind = read_celsius(trip), read_text(trip[: -len("temp")] + "type")
            # Zones without a meaning for a trip point set it to 0 or below.
            if celsius is not None and celsius > 0 and kind:
                kinds = found.setdefault(name, {})
                kinds[kind] = min(celsius, kinds.get(kind, celsius))
    return found


def cooling_states(root: str) -> Dict[str, int]:
    """The state of each cooling device that slows something down, by its name; 0 is inactive."""
    found = {}
    for folder in find_paths(root, "sys/class/thermal/cooling_device*"):
        name, state = read_text(os.path.join(folder, "type")), read_number(os.path.join(folder, "cur_state"))
        if state is not None and not any(word in (name or "").lower() for word in _HARMLESS):
            found["%s (%s)" % (name or "unnamed", os.path.basename(folder))] = max(int(state), 0)
    return found


def fans(root: str) -> Dict[str, Dict[str, Any]]:
    """`pwm` (0 to 255) and `rpm` of each fan, as far as they are there."""
    found = {}  # type: Dict[str, Dict[str, Any]]
    for folder in find_paths(root, "sys/class/hwmon/hwmon*"):
        name = read_text(os.path.join(folder, "name")) or os.path.basename(folder)
        pwm = read_number(os.path.join(folder, "pwm1"))
        rpm = read_number(os.path.join(folder, "fan1_input"))
        if rpm is None:
            rpm = read_number(os.path.join(folder, "rpm"))  # pwm_tach of JetPack 5, general knowledge
        if pwm is not None or rpm is not None:
            found[name] = {"pwm": pwm, "rpm": rpm}
    if not found:  # the fan of JetPack 4, general knowledge
        pwm = read_number(os.path.join(root, "sys/devices/pwm-fan/cur_pwm"))
        if pwm is not None:
            found["pwm-fan"] = {"pwm": pwm, "rpm": None}
    return found


def _zone_name(folder: str) -> str:
    return read_text(os.path.join(folder, "type")) or os.path.basename(folder)
