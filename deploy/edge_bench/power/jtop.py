"""jetson-stats (jtop), only when asked for: AGPL-licensed and a client of a root service, so a process of its own.

Its own total adds every rail where there is no VDD_IN (on an AGX Orin VDDQ twice), and its `avg` is an exponential
average; so only the rails' present power is taken, and our table of totals. API of jetson-stats 4: `power["rail"]`
maps a rail to a dict with `power` in mW.
"""

import json
import math
import sys
from typing import Any, Dict, List, Optional

from edge_bench.child import python_call
from edge_bench.power.jetson import Found
from edge_bench.power.lines import LinesFeed, first_values
from edge_bench.power.totals import no_total, total_of
from edge_bench.power.window import Clock, Meter
from edge_bench.schema import unavailable

_INTERVAL_S = 0.5
_START_S = 15.0


def find(interval_s: Optional[float]) -> Found:
    """The meter by jtop; starts it once to see the rails."""
    every_s = interval_s or _INTERVAL_S
    command = python_call("edge_bench.power.jtop:print_rails", "%r" % every_s)
    values, seen = first_values(_feed(command, every_s, Clock()), _START_S + every_s)
    if values is None:
        fix = "install jetson-stats and start its service (sudo systemctl start jtop.service), or use --power auto"
        return None, [unavailable("energy", "jtop gives no power: %s" % seen, fix)]
    total = total_of(values)
    if total is None:
        fix = "use --power auto"
        return None, [unavailable("energy", "jtop: " + no_total(values), fix)]
    names, scope = total
    details = {"other_rails": sorted(set(values) - set(names))}
    return Meter("jtop", names, scope, every_s, lambda clock: _feed(command, every_s, clock), details=details), []


def print_rails(interval_text: str) -> None:
    """In the child: a line of JSON with watts by rail for every update of jtop, until the reader ends it."""
    from jtop import jtop  # type: ignore[import-not-found,unused-ignore]

    with jtop(float(interval_text)) as client:
        while client.ok():
            sys.stdout.write(json.dumps(rails_of(client.power)) + "\n")
            sys.stdout.flush()


def rails_of(power: Any) -> Dict[str, float]:
    """Watts by rail of jtop's `power`, whatever else it holds."""
    rails = power.get("rail") if isinstance(power, dict) else None
    found = {}
    for name, figures in (rails or {}).items():
        milliwatts = figures.get("power") if isinstance(figures, dict) else None
        if isinstance(milliwatts, (int, float)) and name != "NC":
            found[name] = milliwatts / 1e3
    return found


def parse_rails(line: str) -> Optional[Dict[str, float]]:
    """Watts by rail from a line of print_rails(); None for anything else."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    if not isinstance(values, dict) or not values:
        return None
    numbers = {name: watts for name, watts in values.items() if isinstance(watts, (int, float))}
    return numbers if all(math.isfinite(watts) for watts in numbers.values()) else None


def _feed(command: List[str], interval_s: float, clock: Clock) -> LinesFeed:
    return LinesFeed(command, lambda: parse_rails, interval_s, clock)
