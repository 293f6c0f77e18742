"""The one process on the host behind a running board: starts it, wires its network, replays its power, ends it.

    python -m scripts.virtual_board.supervisor FOLDER

FOLDER holds what layer.py wrote and `plan.json`. It notes itself in `process.json` before it does anything else, so
nothing of a board runs unnoted, and `ready.json` when sshd answers. The kernel ends the board's processes when this
one dies, however it dies, and with the last of them go mounts, network and namespaces.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from edge_bench.atomic import write_bytes
from scripts.virtual_board.errors import BoardError
from scripts.virtual_board.layer import number_text
from scripts.virtual_board.network import pick_subnet
from scripts.virtual_board.processes import identity
from scripts.virtual_board.profile import read_profile
from scripts.virtual_board.replay import Step, read_steps, run_replay

_START = Path(__file__).parent / "start.sh"
_NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child=KILL")
# For all boards of this machine, whatever cache folder they are in.
_NETWORK_LOCK = Path("/run/edge-dendrite-virtual-board.lock")
_READY_LIMIT_S = 60.0
_LOOK_S = 0.2
_INTERFACES = Path("/sys/class/net")
_PR_SET_PDEATHSIG = 1


def main(folder: Path) -> None:
    """Run a board until SIGTERM, or until it ends by itself."""
    write_json(folder / "process.json", identity(os.getpid()))
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    plan = json.loads((folder / "plan.json").read_text("utf-8"))
    steps = read_steps(read_profile(plan["profile"]).replay)
    with _board(folder, plan) as (child, address):
        _wait_for_sshd(child, address)
        write_json(folder / "ready.json", {"address": address})
        with (folder / "power.log").open("a", encoding="utf-8", buffering=1) as log:
            run_replay(
                steps,
                functools.partial(_show, folder),
                lambda watts: print(f"{time.monotonic():.6f} {watts:.6f}", file=log),
                lambda seconds: _wait(child, seconds),
            )
    raise BoardError(f"the board ended by itself with {child.returncode}")


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def write_json(path: Path, value: Any) -> None:
    write_bytes(str(path), json.dumps(value).encode())


@contextmanager
def _board(folder: Path, plan: dict[str, Any]) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The board's first process and its address; it is ended on the way out."""
    parent = os.getpid()
    # Subnets are picked from what is in use, so only one board at a time may do it.
    with _NETWORK_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        host_address, address = pick_subnet()
        command = ["unshare", *_NAMESPACES, "sh", str(_START), str(folder), ":".join(plan["lower"])]
        child = subprocess.Popen(
            [*command, plan["name"], f"{address}/30"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            preexec_fn=functools.partial(_die_with, parent),
        )
        try:
            assert child.stdin is not None and child.stdout is not None
            if child.stdout.readline() != b"ready\n":
                raise BoardError("the namespaces of the board could not be made")
            _wire(plan["interface"], host_address, child.pid)
            child.stdin.write(b"go\n")
            child.stdin.close()
        except BaseException:
            _end(child)
            raise
    try:
        yield child, address
    finally:
        unwire(plan["interface"])
        _end(child)


def _die_with(parent: int) -> None:
    """The kernel kills this process when its parent dies (prctl of Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _wire(interface: str, host_address: str, pid: int) -> None:
    """A pair of interfaces: ours, and eth0 in the board's namespace. When that one ends the pair is gone."""
    for words in (
        f"link add {interface} type veth peer name eth0 netns {pid}",
        f"address add {host_address}/30 dev {interface}",
        f"link set {interface} up",
    ):
        ended = subprocess.run(["ip", *words.split()], capture_output=True, text=True, check=False)
        if ended.returncode != 0:
            raise BoardError(f"ip {words}: {ended.stderr.strip()}")


def unwire(interface: str) -> bool:
    """Take a pair of interfaces away; whether it is gone. With the namespace it goes too, but when the kernel likes."""
    if (_INTERFACES / interface).is_symlink():
        subprocess.run(["ip", "link", "delete", interface], capture_output=True, check=False)
    return not (_INTERFACES / interface).is_symlink()


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.kill()  # unshare; the kernel passes it on to the board's process 1
    child.wait()


def _wait_for_sshd(child: subprocess.Popen[bytes], address: str) -> None:
    limit_s = time.monotonic() + _READY_LIMIT_S
    while time.monotonic() < limit_s:
        if child.poll() is not None:
            raise BoardError(f"the board ended with {child.returncode} while it started")
        try:
            with socket.create_connection((address, 22), timeout=5) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise BoardError(f"sshd did not answer on {address} within {_READY_LIMIT_S:.0f} s")


def _show(folder: Path, step: Step) -> None:
    for name, value in step.numbers.items():
        with (folder / "sys" / name).open("r+") as stream:
            stream.write(number_text(value))
    for name, text in step.texts.items():
        write_bytes(str(folder / "replay" / name), text.encode())
        (folder / "replay" / name).chmod(0o644)


def _wait(child: subprocess.Popen[bytes], seconds: float) -> bool:
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        if child.poll() is not None:
            return True
        time.sleep(max(0.0, min(_LOOK_S, end_s - time.monotonic())))
    return False


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except BoardError as problem:
        sys.exit(f"error: {problem}")
