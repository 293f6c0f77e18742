"""The power sensors on a Jetson's board, read directly: INA3221 and, on Thor, INA238."""

import math
from typing import Any, Dict, List, Optional, Tuple

from edge_bench.board.files import device_tree
from edge_bench.power import ina238, ina3221
from edge_bench.power.polled import PolledFeed
from edge_bench.power.sysfs import Rail, read_rails, read_what_answers, unreadable
from edge_bench.power.totals import has_no_sensor, no_total, total_of
from edge_bench.power.window import Meter
from edge_bench.schema import unavailable

_INTERVAL_S = 0.05

Found = Tuple[Optional[Meter], List[Dict[str, str]]]


def find(interval_s: Optional[float], root: str) -> Found:
    """The meter of the board's total rails; (None, []) on a board without such a chip."""
    rails, chips = ina3221.find_rails(root)
    more, other_chips = ina238.find_rails(root)
    rails, chips = rails + more, dict(chips, **other_chips)
    if not rails:
        return None, _known_without_sensor(root)
    by_name = {rail.name: rail for rail in rails}
    total = total_of(by_name)
    if total is None:
        fix = "tell us the board: its total rail has to be documented; or measure with --power-cmd"
        return None, [unavailable("energy", no_total(by_name), fix)]
    names, scope = total
    parts = [by_name[name] for name in names]
    if read_rails(parts) is None:
        return None, [unreadable(tuple(path for rail in parts for path in rail.paths))]
    others = [rail for name, rail in sorted(by_name.items()) if name not in names]
    every_s = interval_s or _INTERVAL_S

    def others_now() -> Dict[str, float]:
        return read_what_answers(others)

    return (
        Meter(
            "ina238" if names == ("VIN",) else "ina3221",
            names,
            scope,
            every_s,
            lambda clock: PolledFeed(lambda: read_rails(parts), every_s, clock, others_now if others else None),
            _sum_of_steps(parts),
            _details(chips, others),
        ),
        [],
    )


def _details(chips: Dict[str, Any], others: List[Rail]) -> Dict[str, Any]:
    return {"chips": chips, "other_rails": [rail.name for rail in others]}


def _sum_of_steps(rails: List[Rail]) -> Optional[float]:
    steps = [rail.step_w for rail in rails if rail.step_w is not None]
    return math.fsum(steps) if len(steps) == len(rails) else None


def _known_without_sensor(root: str) -> List[Dict[str, str]]:
    if not has_no_sensor(root):
        return []
    fix = "measure at its USB-C supply: --power-cmd with a program that prints the watts of a meter there"
    return [unavailable("energy", "%s has no power sensor (no INA3221)" % device_tree(root, "model"), fix)]
