"""Waiting for what other processes do, and signals to them; also under the Python 3.6 of boards."""

import signal
import time

# A hang is a failure; nothing comes near it, on a busy machine neither.
LIMIT_S = 180.0


def wait_until(is_true, what="what was waited for"):
    """Look again and again; AssertionError when it does not come to that."""
    deadline_s = time.monotonic() + LIMIT_S
    while not is_true():
        assert time.monotonic() < deadline_s, "%s did not happen" % what
        time.sleep(0.02)


def has_ended(number):
    """Whether a process is gone; one that nobody waited for yet is too."""
    try:
        with open("/proc/%d/stat" % number, encoding="utf-8") as stream:
            return stream.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def listen_to_ctrl_c():
    """In a child before it starts: a background job of a shell, as CI may be, hands down that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
