"""`edge-bench parse` as its users run it."""

import array
import fcntl
import json
import os
import signal
import subprocess
import termios
import time

import pytest

TX2 = (
    "RAM 2632/7850MB (lfb 3x4MB) CPU [16%@1997,off] EMC_FREQ 7%@1600 GR3D_FREQ 16%@1134 PMIC@100C GPU@44C "
    "VDD_IN 3629/3668 VDD_CPU 697/702"
)


def stamped(second, milliwatts):
    return "05-01-2024 00:00:%02d RAM 1/2MB CPU [1%%@2] VDD_IN %dmW/%dmW\n" % (second, milliwatts, milliwatts)


@pytest.fixture
def write(agent):
    def put(name, content):
        with open(agent.path(name), "wb") as stream:
            stream.write(content if isinstance(content, bytes) else content.encode("utf-8"))
        return name

    return put


def test_json_has_a_line_for_each_sample_with_the_units_that_are_documented(agent, write):
    ended = agent.run("parse", write("log", "tegrastats: not running as root\n%s\n%s\n" % (TX2, TX2)), "--json")
    assert ended.code == 0
    first, second = [json.loads(line) for line in ended.out.splitlines()]
    assert first == second
    assert set(first) >= {"ram", "swap", "cpu", "engines", "temperature_c", "power_w", "other"}
    assert first["ram"]["used_mb"] == 2632
    assert first["cpu"] == [{"load_percent": 16, "clock_mhz": 1997}, None]
    assert first["temperature_c"] == {"GPU": 44}
    assert first["power_w"]["VDD_IN"] == {"current": 3.629, "average": 3.668, "maximum": None}
    assert first["other"]["PMIC"]["temperature_c"] == 100
    assert "1 of 3 lines were no samples of tegrastats" in ended.err


def test_text_has_a_header_and_a_row_for_each_sample(agent, write):
    ended = agent.run("parse", write("log", TX2 + "\n" + stamped(1, 5000)), environment={"LC_ALL": "C"})
    header, first, second = ended.out.splitlines()
    assert header.split()[:2] == ["time", "RAM"]
    assert first.split()[:7] == ["-", "2632/7850", "16%", "1/2", "16%@1134", "7%@1600", "44.0"]
    assert first.split()[7:] == ["C", "GPU", "VDD_IN", "3.629", "VDD_CPU", "0.697"]
    assert second.split() == ["05-01-2024", "00:00:01", "1/2", "1%", "1/1", "-", "-", "-", "VDD_IN", "5.000"]


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_names_from_a_log_cannot_steer_the_terminal(agent, write, locale):
    ended = agent.run("parse", write("log", TX2 + " \x1b[31m\u00e9@3C\n"), environment={"LC_ALL": locale})
    assert ended.code == 0 and all(" " <= char <= "~" for line in ended.out.splitlines() for char in line)


def test_stats(agent, write):
    log = "".join(stamped(second, 5000) for second in range(11))
    ended = agent.run("parse", write("log", log), "--stats", "--json")
    power = json.loads(ended.out)["power"]["VDD_IN"]
    assert power["mean_power_w"] == 5 and power["energy_j"] == pytest.approx(50)
    text = agent.run("parse", "log", "--stats").out
    assert "VDD_IN" in text and "mean 5 W (5 to 5), 50 J" in text


def test_stats_without_stamps_ask_for_the_interval(agent, write):
    write("log", (TX2 + "\n") * 3)
    assert "energy unknown" in agent.run("parse", "log", "--stats").out
    ended = agent.run("parse", "log", "--stats", "--interval", "0.5", "--json")
    assert json.loads(ended.out)["power"]["VDD_IN"]["energy_j"] == pytest.approx(3.629)
    ended = agent.run("parse", "log", "--warmup", "0.5")
    assert ended.code == 2 and "--warmup S is for the times of trtexec (--exportTimes), which this is not" in ended.err
    ended = agent.run("parse", "log", "--interval", "0.5")
    assert ended.code == 2 and "--interval S is for the energy of --stats" in ended.err


def test_a_last_line_that_was_cut_is_left_out_and_said(agent, write):
    whole = stamped(1, 5000)
    ended = agent.run("parse", write("log", whole + whole[: whole.index("0mW/")]), "--json")
    assert ended.code == 0 and len(ended.out.splitlines()) == 1
    assert "the last line has no end" in ended.err


def test_windows_line_ends_and_a_byte_order_mark(agent, write):
    agent_log = b"\xef\xbb\xbf" + stamped(1, 5000).encode("ascii").replace(b"\n", b"\r\n") * 2
    ended = agent.run("parse", write("log", agent_log), "--json")
    samples = [json.loads(line) for line in ended.out.splitlines()]
    assert len(samples) == 2 and samples[0] == samples[1] and samples[0]["other"] == {}


@pytest.mark.parametrize("content", ["", "hello\nworld\n", "\x00" * 5000])
def test_a_log_of_nothing_is_an_error(agent, write, content):
    ended = agent.run("parse", write("log", content))
    assert ended.code == 1 and ended.out == ""
    assert "neither lines of tegrastats nor anything of trtexec" in ended.err
    ended = agent.run("parse", "log", "--format", "tegrastats")
    assert ended.code == 1 and "no complete line of tegrastats among its" in ended.err


def test_a_log_that_is_not_there(agent):
    ended = agent.run("parse", "no-such")
    assert ended.code == 1 and "log no-such: cannot be read: No such file" in ended.err


def start_with_pipe(agent, *arguments):
    return agent.start("parse", "-", *arguments, stdin=subprocess.PIPE)


def test_a_pipe_is_read_as_it_comes(agent):
    """Each sample is out before the next line is in: `tegrastats | edge-bench parse - --json | ...`."""
    child = start_with_pipe(agent, "--json")
    for second in range(3):
        child.stdin.write(stamped(second, 5000).encode("ascii"))
        child.stdin.flush()
        assert json.loads(child.stdout.readline().decode("ascii"))["timestamp"].endswith(":0%d" % second)
    assert child.communicate(timeout=60) == (b"", b"") and child.returncode == 0


def test_statistics_of_a_pipe_are_printed_when_it_is_interrupted(agent):
    child = start_with_pipe(agent, "--stats", "--json")
    child.stdin.write("".join(stamped(second, 5000) for second in range(11)).encode("ascii"))
    child.stdin.flush()
    wait_until_read(child)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130 and b"this is what was read so far" in err
    assert json.loads(out.decode("ascii"))["num_samples"] == 11


def wait_until_read(child):
    """Until nothing is left in its pipe, and it sleeps there for more."""
    waiting = array.array("i", [1])
    while waiting[0]:
        fcntl.ioctl(child.stdin, termios.FIONREAD, waiting)
        time.sleep(0.05)
    while True:
        with open("/proc/%d/stat" % child.pid) as stat:
            if stat.read().rpartition(")")[2].split()[0] == "S":
                return
        time.sleep(0.05)


def test_a_reader_that_goes_away_ends_it_without_a_word(agent):
    child = start_with_pipe(agent, "--json")
    child.stdout.close()
    child.stdin.write(stamped(1, 5000).encode("ascii") * 3)
    child.stdin.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    child.wait(60)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_said(agent, write):
    with open("/dev/full", "wb") as full:
        ended = agent.run("parse", write("log", stamped(1, 5000)), stdout=full)
    assert ended.code == 1 and "cannot write to stdout (No space left on device)" in ended.err


TIMES = [
    {
        "startComputeMs": 150 + 10 * number,
        "startH2dMs": 149.5 + 10 * number,
        "endD2hMs": 155.25 + 10 * number,
        "h2dMs": 0.5,
        "computeMs": 5,
        "d2hMs": 0.25,
        "latencyMs": 5.75,
    }
    for number in range(105)
]


def test_times_of_trtexec(agent, write):
    write("times.json", json.dumps(TIMES))
    ended = agent.run("parse", "times.json")
    assert ended.code == 0
    assert "100 after warm-up; 5 cut (compute before 0.2 s)" in ended.out
    assert "median 5.75 ms" in ended.out and "p99 n too small" in ended.out
    refused = agent.run("parse", "times.json", "--stats", "--interval", "1")
    assert refused.code == 2 and "--interval S is for lines of tegrastats, which this is not" in refused.err
    assert "120 after" not in ended.out and "105 after" in agent.run("parse", "times.json", "--warmup", "0").out
    lines = agent.run("parse", "times.json", "--json").out.splitlines()
    assert len(lines) == 105 and sum(json.loads(line)["is_warmup"] for line in lines) == 5
    result = json.loads(agent.run("parse", "times.json", "--json", "--stats").out)
    assert len(result["latency"]["samples_s"]) == 100 and "queries" not in result


def test_profile_and_text_of_trtexec(agent, write):
    write("profile.json", '[\n  { "count" : 10 }\n, { "name" : "conv", "timeMs" : 20, "averageMs" : 2 }\n]\n')
    assert "100.0%  conv" in agent.run("parse", "profile.json").out
    assert json.loads(agent.run("parse", "profile.json", "--json").out)["name"] == "conv"
    write(
        "log",
        "&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # trtexec\n"
        "[05/18/2023-21:52:15] [I] Latency: min = 13.7 ms, max = 14.8 ms, mean = 13.8 ms, median = 13.75 ms\n",
    )
    ended = agent.run("parse", "log")
    assert "TensorRT 8.2.1" in ended.out and "reported by trtexec" in ended.out and "median 13.75 ms" in ended.out
    assert json.loads(agent.run("parse", "log", "--json").out)["reported"]["latency"]["min_s"] == pytest.approx(0.0137)


def test_a_forced_format_is_followed(agent, write):
    write("log", TX2 + "\n")
    ended = agent.run("parse", "log", "--format", "trtexec")
    assert ended.code == 1 and "no performance summary of trtexec" in ended.err
