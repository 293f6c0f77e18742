"""What this board is and can do. Runtimes are probed in child processes: a crashing library is a row, not a crash."""

import sys
from typing import Any, Callable, Dict, Tuple

from edge_bench import __version__, child
from edge_bench.board.describe import describe_board
from edge_bench.board.memory import system_memory
from edge_bench.board.power_mode import power_modes
from edge_bench.board.programs import find_program
from edge_bench.board.state import missing_state, read_state
from edge_bench.cuda.driver import probe_driver
from edge_bench.doctor import problems
from edge_bench.doctor.health import read_health
from edge_bench.engine.trtexec import find_trtexec
from edge_bench.power import meter as power

_PROBE_TIMEOUT_S = 60
_PROBE = """
import importlib, json, os, platform, sys
if platform.machine() == "aarch64":
    os.environ.setdefault("OPENBLAS_CORETYPE", "ARMV8")
names = sys.argv[1:]
while True:
    name = names.pop(0)
    try:
        module = importlib.import_module(name)
        break
    except ModuleNotFoundError:  # another release may have it under another name
        if not names:
            raise
package = sys.modules[name.split(".")[0]]
version = getattr(module, "__version__", None) or getattr(package, "__version__", None)
version = version or getattr(package, "VERSION_TEXT", None)
found = {"version": version if isinstance(version, str) else None}
if hasattr(module, "get_available_providers"):
    found["providers"] = list(module.get_available_providers())
print("\\n" + json.dumps(found))
"""

# Name, modules of which the first that is there counts, what it is for.
_MODULES = (
    ("onnxruntime", ("onnxruntime",), "runs the ONNX model of a bundle"),
    ("numpy", ("numpy",), "needed by onnxruntime"),
    ("tensorrt", ("tensorrt",), "runs engines on NVIDIA boards"),
    ("pycuda", ("pycuda.driver",), "buffers on request; not needed"),
    ("cuda-python", ("cuda.bindings.driver", "cuda.cuda"), "buffers on request; not needed"),
)
_JETSON_MODULES = (("jetson-stats", ("jtop",), "power on request; not needed"),)
# What boards of a kind bring.
_PROGRAMS = {
    "jetson": (
        ("tegrastats", "figures of the board, where /sys has none"),
        ("nvpmodel", "names and sets the power mode"),
        ("jetson_clocks", "pins the clocks"),
    ),
    "raspberry-pi": (("vcgencmd", "throttling and power of the board"),),
}  # type: Dict[str, Tuple[Tuple[str, str], ...]]


def diagnose(root: str = "/", on_step: Callable[[str], None] = lambda step: None) -> Dict[str, Any]:
    """The board, its state, its runtimes and sensors, every problem with the command that fixes it, and what is normal.

    `root` is where /proc and /sys are looked for; runtimes, driver and programs are always those of this system.
    """
    on_step("the board")
    board, state = describe_board(root), read_state(root)
    runtimes = []
    for name, modules, purpose in _MODULES + (_JETSON_MODULES if board["kind"] == "jetson" else ()):
        on_step(name)
        row = probe_runtime(modules[0], purpose, problems.install_command(name, board), modules[1:])
        runtimes.append(dict(row, name=name))
    on_step("the NVIDIA driver")
    driver = probe_driver()
    on_step("programs")
    programs = [_trtexec()]
    for name, purpose in _PROGRAMS.get(board["kind"], ()):
        programs.append({"name": name, "purpose": purpose, "path": find_program(name)})
    on_step("power sensors")
    meter, no_energy = power.find_meter(root=root)
    on_step("other programs")
    diagnosis = {
        "schema": "edge-dendrite.doctor",
        "version": 1,
        "agent": {"version": __version__},
        "board": board,
        "state": state,
        "runtimes": runtimes,
        "driver": driver,
        "programs": programs,
        "energy": None if meter is None else {"source": meter.source, "rails": list(meter.rails), "scope": meter.scope},
        "health": read_health(root),
        "power_modes": power_modes(root),
    }  # type: Dict[str, Any]
    diagnosis["problems"], diagnosis["notes"] = problems.find_problems(diagnosis, no_energy + missing_state(state))
    return diagnosis


def diagnose_runtimes() -> Dict[str, Any]:
    """Only what decides whether a network loads here, under the same keys: a host asks for it before it copies one."""
    board = describe_board()
    runtimes = []
    for name, modules, purpose in _MODULES:
        if name in problems.RUNS_NETWORKS:
            row = probe_runtime(modules[0], purpose, problems.install_command(name, board))
            runtimes.append(dict(row, name=name))
    return {
        "schema": "edge-dendrite.doctor",
        "version": 1,
        "agent": {"version": __version__},
        "board": board,
        "state": {"memory_available_bytes": system_memory("/").get("MemAvailable")},
        "runtimes": runtimes,
        "driver": probe_driver(),
        "programs": [_trtexec()],
    }


def probe_runtime(module: str, purpose: str, install: str, others: Tuple[str, ...] = ()) -> Dict[str, Any]:
    """Import `module`, or the first of `others`, in a child process; says its version, or how the import ended."""
    row = {"name": module, "purpose": purpose, "install": install, "works": False}  # type: Dict[str, Any]
    command = [sys.executable, "-c", _PROBE, module] + list(others)
    answer, reason = child.ask(command, "importing it", _PROBE_TIMEOUT_S)
    if answer is None:
        row["reason"] = reason
    else:
        row.update(answer, works=True)
    return row


def _trtexec() -> Dict[str, Any]:
    row = {"name": "trtexec", "purpose": "builds and runs engines without Python", "path": None}  # type: Dict[str, Any]
    program, reason = find_trtexec()
    if program is None:
        row["reason"] = reason
    else:
        row.update(path=program.path, version=program.version)
    return row
