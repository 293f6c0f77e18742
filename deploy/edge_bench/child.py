"""Work in processes of their own: a library that crashes or hangs there is a reason in words here.

Each child leads a group of its own, which ends as a whole: at the time limit, and when this process is interrupted.
"""

import codecs
import collections
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

# Of an answer on stdout and of what is kept of stderr; a child that writes more is stopped or cut.
_MAX_ANSWER_BYTES = 1 << 20
_MAX_LINE = 4000
_TAIL_LINES = 200
_GRACE_S = 3.0
_LOOK_S = 0.02
_MAX_POLLS = 200

# Ends the program that it becomes as soon as its parent is gone, even by SIGKILL: prctl's PR_SET_PDEATHSIG, which lasts
# over exec. A parent that died before leaves another one behind. Where there is no prctl the program runs all the same.
_TIED = """
import os, signal, sys
try:
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
except (ImportError, OSError, AttributeError):
    pass
if os.getppid() != int(sys.argv[1]):
    sys.exit("the program that started this one is gone")
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit("%s cannot be started: %s" % (sys.argv[2], error.strerror))
"""

# Calls a function of this package in a fresh interpreter; its answer is the last line. Works from inside the .pyz too.
_CALL = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
module, _, name = sys.argv[2].partition(":")
answer = getattr(importlib.import_module(module), name)(*sys.argv[3:])
print("\\n" + json.dumps(answer))
"""


class Ended(NamedTuple):
    """How a child ended: its exit code (negative: the signal that ended it) or None at the time limit, and its end."""

    returncode: Optional[int]
    tail: List[str]
    num_seconds: float

    def how(self) -> str:
        """'exit code 1', 'signal 9', or that it took too long."""
        return "%.0f s without an end" % self.num_seconds if self.returncode is None else how_it_ended(self.returncode)


def python_call(function: str, *arguments: str) -> List[str]:
    """The command that calls `module:function` of this package with texts, and prints its answer as JSON."""
    package_root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    return [sys.executable, "-c", _CALL, package_root, function] + list(arguments)


def tied(command: List[str]) -> List[str]:
    """The same command as one that ends with this process, also when this one is killed; a Python starts it.

    For what works on by itself for minutes. It ends with the thread that started it, too: Linux counts that as parent.
    """
    return [sys.executable, "-S", "-c", _TIED, str(os.getpid())] + command


def how_it_ended(returncode: int) -> str:
    """'exit code 1' or 'signal 9'."""
    return "signal %d" % -returncode if returncode < 0 else "exit code %d" % returncode


def ask(command: List[str], what: str, timeout_s: float) -> Tuple[Optional[Dict[str, Any]], str]:
    """Run a command whose last line on stdout is a JSON object: (the object, ""), or (None, the reason).

    `what` begins the reasons: 'importing it' gives 'importing it crashed Python (signal 11)'.
    """
    with _group(command, stderr=subprocess.PIPE) as child:
        if isinstance(child, OSError):
            return None, "no child process: %s" % child
        try:
            output, errors = child.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return None, "%s took more than %d s" % (what, timeout_s)
    if child.returncode < 0:
        return None, "%s crashed Python (signal %d)" % (what, -child.returncode)
    if child.returncode:
        lines = errors[-_MAX_ANSWER_BYTES:].decode("utf-8", "replace").strip().splitlines()
        return None, lines[-1][:300] if lines else how_it_ended(child.returncode)
    try:
        answer = json.loads(output[-_MAX_ANSWER_BYTES:].decode("utf-8", "replace").strip().splitlines()[-1])
    except (ValueError, IndexError):
        answer = None
    if not isinstance(answer, dict):
        return None, "%s ended Python without an answer" % what
    return answer, ""


def ask_version(function: str, what: str, timeout_s: float) -> Tuple[str, str]:
    """(the `version` in the answer of a function of this package, "") or ("", why there is none)."""
    answer, reason = ask(python_call(function), what, timeout_s)
    version = str(answer.get("version") or "") if answer else ""
    return version, reason if not answer else ("" if version else "it does not say its version")


class LineCutter:
    """Whole lines of what comes in pieces; characters that a piece cuts stay whole, and no line grows without end."""

    def __init__(self, ends: str = "\n"):
        self._ends = ends
        self._pending = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def lines(self, data: bytes) -> List[str]:
        """Those that this piece ends; of no bytes, which are the end of all, nothing more."""
        text = self._pending + self._decoder.decode(data, not data)
        for end in self._ends[1:]:
            text = text.replace(end, self._ends[0])
        lines = text.split(self._ends[0])
        self._pending = lines.pop()[:_MAX_LINE]
        return [line[:_MAX_LINE] for line in lines]

    def rest(self) -> List[str]:
        """The last line, which has no end, if there is one."""
        return [self._pending] if self._pending else []


def run_logged(
    command: List[str],
    log: BinaryIO,
    max_log_bytes: int,
    timeout_s: float,
    on_line: Callable[[str], None],
    on_wait: Callable[[], None] = lambda: None,
    cwd: str = os.path.abspath(os.sep),
    drop_stdout: bool = False,
) -> Ended:
    """Run a command, its stdout and stderr into `log` (at most so many bytes) and line by line to `on_line`.

    `drop_stdout`: only stderr; a program that writes a lot is then no work for us, which would be measured with it.
    `on_wait` is called about once a second while it says nothing. Raises OSError when it cannot be started. An
    interrupt ends its whole group before it goes on upwards.
    """
    start = time.monotonic()
    tail: "collections.deque[str]" = collections.deque(maxlen=_TAIL_LINES)
    ends = (subprocess.PIPE, subprocess.DEVNULL) if drop_stdout else (subprocess.STDOUT, subprocess.PIPE)
    with _group(command, stderr=ends[0], cwd=cwd, stdout=ends[1]) as child:
        if isinstance(child, OSError):
            raise child
        stream = child.stderr if drop_stdout else child.stdout
        assert stream is not None
        room, cutter = max_log_bytes, LineCutter("\n\r")
        while True:
            left = start + timeout_s - time.monotonic()
            if left <= 0:
                return Ended(None, list(tail), time.monotonic() - start)
            if not select.select([stream], [], [], min(left, _LOOK_S if drop_stdout else 1.0))[0]:
                if drop_stdout and child.poll() is not None:
                    break  # something that it left behind still holds the pipe
                on_wait()
                continue
            data = os.read(stream.fileno(), 65536)
            log.write(data[: max(room, 0)])
            room -= len(data)
            for line in cutter.lines(data) + ([] if data else cutter.rest()):
                tail.append(line)
                on_line(line)
            if not data:
                break
        # It has closed its output, so it is about to end; a wait with a time limit would first sleep a millisecond.
        for _ in range(_MAX_POLLS):
            if child.poll() is not None:
                break
        try:
            child.wait(max(start + timeout_s - time.monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            return Ended(None, list(tail), time.monotonic() - start)
    return Ended(child.returncode, list(tail), time.monotonic() - start)


def follow(
    command: List[str],
    on_line: Callable[[str, int], None],
    should_stop: Callable[[], bool],
    max_silence_s: float,
    cwd: str = os.path.abspath(os.sep),
) -> str:
    """Call `on_line(line, lines still to come from the same read)` for each line that a command writes to stdout or
    stderr, until should_stop() or its end.

    Returns why it ended, "" when it was stopped; in each case its whole group has ended.
    """
    with _group(command, stderr=subprocess.STDOUT, cwd=cwd) as child:
        if isinstance(child, OSError):
            return "cannot be started: %s" % child
        heard_s, cutter = time.monotonic(), LineCutter()
        while not should_stop():
            if not select.select([child.stdout], [], [], 0.05)[0]:
                if time.monotonic() - heard_s > max_silence_s:
                    return "wrote nothing for %.3g s" % max_silence_s
                continue
            data = os.read(child.stdout.fileno(), 65536)
            lines = cutter.lines(data)
            for number, line in enumerate(lines, 1):
                on_line(line, len(lines) - number)
            if not data:
                return "ended (%s)" % wait_for_end(child)
            heard_s = time.monotonic()
    return ""


def wait_for_end(child: "subprocess.Popen[bytes]") -> str:
    """Of a child that closed its output: it is given a moment to end."""
    try:
        child.wait(0.5)
    except subprocess.TimeoutExpired:
        return "it closed its output"
    return how_it_ended(child.returncode)


@contextlib.contextmanager
def started(
    command: List[str], stderr: int = subprocess.DEVNULL, pass_fds: Sequence[int] = ()
) -> Iterator["subprocess.Popen[bytes]"]:
    """A child whose stdout the caller reads; it also gets these open files. Its group ends with the block.

    Raises OSError when it cannot be started.
    """
    with _group(command, stderr, pass_fds=pass_fds) as child:
        if isinstance(child, OSError):
            raise child
        yield child


@contextlib.contextmanager
def _group(
    command: List[str],
    stderr: int,
    cwd: str = os.path.abspath(os.sep),
    pass_fds: Sequence[int] = (),
    stdout: int = subprocess.PIPE,
) -> Iterator[Any]:
    """A started child, or the OSError of its start; one that still runs at the end is ended with its group."""
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            cwd=cwd,
            start_new_session=True,
            pass_fds=pass_fds,
        )
    except OSError as error:
        yield error
        return
    try:
        yield child
    finally:
        _end_group(child)


def _end_group(child: "subprocess.Popen[bytes]") -> None:
    """Of a child that has not ended: SIGTERM, a moment of grace, SIGKILL, each to its whole group.

    The child is not reaped in between: as long as it is there, its number cannot be another group's.
    """
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
                break
            time.sleep(0.02)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()
