"""`edge-bench validate` as a user and a build server meet it: real files, a child process, exit codes."""

import json
import os
import random
import xml.etree.ElementTree as xml

import pytest

from edge_bench import atomic, stats


@pytest.fixture
def stored(agent, measurement):
    """A function that writes a measurement with latencies around 1 ms, changed as asked, and gives its name."""

    def write(name="m.json", count=1500, **changes):
        rng = random.Random(count)
        measurement["latency"]["samples_s"] = [1e-3 * rng.lognormvariate(0, 0.1) for _ in range(count)]
        for key in ("response_samples_s", "num_skipped"):
            measurement["latency"].pop(key, None)
        measurement["latency"]["summary"] = stats.summarise(measurement["latency"]["samples_s"])
        atomic.write_json(agent.path(name), dict(measurement, **changes))
        return name

    return write


@pytest.mark.parametrize(
    "arguments, code, result",
    [
        (["--p99-ms", "10", "--max-energy-mj", "60"], 0, "PASS"),
        (["--p99-ms", "10", "--max-energy-mj", "6"], 1, "FAIL"),
        (["--p99-ms", "10", "--max-energy-mj", "12.1"], 4, "INCONCLUSIVE"),
        (["--p99-ms", "10", "--p99-9-ms", "10"], 4, "INCONCLUSIVE"),
        (["--p99-9-ms", "10", "--median-ms", "0.1"], 1, "FAIL"),
        (["--max-miss-ratio", "0.01", "--deadline-ms", "2"], 0, "PASS"),
    ],
)
def test_exit_codes(agent, stored, arguments, code, result):
    done = agent.run("validate", stored(), *arguments, environment={"LC_ALL": "C"})
    assert done.code == code, done.err
    assert done.out.splitlines()[-1] == "result: %s" % result
    assert "NVIDIA Jetson Nano, power mode MAXN" in done.out and done.err == ""


def test_all_measurements_have_to_pass(agent, stored):
    first, second = stored("1.json"), stored("2.json", load_s=9.0)
    assert agent.run("validate", first, first, "--max-load-s", "1").code == 0
    done = agent.run("validate", first, second, "--max-load-s", "1", "--json")
    assert done.code == 1
    answer = json.loads(done.out)
    assert answer["verdict"] == "FAIL" and [one["verdict"] for one in answer["measurements"]] == ["PASS", "FAIL"]
    entry = answer["measurements"][1]["requirements"][0]
    assert (entry["requirement"], entry["limit"], entry["value"], entry["unit"]) == ("max_load_s", 1.0, 9.0, "s")


def test_an_invalid_run_decides_nothing(agent, stored):
    done = agent.run("validate", stored(invalid=["power mode changed"]), "--p99-ms", "10")
    assert done.code == 4 and "power mode changed" in done.out


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "no requirement"),
        (["--deadline-ms", "3"], "no requirement"),
        (["--deadline-ms", "3", "--p99-ms", "3"], "without --max-miss-ratio"),
        (["--p99-ms", "0"], "not above 0"),
        (["--p99-ms", "nan"], "not a number"),
        (["--p99-ms", "ten"], "not a number"),
        (["--min-accuracy", "95"], "between 0 and 1"),
        (["--requirements", "absent.json"], "absent.json"),
        (["--requirements", "m.json"], "not known"),
    ],
)
def test_usage_errors(agent, stored, arguments, words):
    done = agent.run("validate", stored(), *arguments)
    assert done.code == 2 and words in done.err and done.out == "" and "Traceback" not in done.err


def test_requirements_from_a_file_and_flags_over_them(agent, stored):
    atomic.write_json(agent.path("r.json"), {"p99_ms": 0.1, "max_load_s": 1})
    assert agent.run("validate", stored(), "--requirements", "r.json").code == 1
    assert agent.run("validate", stored(), "--requirements", "r.json", "--p99-ms", "10").code == 0


def test_junit(agent, stored, measurement):
    hostile = '<evil attribute="&amp;">\x00\x1b[31m]]>\u00e4'
    measurement["bundle"].update(name=hostile, role=hostile)
    measurement["unavailable"] = [{"what": "throughput", "reason": hostile, "fix": hostile}]
    arguments = ["--p99-ms", "10", "--p99-9-ms", "10", "--max-load-s", "0.01", "--junit", "out.xml"]
    assert agent.run("validate", stored("1.json"), stored("2.json", invalid=[hostile]), *arguments).code == 1
    suites = xml.parse(agent.path("out.xml")).getroot()
    assert suites.tag == "testsuites" and len(suites) == 2
    first, second = suites
    assert (first.get("tests"), first.get("failures"), first.get("errors")) == ("3", "1", "1")
    assert (second.get("tests"), second.get("failures"), second.get("errors")) == ("3", "0", "3")
    cases = {case.get("name"): case for case in first.iter("testcase")}
    assert cases["p99_ms"].find("failure") is None and cases["p99_ms"].find("error") is None
    assert "too few samples" in cases["p99_9_ms"].find("error").get("message")
    assert cases["max_load_s"].find("failure") is not None
    assert "power mode MAXN" in first.find("properties/property").get("value")


def test_junit_that_cannot_be_written(agent, stored):
    done = agent.run("validate", stored(), "--p99-ms", "10", "--junit", "absent/out.xml")
    assert done.code == 1 and "absent/out.xml" in done.err and "Traceback" not in done.err


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100, b"[" * 100000])
def test_files_that_are_no_measurement(agent, content):
    with open(agent.path("m.json"), "wb") as stream:
        stream.write(content)
    done = agent.run("validate", "m.json", "--p99-ms", "10")
    assert done.code == 1 and "m.json" in done.err and "Traceback" not in done.err
    assert os.listdir(agent.folder) == ["m.json"]


def test_a_real_run_can_be_judged(maker, agent):
    short = ["--runs", "700", "--warmup", "0.01", "--idle-s", "0.01", "--energy-s", "0.01", "--max-other-load", "1000"]
    run = agent.run("run", maker.folder(), "--output", "m.json", *short)
    assert run.code in (0, 4), run.err
    arguments = ["--median-ms", "100000", "--max-load-s", "10000", "--min-throughput", "0.00001"]
    done = agent.run("validate", "m.json", *arguments)
    assert done.code == run.code, done.out
    assert "median " in done.out
