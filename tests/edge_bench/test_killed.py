"""Signals at random moments of a run: what was measured is on disk, valid and marked partial."""

import json
import os
import random
import signal
import time

import pytest

from edge_bench import schema

pytest.importorskip("onnxruntime")

# A phase that does not end by itself before the signal comes.
LONG = ["--duration", "60", "--warmup", "0.05", "--power", "none", "--max-other-load", "1000"]
LONGEST_DELAY_S = 2.5


def end_all(agent, path, number, delays_s):
    """Start as many runs side by side, send each the signal after its delay; gives (file, exit code, what it said)."""
    outputs = [agent.path("m-%d.json" % attempt) for attempt in range(len(delays_s))]
    children = [agent.start("run", path, "--output", output, *LONG) for output in outputs]
    began_s = time.monotonic()
    for delay_s, child in sorted(zip(delays_s, children), key=lambda pair: pair[0]):
        time.sleep(max(0.0, began_s + delay_s - time.monotonic()))
        child.send_signal(number)
    done = [agent.finish(child) for child in children]
    return [(output, ended.code, ended.err) for output, ended in zip(outputs, done)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_at_any_moment(maker, agent, number, seed):
    chance = random.Random("%d %d" % (number, seed))
    path = maker.folder()
    delays_s = [chance.uniform(0.0, LONGEST_DELAY_S) for _ in range(3)]
    for output, code, said in end_all(agent, path, number, delays_s):
        # Before Python has come to our handlers, the signal itself is the end, or an error in the start of Python.
        assert code in (130, -number) or "edge_bench/" not in said, said
        if code == 130:
            assert "Traceback" not in said
        if not os.path.exists(output):
            assert "latency" not in said  # nothing had been measured
            continue
        with open(output, encoding="utf-8") as stream:
            assert schema.measurement_problem(json.load(stream)) == ""
        record = schema.read_measurement(output)
        assert record["status"] == "partial"
        assert "latency" in record or "latency 20" not in said
        if code == 130:
            assert not os.path.exists(output + schema.JOURNAL_SUFFIX)
            assert sorted(os.listdir(agent.folder)) == sorted(
                name for name in os.listdir(agent.folder) if not name.startswith(".writing")
            )


def test_a_killed_run_leaves_its_samples(maker, agent):
    child = agent.start("run", maker.folder(), *LONG)
    for line in iter(child.stderr.readline, b""):
        if b"latency" in line:
            break
    time.sleep(1.0)
    child.kill()
    assert agent.finish(child).code == -signal.SIGKILL
    left = os.path.getsize(agent.path("measurement.json") + schema.JOURNAL_SUFFIX)
    record = schema.read_measurement(agent.path("measurement.json"))
    assert record["status"] == "partial"
    assert len(record["latency"]["samples_s"]) == (left - 32) // 8 > 0
    shown = agent.run("show", "measurement.json", "--json")
    assert json.loads(shown.out)["latency"]["samples_s"] == record["latency"]["samples_s"]
    # The next run takes the place of both.
    again = agent.run("run", maker.folder(), "--runs", "20", "--power", "none", "--max-other-load", "1000")
    assert again.code == 0, again.err
    assert len(schema.read_measurement(agent.path("measurement.json"))["latency"]["samples_s"]) == 20
    assert os.listdir(agent.folder) == ["measurement.json"]
