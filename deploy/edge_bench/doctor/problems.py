"""What is wrong on a board, each with the command that mends it there; and what is normal on such a machine.

Versions of wheels are those that resolve for aarch64 (pip download, only binary). python3-libnvinfer is built for
the system's own Python, so no other one finds it.
"""

import re
from typing import Any, Dict, List, Optional, Tuple

from edge_bench.board.clocks import is_gpu
from edge_bench.board.state import throttling_now

RUNS_NETWORKS = ("onnxruntime", "tensorrt")
_MIB, _GIB = float(1 << 20), float(1 << 30)
_MIN_DISK_BYTES, _MIN_DISK_SHARE = 500 << 20, 0.05
_MAX_SWAP_USED_BYTES = 64 << 20
_MIN_AVAILABLE_SHARE = 0.10
_MAX_OTHER_CPU_SHARE = 0.25
_DESKTOPS = ("Xorg", "gnome-shell", "compiz", "lightdm", "Xwayland", "unity", "gdm")
# By Python: the newest onnxruntime and numpy for aarch64 with glibc 2.27 (Ubuntu 18.04), and with 2.28 or newer.
_WHEELS = {
    "onnxruntime": {
        "3.6": ("1.10.0", "1.10.0"),
        "3.8": ("1.19.2", "1.19.2"),
        "3.9": ("1.19.2", "1.19.2"),
        "3.10": ("1.23.2", "1.23.2"),
        "3.11": ("1.28.0", "1.31.1"),
        "3.12": ("1.28.0", "1.31.1"),
        "3.13": ("1.28.0", "1.31.1"),
    },
    "numpy": {"3.6": ("1.19.5", "1.19.5"), "3.8": ("1.24.4", "1.24.4"), "3.9": ("2.0.2", "2.0.2")},
}

Row = Dict[str, str]


def install_command(module: str, board: Dict[str, Any]) -> str:
    """How a module is installed on this board."""
    if module == "tensorrt":
        if board["kind"] == "jetson":
            return "sudo apt-get install python3-libnvinfer; then use the system's own Python, /usr/bin/python3"
        return "python3 -m pip install tensorrt (it needs an NVIDIA GPU)"
    package = module
    python = ".".join(board["python"].split(".")[:2])
    versions = _WHEELS.get(module, {}).get(python)
    if versions is not None and (board["machine"] == "aarch64" or python == "3.6"):
        package += "==" + versions[_glibc_is_at_least(board["glibc"], 28)]
    # The pip 9 of Ubuntu 18.04 knows none of today's wheel tags.
    first = "python3 -m pip install 'pip==21.3.1' && " if python == "3.6" else ""
    return "%spython3 -m pip install %s" % (first, package)


def _glibc_is_at_least(version: Optional[str], minor: int) -> bool:
    found = re.match(r"2\.(\d+)", version or "")
    return found is not None and int(found.group(1)) >= minor


def find_problems(diagnosis: Dict[str, Any], missing: List[Row]) -> Tuple[List[Row], List[Row]]:
    """(problems, notes), rows of what, reason and fix. A note is normal on such a machine, or a matter of choice."""
    board, state, health = diagnosis["board"], diagnosis["state"], diagnosis["health"]
    found = _runtime_problems(diagnosis) + _clock_problems(board, state) + _throttle_problems(board, state)
    found += _memory_problems(board, state) + _health_problems(board, health)
    notes = []  # type: List[Row]
    if board.get("emulated"):
        reason = "it is emulated (%s): speed, energy and memory here are not a board's" % board["emulated"]
        notes.append(_row("processor", reason, "use it to try things out; measure on a real board"))
    for row in missing:
        (notes if _is_normal(row, board) else found).append(row)
    return found, notes + _mode_notes(state, diagnosis["power_modes"])


def _row(what: str, reason: str, fix: str) -> Row:
    return {"what": what, "reason": reason, "fix": fix}


def is_absent(row: Dict[str, Any]) -> bool:
    """Whether a runtime that does not work is simply not installed."""
    names = {"pycuda": "pycuda", "cuda-python": "cuda", "jetson-stats": "jtop"}
    found = re.match(
        r"ModuleNotFoundError: No module named '(\w+)(?:\.[\w.]+)?'$", "" if row["works"] else row["reason"]
    )
    return found is not None and found.group(1) == names.get(row["name"], row["name"])


def _runtime_problems(diagnosis: Dict[str, Any]) -> List[Row]:
    found = []
    rows = {row["name"]: row for row in diagnosis["runtimes"]}
    trtexec = [row for row in diagnosis["programs"] if row["name"] == "trtexec" and row.get("version")]
    usable = trtexec + [row for row in rows.values() if row["works"] and row["name"] in RUNS_NETWORKS]
    for row in diagnosis["runtimes"]:
        if not row["works"] and not is_absent(row):
            found.append(_row(row["name"], "it is installed but does not work: " + row["reason"], _repair(row)))
    if not usable:
        reasons = "; ".join("%s: %s" % (name, rows[name]["reason"]) for name in RUNS_NETWORKS if name in rows)
        found.insert(0, _row("inference", "no runtime works: " + reasons, rows[RUNS_NETWORKS[0]]["install"]))
    driver = diagnosis["driver"]
    if diagnosis["board"]["kind"] == "jetson" and driver["reason"]:
        fix = "sudo apt-get install --reinstall nvidia-l4t-cuda; in a container start it with --runtime nvidia"
        found.append(_row("GPU", driver["reason"], fix))
    return found


def _repair(row: Dict[str, Any]) -> str:
    if "signal 4" in row["reason"]:  # illegal instruction, numpy issue 18131
        return (
            "export OPENBLAS_CORETYPE=ARMV8; if that does not help, install a build for this processor: "
            + row["install"]
        )
    return "install it anew: " + row["install"]


def _clock_problems(board: Dict[str, Any], state: Dict[str, Any]) -> List[Row]:
    found = []
    pinned = state["clocks_pinned"]
    slow = sorted({name for name in state["governors"].values() if name != "performance"})
    moving = [reason for reason in pinned["reasons"] if reason.startswith("GPU") and "may run" in reason]
    if board["kind"] == "jetson" and pinned["answer"] == "no":
        reason = "clocks move during a measurement: " + "; ".join(pinned["reasons"])
        return [_row("clocks", reason, "sudo jetson_clocks")]
    if slow and any(low != high for low, high in state["cpu_clock_limits_hz"].values() or [(0.0, 1.0)]):
        reason = "CPU governor is %s: clocks move during a measurement" % ", ".join(slow)
        fix = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
        found.append(_row("clocks", reason, fix))
    for reason in moving:
        device = [name for name in state["devfreq"] if is_gpu(name)][0]
        fix = "echo performance | sudo tee /sys/class/devfreq/%s/governor" % device
        found.append(_row("GPU clock", reason, fix))
    return found


def _throttle_problems(board: Dict[str, Any], state: Dict[str, Any]) -> List[Row]:
    fix = "let it cool and check the fan and the power supply"
    if board["kind"] == "jetson":
        fix = (
            "sudo jetson_clocks --fan; if it goes on, a lower power mode (sudo nvpmodel -m) or a stronger power supply"
        )
    elif board["kind"] == "raspberry-pi":
        fix = "use the maker's power supply and a fan or heat sink, then look again: vcgencmd get_throttled"
    return [_row("throttling", reason, fix) for reason in throttling_now(state)]


def _memory_problems(board: Dict[str, Any], state: Dict[str, Any]) -> List[Row]:
    found = []
    free = "sudo systemctl isolate multi-user.target (ends the desktop), or end the largest: ps aux --sort=-rss | head"
    used, available, total = state["swap_used_bytes"], state["memory_available_bytes"], board["memory_bytes"]
    if used is not None and used > _MAX_SWAP_USED_BYTES:
        fix = "sudo swapoff -a && sudo swapon -a (takes it back into memory, when it fits)"
        found.append(_row("swap", "%.0f MiB of swap are in use: times may include the disk" % (used / _MIB), fix))
    if available is not None and total and available < _MIN_AVAILABLE_SHARE * total:
        reason = "only %.2f of %.2f GiB are available" % (available / _GIB, total / _GIB)
        found.append(_row("memory", reason, free))
    return found


def _health_problems(board: Dict[str, Any], health: Dict[str, Any]) -> List[Row]:
    found = []
    free, total = health["disk_free_bytes"], health["disk_total_bytes"]
    if free is not None and (free < _MIN_DISK_BYTES or free < _MIN_DISK_SHARE * total):
        reason = "the disk of this folder has %.0f MiB left" % (free / _MIB)
        found.append(
            _row("disk", reason, "sudo apt-get clean; sudo journalctl --vacuum-size=50M; du -xh / | sort -h | tail")
        )
    busy = [row for row in health["busiest"] if row["cpu_share"] > _MAX_OTHER_CPU_SHARE]
    if busy:
        words = ["%s (pid %d, %.0f %% of a core)" % (row["name"], row["pid"], 100 * row["cpu_share"]) for row in busy]
        fix = "wait, or end them: kill %s" % " ".join("%d" % row["pid"] for row in busy)
        if any(row["name"] in _DESKTOPS for row in busy):
            fix = "sudo systemctl isolate multi-user.target (ends the desktop; graphical.target brings it back)"
        found.append(_row("other load", "other programs are busy: " + ", ".join(words), fix))
    if health["year"] < 2020:
        fix = "sudo timedatectl set-ntp true, or without a network: sudo date -s '2026-01-31 12:00'"
        found.append(_row("time", "the clock says it is %d: files get wrong dates" % health["year"], fix))
    for name in health["devices_denied"]:
        fix = "sudo usermod -aG %s $USER, then log in again" % ("video,render" if name == "nvgpu" else "video")
        found.append(_row("permission", "this user may not open /dev/%s" % name, fix))
    if not health["locale_works"]:
        reason = "the locale %s is not installed; some programs (jtop) end because of it" % health["locale"]
        found.append(_row("locale", reason, "export LC_ALL=C.UTF-8, or: sudo locale-gen %s" % health["locale"]))
    return found


def _is_normal(row: Row, board: Dict[str, Any]) -> bool:
    """Whether what is missing is missing on every machine of this kind."""
    if board["in_container"] or board["is_virtual"]:
        return True
    if row["what"] == "energy":
        has_sensor = board["kind"] == "jetson" and "Nano 2GB" not in (board["model"] or "")
        return not has_sensor and "cannot be read" not in row["reason"]
    return False


def _mode_notes(state: Dict[str, Any], modes: Dict[str, str]) -> List[Row]:
    """A power mode is a choice; that there is a faster one should not go unseen."""
    mode = state["power_mode"]
    fastest = [number for number, name in modes.items() if name.startswith("MAXN")]
    if mode is None or not fastest or mode in (modes[fastest[0]], "pmode:%04d" % int(fastest[0])):
        return []
    reason = "it is %s; %s is the fastest of this board" % (mode, modes[fastest[0]])
    return [_row("power mode", reason, "sudo nvpmodel -m %s" % fastest[0])]
