"""Any program: one inference is one run of it, from its start to its end."""

import os
from typing import Any, BinaryIO, List, Optional, Sequence

from edge_bench import child
from edge_bench.backends.base import Backend
from edge_bench.errors import BackendError

DEFAULT_TIMEOUT_S = 600.0
_MAX_LOG_BYTES = 1 << 20
_TAIL_LINES = 5


class CommandBackend(Backend):
    """A list of words, never a shell's line. It runs where this program was started, with no input.

    It is a process group of its own, which an interrupt or the time limit ends as a whole. What it writes to stdout is
    dropped, or goes into `log_path` with what it writes to stderr: of the latest run, one mebibyte at most.
    """

    name = "command"
    is_another_process = True

    def __init__(self, words: Sequence[str], timeout_s: float = DEFAULT_TIMEOUT_S, log_path: Optional[str] = None):
        super().__init__()
        if not words:
            raise BackendError("no command was given: --cmd 'PROGRAM ARGUMENTS'")
        self._words, self._timeout_s = list(words), timeout_s
        self._cwd = os.getcwd()
        self.providers = [self._words[0]]
        try:
            self._log: BinaryIO = open(log_path or os.devnull, "wb", 0)  # noqa: SIM115 - stays open
        except OSError as error:
            raise BackendError("the log %s cannot be written: %s" % (log_path, error.strerror or error)) from error
        self._keeps_log = log_path is not None

    def set_inputs(self, contents: Sequence[bytes]) -> None:
        if contents:
            raise BackendError("a command takes no inputs of ours")

    def infer(self) -> Any:
        if self._keeps_log:
            self._log.seek(0)
            self._log.truncate()
        try:
            ended = child.run_logged(
                self._words,
                self._log,
                _MAX_LOG_BYTES,
                self._timeout_s,
                lambda line: None,
                cwd=self._cwd,
                drop_stdout=not self._keeps_log,
            )
        except (OSError, ValueError) as error:  # ValueError: a zero byte in a word
            raise BackendError("%s cannot be started: %s" % (self._words[0], error)) from error
        if ended.returncode:
            said = " | ".join(line.strip() for line in ended.tail[-_TAIL_LINES:] if line.strip())
            raise BackendError("%s ended with %s%s" % (self._words[0], ended.how(), ": " + said[:600] if said else ""))
        if ended.returncode is None:
            raise BackendError("%s took more than %g s and was ended" % (self._words[0], self._timeout_s))

    def read_outputs(self) -> List[Sequence[float]]:
        return []

    def close(self) -> None:
        self._log.close()
