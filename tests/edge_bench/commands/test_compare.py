"""`edge-bench compare` as a user meets it: real files, a child process, exit codes."""

import copy
import json
import random

import pytest

from edge_bench import atomic, stats


@pytest.fixture
def stored(agent, measurement):
    """A function that writes a run with latencies around `level` ms and gives its name."""

    def write(name, seed, level=1.0, minute=0, **changes):
        run = copy.deepcopy(measurement)
        rng = random.Random(seed)
        run["latency"]["samples_s"] = [1e-3 * level * rng.lognormvariate(0, 0.1) for _ in range(700)]
        run["latency"]["summary"] = stats.summarise(run["latency"]["samples_s"])
        run["started_at"] = "2026-01-02T03:%02d:05Z" % minute
        run["run_id"] = "%032x" % rng.getrandbits(128)
        if level != 1.0:
            run["bundle"].update(id="1" * 64, name="small", role="compressed")
        atomic.write_json(agent.path(name), dict(run, **changes))
        return name

    return write


def test_two_files(agent, stored):
    done = agent.run("compare", stored("a.json", 1), stored("b.json", 2, 0.5), environment={"LC_ALL": "C"})
    assert done.code == 0, done.err
    assert "A  tiny (baseline)" in done.out and "B  small (compressed)" in done.out
    (line,) = [line for line in done.out.splitlines() if line.startswith("latency median")]
    assert line.endswith("faster") and "one run" in done.out
    assert all(len(line) <= 80 for line in done.out.splitlines())


def test_a_file_against_itself_is_refused(agent, stored):
    name = stored("a.json", 1)
    done = agent.run("compare", name, name)
    assert done.code == 4 and "are the same run, on both sides" in done.out


def test_several_runs_a_side(agent, stored):
    a = [stored("a1.json", 1), stored("a2.json", 2, minute=9)]
    b = [stored("b1.json", 3, 0.5, 3), stored("b2.json", 4, 0.5, 6)]
    done = agent.run("compare", *(a + ["--with"] + b + ["--json"]))
    assert done.code == 0, done.err
    answer = json.loads(done.out)
    assert not answer["refused"] and answer["confidence"] == 0.95
    (compared,) = answer["comparisons"]
    assert compared["a"]["files"] == a and compared["b"]["files"] == b and compared["caveats"] == []
    assert compared["rows"][0]["verdict"] == "faster" and compared["rows"][0]["covers_runs"]
    again = agent.run("compare", *(a + ["--with"] + b + ["--json"]))
    assert again.out == done.out


def test_more_than_two_files_are_compared_with_the_first(agent, stored):
    names = [stored("a.json", 1), stored("b.json", 2, 0.5), stored("c.json", 3, 2.0)]
    done = agent.run("compare", "--json", *names)
    compared = json.loads(done.out)["comparisons"]
    assert [(one["a"]["files"], one["b"]["files"]) for one in compared] == [
        (["a.json"], ["b.json"]),
        (["a.json"], ["c.json"]),
    ]
    assert [one["rows"][0]["verdict"] for one in compared] == ["faster", "slower"]


def test_other_states_are_refused(agent, stored, measurement):
    other = dict(measurement["state_before"], power_mode="5W")
    names = [stored("a.json", 1), stored("b.json", 2, 0.5, state_before=other)]
    done = agent.run("compare", *names)
    assert done.code == 4 and "REFUSED: power mode differs: MAXN in a.json; 5W in b.json" in done.out
    assert "faster" not in done.out
    forced = agent.run("compare", "--force", *names)
    assert forced.code == 0 and "FORCED" in forced.out and "faster" in forced.out
    assert json.loads(agent.run("compare", "--force", "--json", *names).out)["comparisons"][0]["forced"] is True


def test_an_invalid_run_is_refused(agent, stored):
    names = [stored("a.json", 1), stored("b.json", 2, 0.5, invalid=["throttled"])]
    done = agent.run("compare", *names)
    assert done.code == 4 and "throttled" in done.out


def test_nothing_in_common_is_no_comparison(agent, stored):
    stored("a.json", 1), stored("b.json", 2, 0.5)
    with open(agent.path("b.json"), "rb") as stream:
        run = json.loads(stream.read().decode("ascii"))
    for part in ("latency", "energy", "memory"):
        del run[part]
    atomic.write_json(agent.path("b.json"), dict(run, status="partial"))
    done = agent.run("compare", "--force", "a.json", "b.json")
    assert done.code == 4 and "not measured" in done.out


@pytest.mark.parametrize("arguments", [[], ["a.json"], ["a.json", "--with"], ["--with", "a.json"]])
def test_usage_errors(agent, stored, arguments):
    stored("a.json", 1)
    done = agent.run("compare", *arguments)
    assert done.code == 2 and "Traceback" not in done.err


def test_a_file_that_is_no_measurement(agent, stored):
    with open(agent.path("b.json"), "wb") as stream:
        stream.write(b'{"schema": "edge-dendrite.measurement"}')
    done = agent.run("compare", stored("a.json", 1), "b.json")
    assert done.code == 1 and "b.json" in done.err and done.out == ""
