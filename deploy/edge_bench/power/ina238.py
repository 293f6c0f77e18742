"""INA238: the input of an AGX Thor with its carrier board, rail VIN (hwmon `ina238`).

Files as in the kernel documentation hwmon/ina238: in1_input the bus voltage in mV, curr1_input in mA, power1_input in
uW. VIN includes whatever else hangs behind that shunt (NVIDIA forum 366461).
"""

import glob
import os
from typing import Any, Dict, List, Tuple

from edge_bench.board.files import read_text
from edge_bench.power.ina3221 import chip_settings, product_reader, scaled_reader
from edge_bench.power.sysfs import Rail


def find_rails(root: str) -> Tuple[List[Rail], Dict[str, Any]]:
    """The rail of each chip, and what the chips say of their averaging. A single chip without a label is VIN."""
    folders = [
        folder
        for folder in sorted(glob.glob(os.path.join(glob.escape(root), "sys/class/hwmon/hwmon*")))
        if read_text(os.path.join(folder, "name")) == "ina238"
    ]
    rails = []
    for folder in folders:
        labels = [read_text(os.path.join(folder, name)) for name in ("power1_label", "in1_label", "label")]
        unnamed = "VIN" if len(folders) == 1 else "ina238 " + os.path.basename(folder)
        name = next((label for label in labels if label), unnamed)
        power, volts, amperes = (os.path.join(folder, file) for file in ("power1_input", "in1_input", "curr1_input"))
        if os.path.exists(power):
            rails.append(Rail(name, scaled_reader(power, 1e-6), None, (power,)))
        else:
            rails.append(Rail(name, product_reader(volts, amperes), None, (volts, amperes)))
    return rails, {os.path.basename(folder): chip_settings(folder) for folder in folders}
