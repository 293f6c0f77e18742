"""`edge-bench monitor` in a real pseudo-terminal, in a pipe, and when what it runs on goes away."""

import errno
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

import pytest

import fake_boards

ENTER, LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
LIMIT_S = 60


class Shown:
    """The monitor in a terminal of a size: what it wrote so far, keys, signals, and the terminal's settings."""

    def __init__(self, agent, columns, rows, arguments, environment):
        self._master, slave = pty.openpty()
        self.resize(columns, rows)
        self._before = termios.tcgetattr(slave)
        self._slave = slave
        environment = dict({"TERM": "xterm"}, **environment)

        def own_terminal():
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # a test run in the background would hand down "ignore"
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.child = agent.start(
            "monitor",
            *arguments,
            environment=environment,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=own_terminal,
        )
        self.text = ""

    def resize(self, columns, rows):
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read_until(self, is_there):
        """Read until is_there(text), or until the end of the child; gives whether it was there."""
        end = time.monotonic() + LIMIT_S
        while not is_there(self.text):
            assert time.monotonic() < end, "not seen: %r" % self.text[-2000:]
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    self.text += os.read(self._master, 65536).decode("ascii")  # anything but ASCII is an error
                except OSError as error:
                    assert error.errno == errno.EIO
                    return is_there(self.text)
            elif self.child.poll() is not None:
                return is_there(self.text)
        return True

    def frames(self):
        """The lines of each picture, without control sequences."""
        pictures = self.text.split("\x1b[H")[1:]
        return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", picture).replace("\r", "").split("\n") for picture in pictures]

    def press(self, keys):
        os.write(self._master, keys)

    def end(self):
        """Wait for the end; gives the exit code. The terminal has to be as it was."""
        self.read_until(lambda text: False)
        code = self.child.wait(LIMIT_S)
        assert self.text.count("\x1b[?1049h") == self.text.count("\x1b[?1049l")
        assert self.text.rindex("\x1b[?25h") > self.text.rindex("\x1b[?25l")
        assert self.settings_are_as_before()
        return code

    def settings_are_as_before(self):
        return termios.tcgetattr(self._slave) == self._before

    def close(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self._master)
        os.close(self._slave)


def two_pictures(text):
    return text.count("\x1b[H") >= 3  # two and the begin of a third: both are whole


@pytest.fixture
def show(agent, board_tree):
    shown = []

    def make(board="nano", columns=80, rows=24, arguments=("--interval", "0.2"), environment=()):
        root = board_tree(fake_boards.BOARDS[board])
        shown.append(Shown(agent, columns, rows, ["--root", root] + list(arguments), dict(environment)))
        return shown[-1]

    yield make
    for one in shown:
        one.close()


def test_q_ends_it_and_the_terminal_is_as_it_was(show):
    shown = show()
    assert shown.read_until(two_pictures)
    shown.press(b"q")
    assert shown.end() == 0
    text = "\n".join(shown.frames()[0])
    assert "NVIDIA Jetson Nano Developer Kit" in text and "POM_5V_IN" in "\n".join(shown.frames()[1])
    assert "CPU-therm 36.5 C of 97" in text and "77 of 922 MHz" in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_the_terminal_is_as_it_was(show, number):
    shown = show()
    assert shown.read_until(two_pictures)
    shown.child.send_signal(number)
    assert shown.end() == 130
    assert "Traceback" not in shown.text


def test_several_signals_in_a_row_leave_no_trace(show):
    shown = show()
    assert shown.read_until(two_pictures)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        shown.child.send_signal(number)
    shown.read_until(lambda text: False)
    shown.child.wait(LIMIT_S)
    assert LEAVE in shown.text and shown.settings_are_as_before()


def test_ctrl_c_is_a_key_of_the_terminal(show):
    shown = show()
    assert shown.read_until(two_pictures)
    shown.press(b"\x03")
    assert shown.end() == 130


# What a shell does with a job: a group of its own in the foreground; when it is stopped, it is continued.
SHELL = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
def foreground():
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
job = subprocess.Popen([sys.executable, "-m", "edge_bench"] + sys.argv[1:], preexec_fn=foreground)
_pid, status = os.waitpid(job.pid, os.WUNTRACED)
os.tcsetpgrp(0, os.getpgrp())
os.write(1, b"STOPPED" if os.WIFSTOPPED(status) else b"ENDED")
sys.stdin.readline()
os.tcsetpgrp(0, job.pid)
os.kill(job.pid, signal.SIGCONT)
sys.exit(job.wait())
"""


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(show, agent, monkeypatch):
    start = agent.start
    monkeypatch.setattr(agent, "start", lambda *given, **options: start(*given, python=["-c", SHELL], **options))
    shown = show()
    assert shown.read_until(two_pictures)
    shown.press(b"\x1a")
    assert shown.read_until(lambda text: "STOPPED" in text)
    assert shown.text.count(LEAVE) == 1 and shown.settings_are_as_before()
    shown.press(b"\n")
    assert shown.read_until(lambda text: text.count(ENTER) == 2 and "Memory" in text.rpartition(ENTER)[2])
    shown.press(b"q")
    assert shown.end() == 0


# The monitor with a part that fails after a while.
FAILING = """
import sys
from edge_bench import cli
from edge_bench.monitor import live
read, calls = live.Live.sample, []
def sample(self):
    calls.append(1)
    if len(calls) > 2:
        raise %s
    return read(self)
live.Live.sample = sample
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "error, code, words",
    [("OSError(5, 'sensor gone')", 1, "sensor gone"), ("ZeroDivisionError('a bug')", 1, "a bug")],
)
def test_an_error_is_read_on_a_terminal_that_is_as_it_was(show, agent, monkeypatch, error, code, words):
    start, program = agent.start, ["-c", FAILING % error]
    monkeypatch.setattr(agent, "start", lambda *given, **options: start(*given, python=program, **options))
    shown = show()
    assert shown.end() == code
    assert words in shown.text.rpartition(LEAVE)[2]


@pytest.mark.parametrize("board", sorted(fake_boards.BOARDS))
@pytest.mark.parametrize("columns, rows", [(80, 24), (40, 12), (200, 60), (20, 5), (1, 1)])
def test_every_board_fits_every_terminal(board_tree, board, columns, rows):
    from edge_bench.monitor.history import History
    from edge_bench.monitor.live import Live
    from edge_bench.monitor.screen import draw

    with Live(board_tree(fake_boards.BOARDS[board])) as live:
        time.sleep(0.12)
        sample = json.loads(json.dumps(live.sample()))
    history = History()
    for power_w in (1.0, 5.0, 3.0):
        history.add(power_w)
    for colour in (False, True):
        lines = draw(sample, "a board", history, (columns, rows), "q ends", colour)
        plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]
        assert len(lines) <= rows
        assert max(len(line) for line in plain) < max(columns, 21)
        assert all(" " <= char <= "~" for line in plain for char in line)
        assert "None" not in "".join(plain) and "nan" not in "".join(plain)


@pytest.mark.parametrize("columns, rows", [(80, 24), (50, 14)])
def test_nothing_wraps_and_nothing_scrolls(show, columns, rows):
    shown = show("orin-nx", columns, rows)
    assert shown.read_until(two_pictures)
    shown.press(b"q")
    assert shown.end() == 0
    for lines in shown.frames()[:2]:
        assert len(lines) <= rows and max(len(line) for line in lines) < columns
    assert "Slowed" in "".join(shown.frames()[0]) and "q ends" in "".join(shown.frames()[0])


def test_another_size_is_drawn_at_once(show):
    shown = show(arguments=("--interval", "300"))
    assert shown.read_until(lambda text: "q ends" in text)
    shown.resize(40, 10)
    assert shown.read_until(lambda text: text.count("q ends") == 2)
    shown.press(b"q")
    assert shown.end() == 0
    assert len(shown.frames()[-1]) <= 10 and max(len(line) for line in shown.frames()[-1]) < 40


def test_colours_can_be_switched_off(show):
    coloured = show(arguments=("--interval", "0.2", "--count", "1"))
    assert coloured.end() == 0 and "\x1b[32m" in coloured.text
    plain = show(arguments=("--interval", "0.2", "--count", "1"), environment={"NO_COLOR": "1", "LC_ALL": "C"})
    assert plain.end() == 0 and "\x1b[32m" not in plain.text


def test_a_terminal_without_control_sequences_gets_lines(show):
    shown = show(arguments=("--interval", "0.2", "--count", "2"), environment={"TERM": "dumb"})
    shown.read_until(lambda text: False)
    assert shown.child.wait(LIMIT_S) == 0
    assert "\x1b" not in shown.text and shown.text.count("\r\n") == 2


def test_without_a_terminal_there_is_a_line_for_each_reading(agent, board_tree):
    done = agent.run("monitor", "--root", board_tree(fake_boards.NANO), "--interval", "0.2", "--count", "3")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert len(lines) == 3
    words = r"\d\d:\d\d:\d\d  .*gpu 35 % 77 MHz  memory 1\.06 of 3\.87 GiB  AO-therm 41\.5 C"
    assert all(re.match(words, line) for line in lines)
    assert "2.100 W (module input: POM_5V_IN)" in lines[1]


def test_json_lines(agent, board_tree):
    root = board_tree(fake_boards.ORIN_NX)
    done = agent.run("monitor", "--root", root, "--interval", "0.2", "--count", "2", "--json")
    samples = [json.loads(line) for line in done.out.splitlines()]
    assert done.code == 0 and len(samples) == 2
    assert samples[1]["total_power_w"] == pytest.approx(19.9 * 0.52)
    assert samples[1]["gpu_load"] == {"17000000.gpu": 0.998} and samples[1]["clocks_pinned"] == "yes"
    assert samples[0]["throttling"] == [] and samples[0]["limits_c"] == {"tj-thermal": 95.0}
    assert 0 <= samples[1]["time_s"] - samples[0]["time_s"] < LIMIT_S


def test_a_throttled_board_says_so(agent, board_tree):
    root = board_tree(dict(fake_boards.ORIN_NX, **{"sys/class/thermal/cooling_device0/cur_state": "3\n"}))
    child = agent.start("monitor", "--root", root, "--interval", "0.2", "--count", "8")
    first = child.stdout.readline().decode()
    assert "slowed: cooling device cpufreq-cpu0 (cooling_device0) is at 3" in first
    board_tree({"sys/class/hwmon/hwmon0/oc3_event_cnt": "27399\n"})
    assert "oc3_event_cnt +9" in agent.finish(child).out


def test_an_empty_root_is_no_error(agent, board_tree):
    done = agent.run("monitor", "--root", board_tree({}), "--interval", "0.2", "--count", "2", "--json")
    assert done.code == 0 and json.loads(done.out.splitlines()[1])["cpu_load"] == {}


def test_a_reader_that_goes_away_ends_it(agent, board_tree):
    child = agent.start("monitor", "--root", board_tree(fake_boards.PI5), "--interval", "0.2")
    child.stdout.readline()
    child.stdout.close()
    child.stdout = None
    done = agent.finish(child)
    assert done.code == 1 and done.err == ""


@pytest.mark.parametrize("arguments", [["--interval", "0.01"], ["--interval", "x"], ["--count", "0"], ["extra"]])
def test_usage(agent, arguments):
    done = agent.run("monitor", *arguments)
    assert done.code == 2 and "Traceback" not in done.err


TEGRASTATS = """#!%s
import sys, time
assert sys.argv[1] == "--interval"
for number in range(10000):
    sys.stdout.write(%r + "\\n")
    sys.stdout.flush()
    time.sleep(0.05)
"""
LINE = (
    "RAM 2632/7850MB (lfb 3x4MB) CPU [16%@1997,0%@2035,off,off] EMC_FREQ 7%@1600 GR3D_FREQ 16%@1134 APE 150 "
    "GPU@44C PMIC@100C AO@35C VDD_IN 3629/3668 VDD_GPU 371/370"
)


THREE = ("--count", "3", "--interval", "0.5", "--json")


@pytest.fixture
def tegrastats(tmp_path):
    path = tmp_path / "tegrastats"
    path.write_text(TEGRASTATS % (sys.executable, LINE))
    path.chmod(0o755)
    return str(path)


def test_tegrastats_fills_what_the_files_lack(agent, board_tree, tegrastats):
    root = board_tree(fake_boards.CONTAINER)
    done = agent.run("monitor", "--root", root, "--tegrastats", tegrastats, *THREE)
    sample = json.loads(done.out.splitlines()[-1])
    assert sample["power_w"] == {"VDD_IN": 3.629, "VDD_GPU": 0.371} and sample["total_power_w"] is None
    assert sample["temperatures_c"] == {"GPU": 44.0, "AO": 35.0}
    assert sample["gpu_load"] == {"GR3D_FREQ": 0.16} or sample["gpu_load"] == {"GR3D": 0.16}
    assert sample["emc_clock_hz"] == 1600e6 and sample["cpu_clocks_hz"]["cpu1"] == 2035e6


def test_what_the_files_say_stays(agent, board_tree, tegrastats):
    root = board_tree(fake_boards.NANO)
    done = agent.run("monitor", "--root", root, "--tegrastats", tegrastats, *THREE)
    sample = json.loads(done.out.splitlines()[-1])
    assert list(sample["power_w"]) == ["POM_5V_IN"] and sample["gpu_load"] == {"57000000.gpu": 0.35}


@pytest.mark.parametrize(
    "program, words",
    [
        ("/bin/false", "/bin/false ended (exit code 1)"),
        ("echo 'must be \\033root' >&2; exit 3", "ended (exit code 3); it said: must be ?root"),
        ("echo 'no such board'; sleep 60", "gives no lines of tegrastats; it said: no such board"),
        ("while :; do echo nonsense; done", "gives no lines of tegrastats; it said: nonsense"),
    ],
)
def test_a_tegrastats_that_gives_nothing_is_said_once(agent, board_tree, tmp_path, program, words):
    path = tmp_path / "tegrastats"
    path.write_text("#!/bin/sh\n%s\n" % program)
    path.chmod(0o755)
    program = program if program.startswith("/") else str(path)
    done = agent.run("monitor", "--root", board_tree(fake_boards.CONTAINER), "--tegrastats", program, *THREE)
    assert done.code == 0 and done.err.count(words) == 1 and len(done.err.splitlines()) == 1
    samples = [json.loads(line) for line in done.out.splitlines()]
    assert len(samples) == 3 and len(samples[-1]["problems"]) == 1 and samples[-1]["power_w"] == {}


def test_a_tegrastats_that_works_is_no_problem(agent, board_tree, tegrastats):
    done = agent.run("monitor", "--root", board_tree(fake_boards.CONTAINER), "--tegrastats", tegrastats, *THREE)
    assert done.err == "" and json.loads(done.out.splitlines()[-1])["problems"] == []


def test_a_tegrastats_that_is_not_there(agent, board_tree):
    done = agent.run("monitor", "--root", board_tree({}), "--tegrastats", "/nowhere/tegrastats", "--count", "1")
    assert done.code == 1 and "/nowhere/tegrastats" in done.err and "Traceback" not in done.err
