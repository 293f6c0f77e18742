"""Raspberry Pi: `vcgencmd pmic_read_adc`, on the Pi 5 and the CM4 (Pi 3 and 4B have no such converter).

Lines as `3V3_SYS_A current(1)=0.06295500A` and `3V3_SYS_V volt(9)=3.30811200V`. Only rails with both are power;
EXT5V_V, the input, has a voltage and no current, so the sum is that of the rails on the board. A process for each
sample disturbs: at 50 Hz it slowed a model sixfold, so never more than 5 Hz.
"""

import re
import shutil
import subprocess
from typing import Dict, List, Optional, Tuple

from edge_bench.board.files import device_tree
from edge_bench.power.jetson import Found
from edge_bench.power.polled import PolledFeed
from edge_bench.power.window import Meter, Values
from edge_bench.schema import unavailable

_INTERVAL_S = 0.5
_MIN_INTERVAL_S = 0.2
_TIMEOUT_S = 2.0
_MAX_TEXT = 65536
_READING = re.compile(r"^\s*(\w{1,40})_([AV])\s+\w+\(\d+\)=(-?\d{1,9}(?:\.\d{1,12})?)[AV]\s*$", re.MULTILINE)


def find(interval_s: Optional[float], root: str) -> Found:
    """The meter of the onboard rails; (None, []) where no vcgencmd is. It is asked only on a real root: below another
    one lies another board, and this program would answer for ours.
    """
    program = shutil.which("vcgencmd") if root == "/" else None
    if program is None:
        return None, []
    command = [program, "pmic_read_adc"]
    text = _output(command)
    rails = tuple(sorted(parse_adc(text)))
    if not rails:
        model, seen = device_tree(root, "model") or "this board", text.strip()[:200] or "nothing"
        fix = "measure at its supply: --power-cmd with a program that prints the watts of a meter there"
        return None, [unavailable("energy", "%s: vcgencmd pmic_read_adc said: %s" % (model, seen), fix)]
    every_s = max(interval_s or _INTERVAL_S, _MIN_INTERVAL_S)
    scope = "onboard rails, not the input"
    return Meter(
        "vcgencmd", rails, scope, every_s, lambda clock: PolledFeed(lambda: _read(command, rails), every_s, clock)
    ), []


def parse_adc(text: str) -> Dict[str, float]:
    """Watts by rail, of rails with a current and a voltage."""
    readings: Dict[str, Dict[str, float]] = {"A": {}, "V": {}}
    for name, kind, value in _READING.findall(text):
        readings[kind][name] = float(value)
    amperes, volts = readings["A"], readings["V"]
    return {name: amperes[name] * volts[name] for name in amperes if name in volts}


def _read(command: List[str], rails: Tuple[str, ...]) -> Values:
    values = parse_adc(_output(command))
    return {name: values[name] for name in rails} if all(name in values for name in rails) else None


def _output(command: List[str]) -> str:
    """What vcgencmd says, or why it says nothing; it may not answer at all."""
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ended.stdout[:_MAX_TEXT].decode("utf-8", "replace")
