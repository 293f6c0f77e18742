"""`edge-bench replay`: a recorded log as an energy window, and as the program that wrote it."""

import json
import os
import signal
import time

import pytest


def lines(num, rails="VDD_IN 5000mW/5000mW", step_s=1):
    return [
        "05-01-2024 00:%02d:%02d RAM 1/2MB CPU [1%%@2] GPU@44C %s" % (s // 60, s % 60, rails)
        for s in range(0, num * step_s, step_s)
    ]


@pytest.fixture
def write(agent):
    def put(content):
        with open(agent.path("log"), "w", encoding="utf-8") as stream:
            stream.write("".join(line + "\n" for line in content))
        return "log"

    return put


def test_the_window_is_labelled_as_recorded_and_names_its_rails_and_scope(agent, write):
    write(lines(11))
    ended = agent.run("replay", "log")
    assert ended.code == 0
    assert "recorded data, not measured now" in ended.out
    assert "50 J in 10 s, mean 5 W" in ended.out and "module input (recorded tegrastats, VDD_IN)" in ended.out
    result = json.loads(agent.run("replay", "log", "--json").out)
    assert result["is_recorded"] is True
    assert result["total"] == {
        "rails": ["VDD_IN"],
        "scope": "module input",
        "mean_power_w": 5,
        "energy_j": pytest.approx(50),
    }


@pytest.mark.parametrize(
    "rails, names, watts",
    [
        # jetson_stats issue 51: the input alone
        ("POM_5V_IN 4000/1 POM_5V_GPU 1000/1 POM_5V_CPU 2000/1", ["POM_5V_IN"], 4),
        # AGX Orin: VDDQ is inside VIN_SYS_5V0
        (
            "VDD_GPU_SOC 3000mW/1mW VDD_CPU_CV 2000mW/1mW VIN_SYS_5V0 4000mW/1mW NC 9mW/9mW VDDQ_VDD2_1V8AO 700mW/1mW",
            ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"],
            9,
        ),
        # AGX Xavier: all six
        (
            "GPU 1000/1 CPU 2000/1 SOC 3000/1 CV 0/0 VDDRQ 500/1 SYS5V 1500/1",
            ["GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"],
            8,
        ),
        # AGX Thor: the input of the whole system
        ("VDD_GPU 1000mW/1mW VDD_CPU_SOC_MSS 2000mW/1mW VIN_SYS_5V0 3000mW/1mW VIN 9000mW/1mW", ["VIN"], 9),
    ],
)
def test_no_rail_is_counted_twice(agent, write, rails, names, watts):
    write(lines(5, rails))
    total = json.loads(agent.run("replay", "log", "--json").out)["total"]
    assert total["rails"] == names and total["mean_power_w"] == pytest.approx(watts)


@pytest.mark.parametrize(
    "content, reason",
    [
        (lines(5, ""), "the log has no rails"),
        (lines(5, "MYSTERY 5mW/5mW"), "no known set of its rails is the whole"),
        ([line.partition(" RAM")[2].join(["RAM", ""]) for line in lines(5)], "no time stamps that move on"),
    ],
)
def test_what_gives_no_energy_says_why_and_is_no_valid_window(agent, write, content, reason):
    write(content)
    ended = agent.run("replay", "log")
    assert ended.code == 4 and "not measured energy: " in ended.out and reason in ended.out


def test_the_log_comes_out_as_it_is(agent, write):
    content = ["noise"] + lines(4)
    write(content)
    ended = agent.run("replay", "log", "--print", "--speed", "1000")
    assert ended.code == 0 and ended.err == "" and ended.out.splitlines() == content


def test_printed_and_read_again_it_gives_the_same_statistics(agent, write):
    write(lines(30))
    direct = agent.run("parse", "log", "--stats", "--json").out
    with open(agent.path("again"), "wb") as stream:
        agent.run("replay", "log", "--print", "--speed", "10000", stdout=stream)
    assert agent.run("parse", "again", "--stats", "--json").out == direct


def test_lines_come_one_by_one_and_not_before_their_time(agent, write):
    write(lines(4))
    began_s = time.monotonic()  # it begins later, and a slow machine only adds to that
    child = agent.start("replay", "log", "--print", "--speed", "5")
    times_s = []
    while child.stdout.readline():
        times_s.append(time.monotonic() - began_s)
    agent.finish(child)
    assert len(times_s) == 4 and all(time_s >= 0.2 * number for number, time_s in enumerate(times_s))


def test_an_interval_in_the_place_of_the_stamps(agent, write):
    write(lines(40, step_s=60)[:20])
    ended = agent.run("replay", "log", "--print", "--interval", "0.01")
    assert len(ended.out.splitlines()) == 20


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_loop_goes_on_until_it_is_ended_and_that_is_its_normal_end(agent, write, number):
    write(lines(3))
    child = agent.start("replay", "log", "--print", "--loop", "--interval", "0.001")
    seen = [child.stdout.readline() for _ in range(10)]
    assert seen[:3] == seen[3:6] == seen[6:9]
    os.kill(child.pid, number)
    ended = agent.finish(child)
    assert ended.code == 0 and ended.err == ""


def test_a_reader_that_goes_away_ends_it(agent, write):
    write(lines(3))
    child = agent.start("replay", "log", "--print", "--loop", "--interval", "0.001")
    child.stdout.readline()
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(60) == 0


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["log", "--loop"], "--speed and --loop are for --print"),
        (["log", "--speed", "2"], "--speed and --loop are for --print"),
        (["log", "--print", "--json"], "--json is for the summary"),
        (["-", "--print", "--loop"], "stdin cannot be read again"),
        (["log", "--print", "--speed", "0"], "0 is not a positive number"),
    ],
)
def test_flags_that_contradict_each_other(agent, arguments, words):
    ended = agent.run("replay", *arguments)
    assert ended.code == 2 and words in ended.err


def test_a_log_that_went_away_or_is_empty(agent, write):
    ended = agent.run("replay", "log", "--print")
    assert ended.code == 1 and "cannot be read" in ended.err
    write([])
    ended = agent.run("replay", "log", "--print", "--loop")
    assert ended.code == 1 and "nothing to replay" in ended.err
