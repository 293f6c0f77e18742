"""x86 RAPL: counters of energy in /sys/class/powercap, of Intel and of AMD processors alike.

The total are the packages. Their parts (cores, "intel-rapl:0:0") are inside of them and are reported beside it; a
zone "psys" contains the packages. Since 2020 the kernel shows the counters to root alone (CVE-2020-8694).
"""

import glob
import os
from typing import Optional

from edge_bench.board.files import read_number, read_text
from edge_bench.power.counter import CounterFeed, Zone
from edge_bench.power.jetson import Found
from edge_bench.power.sysfs import unreadable
from edge_bench.power.window import Meter

_INTERVAL_S = 0.1


def find(interval_s: Optional[float], root: str) -> Found:
    """The meter of all packages; (None, []) where there is none."""
    # "intel-rapl-mmio" shows the same packages by another way; AMD has the name "intel-rapl" too.
    zones = [
        _zone(folder)
        for folder in sorted(glob.glob(os.path.join(glob.escape(root), "sys/class/powercap/intel-rapl:*")))
    ]
    packages = [zone for zone in zones if zone.name.startswith("package")]
    if not packages:
        return None, []
    for zone in packages:
        if read_number(zone.path) is None or zone.wrap_uj <= 0:
            return None, [unreadable((zone.path, os.path.join(os.path.dirname(zone.path), "max_energy_range_uj")))]
    others = [zone for zone in zones if not zone.name.startswith("package") and zone.wrap_uj > 0]
    every_s = interval_s or _INTERVAL_S
    return Meter(
        "rapl",
        tuple(zone.name for zone in packages),
        "processor packages",
        every_s,
        lambda clock: CounterFeed(packages, others, every_s, clock),
        details={"other_rails": [zone.name for zone in others]},
        counts_energy=True,
    ), []


def _zone(folder: str) -> Zone:
    """A zone; one below a package carries its number, since each package has a "core"."""
    name = read_text(os.path.join(folder, "name")) or ""
    numbers = os.path.basename(folder).split(":")[1:]
    if len(numbers) > 1:
        name = "%s-%s" % (name, numbers[0])
    wrap_uj = read_number(os.path.join(folder, "max_energy_range_uj"))
    return Zone(name, os.path.join(folder, "energy_uj"), wrap_uj or 0.0)
