"""Which power sensor the user wants. Apart from the sensors, which are many files to compile on a small board."""

from typing import NamedTuple, Optional

# In the order in which `auto` takes them. jtop needs a root service and is only taken when asked for.
SOURCES = ("ina3221", "tegrastats", "rapl", "vcgencmd", "power_supply", "hwmon")
CHOICES = ("auto", "none") + SOURCES + ("jtop", "command")
# No sensor that is known converts as fast.
MIN_INTERVAL_S = 1e-3


class PowerChoice(NamedTuple):
    """What the user asked for. `source`: one of CHOICES, or `hwmon:CHIP/LABEL`; a `command` goes before it."""

    source: str = "auto"
    command: Optional[str] = None
    interval_s: Optional[float] = None


AUTO = PowerChoice()
