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


def default_interrupt():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a test run in the background would hand down "ignore"


def end_at(agent, path, number, delay_s, output):
    """Start a run, send it the signal after a delay; gives (exit code, what it said, whether it was timing)."""
    child = agent.start("run", path, "--output", output, *LONG, preexec_fn=default_interrupt)
    time.sleep(delay_s)
    child.send_signal(number)
    done = agent.finish(child)
    return done.code, done.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_at_any_moment(maker, agent, number, seed):
    chance = random.Random("%d %d" % (number, seed))
    path = maker.folder()
    for attempt in range(3):
        output = agent.path("m-%d.json" % attempt)
        code, said = end_at(agent, path, number, chance.uniform(0.0, LONGEST_DELAY_S), output)
        # Before Python has come to our handlers, the signal itself is the end.
        assert code in (130, -number), said
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
