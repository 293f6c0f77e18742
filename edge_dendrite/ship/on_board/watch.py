"""Runs the agent on a board for as long as a host is connected; sent as text, as store.py is.

The first line of input is the request. When the input ends, because the host says so or because it is gone, the agent
is asked to end (SIGTERM): it writes what it has measured. One deploy measures at a time in a folder.
"""

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Dict

from edge_dendrite.ship.on_board.files import native, user_cache

GRACE_S = 15.0


def environment(request: Dict[str, Any]) -> Dict[str, str]:
    """Temporary files into the run's folder; what is built into one that can be written."""
    folder, run = native(request["folder"]), native(request["run"])
    changed = dict(os.environ, TMPDIR=os.path.join(run, "tmp"))
    if request["own_cache"]:
        changed["XDG_CACHE_HOME"] = os.path.join(run, "cache")
    elif not can_be_written(user_cache()):
        changed["XDG_CACHE_HOME"] = os.path.join(folder, "cache")
    return changed


def can_be_written(path: str) -> bool:
    while not os.path.lexists(path) and os.path.dirname(path) != path:
        path = os.path.dirname(path)
    return os.access(path, os.W_OK | os.X_OK)


def wait_for_turn(folder: str) -> int:
    """The lock of measuring; -1 when the host goes away before it is our turn."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor, is_told = os.open(os.path.join(folder, "measuring.lock"), flags, 0o600), False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except OSError:
            if not is_told:
                sys.stderr.write("another deploy measures on this board; waiting for it\n")
                sys.stderr.flush()
                is_told = True
        if select.select([0], [], [], 0.2)[0]:  # no second line is ever sent
            return -1


def end_with_host(child: Any) -> None:
    while os.read(0, 4096):
        pass
    try:
        child.terminate()
        time.sleep(GRACE_S)
        os.killpg(child.pid, signal.SIGKILL)
    except OSError:
        pass


def main(token: str) -> int:
    os.umask(0o077)
    request = json.loads(sys.stdin.buffer.readline().decode("utf-8"))
    if request["alone"] and wait_for_turn(native(request["folder"])) < 0:
        return 130
    run = os.open(native(request["run"]), os.O_RDONLY)
    fcntl.flock(run, fcntl.LOCK_SH)  # other deploys remove what nobody holds
    os.write(1, ("\n%s\n" % token).encode("ascii"))
    child = subprocess.Popen(
        [native(word) for word in request["argv"]],
        stdin=subprocess.DEVNULL,
        stdout=None if request["output"] else subprocess.DEVNULL,
        cwd=native(request["run"]),
        env=environment(request),
        start_new_session=True,
    )
    threading.Thread(target=end_with_host, args=(child,), daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    exit_code = main(sys.argv[1])
    os._exit(exit_code)  # a thread still reads, which would keep older Pythons from ending
