"""The fleet's side of `one_board.py`: starts it, hands its log on, understands its answer, interrupts it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_dendrite.errors import DeployError
from edge_dendrite.ship.process import LineReader

# Modules come from where ours come from, never from the folder that the user happens to be in.
_PROGRAM = "import sys; sys.path[:] = sys.argv[1:]; from edge_dendrite.ship.one_board import main; main()"
_MAX_ANSWER_BYTES = 16 << 20


class BoardProcess:
    """One board's deploy. `request` is what `one_board` takes."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._request = request
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._is_interrupted = False

    def measure(self, log: Callable[[str], None]) -> list[Path]:
        """The measurements that there are now. Raises DeployError as deploy_rounds does, and KeyboardInterrupt when
        it was interrupted; RuntimeError when the process ended by an error of its own."""
        with self._lock:
            if self._is_interrupted:
                raise KeyboardInterrupt
            child = self._child = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C reaches the fleet, which ends its boards in order
            )
        assert child.stdin and child.stdout and child.stderr
        lines = LineReader(child, log)
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(json.dumps(self._request).encode() + b"\n")
            child.stdin.flush()
        with child.stdout:
            output = child.stdout.read(_MAX_ANSWER_BYTES)
        code, last = child.wait(), lines.finish()
        with contextlib.suppress(BrokenPipeError):
            child.stdin.close()
        return self._understand(output, code, last)

    def _understand(self, output: bytes, code: int, last: str) -> list[Path]:
        if code == 0 and output:
            answer = json.loads(output.splitlines()[-1])
            if "files" in answer:
                return [Path(path) for path in answer["files"]]
            if "failed" in answer:
                raise DeployError(answer["failed"])
        if self._is_interrupted:
            raise KeyboardInterrupt
        if code == 0 and output:  # SIGTERM from somebody else
            raise DeployError("its process here was ended from outside; run the same command again")
        raise RuntimeError(last or f"exit code {code}")

    def interrupt(self) -> None:
        """Once: its run is ended and what it has is fetched. Again: whatever it waits for then is given up too."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """At once; what it had is left on the board."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with self._lock:
            self._is_interrupted = True
            if self._child is not None and self._child.poll() is None:
                self._child.send_signal(number)
