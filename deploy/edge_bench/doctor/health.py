"""What else may spoil a measurement: a full disk, busy programs, a wrong clock, a broken locale."""

import locale
import os
import time
from typing import Any, Dict, Optional

from edge_bench.board.load import busiest_processes

_BUSY_WINDOW_S = 0.5


def read_health(root: str = "/") -> Dict[str, Any]:
    """disk_free_bytes and disk_total_bytes of the current folder, the busiest processes, the year, the locale."""
    free, total = _disk()
    return {
        "disk_free_bytes": free,
        "disk_total_bytes": total,
        "busiest": busiest_processes(root, _BUSY_WINDOW_S),
        "year": time.localtime().tm_year,
        "locale": _locale_name(),
        "locale_works": _locale_works(),
        "devices_denied": [name for name in ("nvmap", "nvhost-gpu", "nvgpu", "vcio") if _is_denied(root, name)],
    }


def _disk() -> Any:
    try:
        disk = os.statvfs(os.getcwd())
    except OSError:
        return None, None
    return disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize


def _locale_name() -> Optional[str]:
    for name in ("LC_ALL", "LC_CTYPE", "LANG"):
        if os.environ.get(name):
            return os.environ[name]
    return None


def _locale_works() -> bool:
    """Whether the system has the locale that is asked for; the one in use stays as it was."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, "")
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return True


def _is_denied(root: str, name: str) -> bool:
    """A device that is there and that this user may not open."""
    path = os.path.join(root, "dev", name)
    return os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK)
