"""INA3221: three supplies a chip, on most Jetson boards.

By IIO, NVIDIA's driver ina3221x of JetPack 4: rail_name_C, in_powerC_input in mW. By hwmon, the mainline driver of
JetPack 5 and newer: inC_label, inC_input in mV, currC_input in mA, no power; shuntC_resistor in micro-ohms,
`samples` (averaged) and `update_interval` in ms (kernel documentation hwmon/ina3221). in7 is a sum of shunt voltages
and no rail. A step of the chip is 40 uV over the shunt (NVIDIA's DRIVE power tool page): 8 mA at 5 milliohms, which
is assumed where the driver does not tell; the voltage has steps too, of 8 mV, which are small beside it.
"""

import glob
import os
from typing import Any, Callable, Dict, List, Optional, Tuple

from edge_bench.board.files import read_number, read_text
from edge_bench.power.sysfs import Rail

_SHUNT_STEP_V = 40e-6
_ASSUMED_SHUNT_OHM = 5e-3


def find_rails(root: str) -> Tuple[List[Rail], Dict[str, Any]]:
    """All named rails, and what the chips say of their averaging, by folder name."""
    rails: List[Rail] = []
    chips: Dict[str, Any] = {}
    for folder in sorted(glob.glob(os.path.join(glob.escape(root), "sys/class/hwmon/hwmon*"))):
        if read_text(os.path.join(folder, "name")) == "ina3221":
            found = [_hwmon_rail(folder, channel) for channel in (1, 2, 3)]
            rails.extend(rail for rail in found if rail is not None)
            chips[os.path.basename(folder)] = chip_settings(folder)
    for pattern in ("iio:device*", "iio_device*"):
        for folder in sorted(glob.glob(os.path.join(glob.escape(root), "sys/bus/i2c/drivers/ina3221x/*", pattern))):
            found = [_iio_rail(folder, channel) for channel in (0, 1, 2)]
            rails.extend(rail for rail in found if rail is not None)
    return rails, chips


def chip_settings(folder: str) -> Dict[str, Any]:
    """How a chip averages: its `samples` and `update_interval`, as far as the driver shows them."""
    update_ms = read_number(os.path.join(folder, "update_interval"))
    return {
        "samples": read_number(os.path.join(folder, "samples")),
        "update_interval_s": None if update_ms is None else update_ms / 1e3,
    }


def _hwmon_rail(folder: str, channel: int) -> Optional[Rail]:
    name = read_text(os.path.join(folder, "in%d_label" % channel))
    if not name or name == "NC" or name == "sum of shunt voltages":
        return None
    volts = os.path.join(folder, "in%d_input" % channel)
    amperes = os.path.join(folder, "curr%d_input" % channel)
    shunt_uohm = read_number(os.path.join(folder, "shunt%d_resistor" % channel))
    step_w = _step_w(read_number(volts), shunt_uohm)
    return Rail(name, product_reader(volts, amperes), step_w, (volts, amperes))


def _iio_rail(folder: str, channel: int) -> Optional[Rail]:
    name = read_text(os.path.join(folder, "rail_name_%d" % channel))
    if not name or name == "NC":
        return None
    volts = os.path.join(folder, "in_voltage%d_input" % channel)
    power = os.path.join(folder, "in_power%d_input" % channel)
    step_w = _step_w(read_number(volts), None)
    return Rail(name, scaled_reader(power, 1e-3), step_w, (power,))


def _step_w(millivolts: Optional[float], shunt_uohm: Optional[float]) -> Optional[float]:
    if millivolts is None:
        return None
    shunt_ohm = shunt_uohm / 1e6 if shunt_uohm else _ASSUMED_SHUNT_OHM
    return _SHUNT_STEP_V / shunt_ohm * abs(millivolts) / 1e3


def product_reader(millivolts_path: str, milliamperes_path: str) -> Callable[[], Optional[float]]:
    """Reads watts from a file of millivolts and one of milliamperes."""

    def read() -> Optional[float]:
        millivolts, milliamperes = read_number(millivolts_path), read_number(milliamperes_path)
        return None if millivolts is None or milliamperes is None else millivolts * milliamperes / 1e6

    return read


def scaled_reader(path: str, unit_w: float) -> Callable[[], Optional[float]]:
    """Reads watts from a file that counts in `unit_w`."""

    def read() -> Optional[float]:
        value = read_number(path)
        return None if value is None else value * unit_w

    return read
