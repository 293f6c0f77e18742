"""What this board can do: each runtime is probed in a child process, so a crashing library is a row, not a crash."""

import sys
from typing import Any, Dict, List

from edge_bench import __version__, child
from edge_bench.board.describe import describe_board
from edge_bench.board.state import missing_state, read_state
from edge_bench.power import meter as power

_PROBE_TIMEOUT_S = 60
_PROBE = """
import json, os, platform, sys
if platform.machine() == "aarch64":
    os.environ.setdefault("OPENBLAS_CORETYPE", "ARMV8")
module = __import__(sys.argv[1])
found = {"version": getattr(module, "__version__", None)}
if hasattr(module, "get_available_providers"):
    found["providers"] = module.get_available_providers()
print("\\n" + json.dumps(found))
"""

# module, what it is for, how to get it
_RUNTIMES = (
    ("onnxruntime", "runs the ONNX model of a bundle", "python3 -m pip install onnxruntime"),
    ("numpy", "needed by onnxruntime", "python3 -m pip install numpy"),
    (
        "tensorrt",
        "runs engines on NVIDIA boards",
        "comes with JetPack: sudo apt-get install python3-libnvinfer",
    ),
)


def diagnose() -> Dict[str, Any]:
    """The board, its state, its runtimes and sensors, and every problem with the command that fixes it."""
    state = read_state()
    meter, no_energy = power.find_meter()
    runtimes = [probe_runtime(*runtime) for runtime in _RUNTIMES]
    return {
        "schema": "edge-dendrite.doctor",
        "version": 1,
        "agent": {"version": __version__},
        "board": describe_board(),
        "state": state,
        "runtimes": runtimes,
        "energy": None if meter is None else {"source": meter.source, "rails": meter.rails, "scope": meter.scope},
        "problems": _problems(runtimes, state) + no_energy + missing_state(state),
    }


def probe_runtime(module: str, purpose: str, install: str) -> Dict[str, Any]:
    """Import `module` in a child process; says its version, or how the import ended."""
    row = {"name": module, "purpose": purpose, "install": install, "works": False}  # type: Dict[str, Any]
    answer, reason = child.ask([sys.executable, "-c", _PROBE, module], "importing it", _PROBE_TIMEOUT_S)
    if answer is None:
        row["reason"] = reason
    else:
        row.update(answer, works=True)
    return row


def _problems(runtimes: List[Dict[str, Any]], state: Dict[str, Any]) -> List[Dict[str, str]]:
    problems = []
    usable = [row for row in runtimes if row["works"] and row["name"] in ("onnxruntime", "tensorrt")]
    if not usable:
        row = runtimes[0]
        problems.append({"what": "inference", "reason": "no runtime works: " + row["reason"], "fix": row["install"]})
    slow = sorted({name for name in state["governors"].values() if name not in ("performance", "schedutil")})
    if slow:
        problems.append(
            {
                "what": "clocks",
                "reason": "CPU governor is %s: clocks move during a measurement" % ", ".join(slow),
                "fix": "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
            }
        )
    return problems
