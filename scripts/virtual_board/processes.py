"""Processes by number and start: a number alone may be another program's by now."""

from __future__ import annotations

from pathlib import Path

Identity = dict[str, int | str]


def identity(pid: int) -> Identity:
    """What tells a running process from every other one, also across a restart of this machine."""
    start = start_ticks(pid)
    assert start is not None
    return {"pid": pid, "start_ticks": start, "boot_id": _boot_id()}


def is_running(noted: Identity) -> bool:
    """Whether the very process that was noted runs, and is no zombie."""
    return noted["boot_id"] == _boot_id() and start_ticks(int(noted["pid"])) == noted["start_ticks"]


def start_ticks(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine did; None when there is none, or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name before may hold blanks and brackets
    return None if fields[0] in "ZX" else int(fields[19])


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
