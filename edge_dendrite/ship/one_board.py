"""The work for one board of a fleet, in a process of its own: request on stdin, log on stderr, answer on stdout.

In a process, Ctrl-C, a copy that was cut off and a broken connection mean what they mean for one board alone. SIGTERM
interrupts it, and so does the end of its stdin: when the fleet is killed, its boards are not left running.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_bench.errors import EdgeBenchError
from edge_dendrite.errors import EdgeDendriteError
from edge_dendrite.progress import Progress
from edge_dendrite.ship.deploy import deploy_rounds
from edge_dendrite.ship.options import RunOptions, SshOptions

_LOOK_S = 2.0


def main() -> None:
    """Measure as the request says; what became of it is the last line of stdout."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the fleet decides
    try:
        request = json.loads(sys.stdin.buffer.readline())
        threading.Thread(target=_end_with_fleet, daemon=True).start()
        answer: dict[str, Any] = {"files": [str(path) for path in _measure(request)]}
    except KeyboardInterrupt:
        answer = {"interrupted": True}
    except (EdgeDendriteError, EdgeBenchError) as error:
        answer = {"failed": str(error)}
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        answer = {"failed": f"{place}{error.strerror or error}"}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a thread still reads


def _measure(request: dict[str, Any]) -> list[Path]:
    ssh = request["ssh"]
    return deploy_rounds(
        request["bundles"],
        request["target"],
        request["folder"],
        num_rounds=request["num_rounds"],
        again=request["again"],
        options=RunOptions(**request["options"]),
        ssh=SshOptions(Path(ssh["ssh_config"]) if ssh["ssh_config"] else None, ssh["python"], ssh["remote_dir"]),
        log=_say,
        progress=_said_now_and_then(_say),
        board_name=request["board_name"],
        clean=request["clean"],
    )


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _said_now_and_then(say: Callable[[str], None]) -> Progress:
    """Progress as lines, where a bar for each of many boards would not fit."""
    last_s = time.monotonic()

    def show(what: str, done: int, total: int) -> None:
        nonlocal last_s
        if time.monotonic() - last_s >= _LOOK_S:
            last_s = time.monotonic()
            say(f"{what}: {done / max(total, 1):.0%}")

    return show


def _end_with_fleet() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt
