"""Finds the meter of this board: the one that was asked for, or the best."""

from typing import Callable, Dict, List, Optional, Tuple

from edge_bench.errors import EdgeBenchError
from edge_bench.power import command, hwmon, jetson, jtop, power_supply, rapl, raspberry, tegrastats
from edge_bench.power.choice import AUTO, CHOICES, MIN_INTERVAL_S, SOURCES, PowerChoice
from edge_bench.power.jetson import Found
from edge_bench.power.window import Meter
from edge_bench.schema import unavailable


def find_meter(choice: PowerChoice = AUTO, root: str = "/") -> Tuple[Optional[Meter], List[Dict[str, str]]]:
    """(the meter, []), or (None, why there is none). `root`: where /sys and /proc are to be found.

    Some sources are started once to see whether they answer (tegrastats: until its first line).
    Raises EdgeBenchError for a source that does not exist and a command that is none.
    """
    if choice.interval_s is not None and not MIN_INTERVAL_S <= choice.interval_s < float("inf"):
        raise EdgeBenchError("the power interval %r s is not at least %g s" % (choice.interval_s, MIN_INTERVAL_S))
    if choice.command is not None:
        return command.find(choice.command, choice.interval_s)
    source, _, name = choice.source.partition(":")
    if source not in CHOICES or (name and source != "hwmon"):
        raise EdgeBenchError("no power source %r; there are: %s" % (choice.source, ", ".join(CHOICES)))
    if source == "none":
        return None, [unavailable("energy", "not asked for (power source none)", "run with --power auto")]
    if source == "command":
        raise EdgeBenchError("power source command: give the program with --power-cmd")
    finders = _finders(choice.interval_s, root, name)
    seen: List[Dict[str, str]] = []
    for each in SOURCES if source == "auto" else (source,):
        meter, problems = finders[each]()
        if meter is not None:
            return meter, []
        seen = seen or problems
        # A sensor that is there and cannot be read is not replaced by one of another scope. tegrastats is none: it
        # reads the same rails, and where it runs by another right than ours it may read what we cannot.
        if seen and each != "ina3221":
            break
    if seen:
        return None, seen
    if source == "auto":
        reason = "no INA3221, tegrastats, RAPL, vcgencmd, battery or hwmon: this machine shows no power sensor"
    else:
        reason = "%s: this machine shows no such power sensor" % source
    fix = "measure on a board with a sensor, or give a meter with --power-cmd"
    return None, [unavailable("energy", reason, fix)]


def _finders(interval_s: Optional[float], root: str, name: str) -> Dict[str, Callable[[], Found]]:
    return {
        "ina3221": lambda: jetson.find(interval_s, root),
        "tegrastats": lambda: tegrastats.find(interval_s, root),
        "rapl": lambda: rapl.find(interval_s, root),
        "vcgencmd": lambda: raspberry.find(interval_s, root),
        "power_supply": lambda: power_supply.find(interval_s, root),
        "hwmon": lambda: hwmon.find(name, interval_s, root),
        "jtop": lambda: jtop.find(interval_s),
    }
