"""Boards of this machine: bringing one up, finding it, ending it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scripts.virtual_board import tree
from scripts.virtual_board.errors import BoardError
from scripts.virtual_board.host import require_parts
from scripts.virtual_board.layer import USER, write_layer
from scripts.virtual_board.processes import is_running
from scripts.virtual_board.profile import read_profile
from scripts.virtual_board.supervisor import unwire, write_json

Log = Callable[[str], None]
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_ROOT = Path(__file__).parent.parent.parent
_END_LIMIT_S = 10.0


@dataclass(frozen=True)
class Board:
    """A board that is up. `power_log`: which power it showed when, on the monotonic clock."""

    name: str
    profile: str
    address: str
    user: str
    ssh_config: str
    power_log: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def default_cache() -> Path:
    """The cache folder of the caller, also under sudo: what ssh needs must be readable for whoever calls it."""
    caller = os.environ.get("SUDO_USER")
    home = Path(f"~{caller}").expanduser() if caller else Path.home()
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "edge-dendrite" / "virtual-board"


def bring_up(profile_name: str, name: str | None, cache: Path, mirror: str | None, log: Log) -> Board:
    """Start a board, or find the one of that name and kind that runs. Raises BoardError, CannotRun."""
    profile, name = read_profile(profile_name), name or profile_name
    _check_name(name)
    require_parts()
    cache = cache.absolute()
    _check_place(cache)
    boards = cache / "boards"
    boards.mkdir(parents=True, exist_ok=True)
    boards.chmod(0o711)
    with _one_at_a_time(cache, name):
        folder = boards / name
        if is_up(folder):
            running = read_board(cache, name)
            if running.profile != profile_name:
                raise BoardError(f"{name} runs already, as {running.profile}: give another --name, or end it first")
            return running
        _clear(folder)
        system = tree.system_tree(cache, profile.suite, mirror, log)
        runtime = tree.runtime_layer(cache, system, log)
        try:
            folder.mkdir()
            interface = f"edb{secrets.token_hex(5)}"
            lower = [str(folder / "layer"), str(runtime), str(system)]
            plan = {"name": name, "profile": profile_name, "lower": lower, "interface": interface}
            write_json(folder / "plan.json", plan)
            (folder / "memory").mkdir()
            write_layer(folder, system, profile, name)
            _start(folder)
            _write_ssh_config(folder, name)
        except BaseException:
            _clear(folder)
            raise
        return read_board(cache, name)


def bring_down(name: str, cache: Path) -> None:
    """End a board and remove all of it, also what a killed run left. Raises BoardError when there is none."""
    _check_name(name)
    folder = cache.absolute() / "boards" / name
    if not folder.exists():
        raise BoardError(f"there is no board {name}; virtual-board list shows those that are there")
    with _one_at_a_time(cache.absolute(), name):
        _clear(folder)


def board_names(cache: Path) -> list[str]:
    folder = cache / "boards"
    return sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def read_board(cache: Path, name: str) -> Board:
    """A board that is up. Raises BoardError when it is not."""
    _check_name(name)
    folder = cache.absolute() / "boards" / name
    if not is_up(folder):
        raise BoardError(f"no board {name} is up; start it with: virtual-board up PROFILE --name {name}")
    plan, ready = _read(folder / "plan.json"), _read(folder / "ready.json")
    log = str(folder / "power.log")
    return Board(name, plan["profile"], ready["address"], USER, str(folder / "ssh_config"), log)


def is_up(folder: Path) -> bool:
    """Whether a board's process runs and sshd answered."""
    process = _read(folder / "process.json")
    return bool(process) and is_running(process) and (folder / "ssh_config").exists()


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BoardError(f"{name!r} cannot be a board's name: up to 32 small letters, digits and dashes")


def _check_place(cache: Path) -> None:
    if any(char in str(cache) for char in ":,\\\n "):
        raise BoardError(f"--cache {cache}: the kernel's overlays take no colon, comma, blank or backslash in a path")


@contextlib.contextmanager
def _one_at_a_time(cache: Path, name: str) -> Iterator[None]:
    locks = cache / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with tree.locked(locks / f"{name}.lock"):
        yield


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _start(folder: Path) -> None:
    """Start the supervisor in a session of its own and wait until sshd answers."""
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "scripts.virtual_board.supervisor", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": f"{_ROOT}:{_ROOT / 'deploy'}"},
            cwd="/",
        )
    try:
        while not (folder / "ready.json").exists():
            if child.poll() is not None:
                lines = (folder / "log").read_text("utf-8", "replace").strip().splitlines()
                reason = " | ".join(lines[-3:]) or f"exit code {child.returncode}"
                raise BoardError(f"the board did not start: {reason}")
            time.sleep(0.02)
    except BaseException:
        child.kill()  # it may not have noted itself yet; the kernel ends what it has started
        child.wait()
        raise


def _write_ssh_config(folder: Path, name: str) -> None:
    address = _read(folder / "ready.json")["address"]
    key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"{address} {key}\n")
    _give_to_caller(folder / "user_key")
    text = (
        f"Host {name}\n  HostName {address}\n  User {USER}\n  IdentityFile {folder}/user_key\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known_hosts\n  StrictHostKeyChecking yes\n  BatchMode yes\n"
    )
    part = folder / "ssh_config.part"
    part.write_text(text)
    part.rename(folder / "ssh_config")  # the last file: with it the board counts as up


def _give_to_caller(key: Path) -> None:
    """Under sudo the key is the caller's: ssh takes no key of somebody else."""
    if os.environ.get("SUDO_UID", "").isdigit():
        os.chown(key, int(os.environ["SUDO_UID"]), -1)


def _clear(folder: Path) -> None:
    """End the process of a board if it runs, and remove its folder and its end of the network."""
    process = _read(folder / "process.json")
    if process and is_running(process):
        pid = int(process["pid"])
        os.kill(pid, signal.SIGTERM)
        if not _came_true(lambda: not is_running(process), _END_LIMIT_S):
            os.kill(pid, signal.SIGKILL)
            _came_true(lambda: not is_running(process), _END_LIMIT_S)
    interface = str(_read(folder / "plan.json").get("interface", ""))
    if interface and not _came_true(lambda: unwire(interface), _END_LIMIT_S):
        raise BoardError(f"the kernel still holds the network interface {interface}: run `down {folder.name}` again")
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise BoardError(f"{folder} could not be removed: look whether something still uses it")


def _came_true(condition: Callable[[], bool], limit_s: float) -> bool:
    end_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.05)
    return True
