"""The latency phase with a clock that is set by the test: deadlines, periods, what counts as missed."""

import types

import pytest

from edge_bench.backends import base
from edge_bench.errors import BackendError
from edge_bench.measure import latency, other_load
from edge_bench.measure.settings import Settings


class Clock:
    """`time` with a hand that only inference and sleeping move."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        assert seconds > 0
        self.now += seconds


class Paced(base.Backend):
    """Takes the given times one after another, the last one again and again."""

    def __init__(self, clock, times):
        super().__init__(clock.perf_counter)
        self.clock, self.times = clock, list(times)
        self.starts = []

    def infer(self):
        self.starts.append(self.clock.now)
        self.clock.now += self.times.pop(0) if len(self.times) > 1 else self.times[0]


class KeptJournal:
    def __init__(self):
        self.lengths = []

    def add(self, samples):
        self.lengths.append(len(samples))


@pytest.fixture
def phase(monkeypatch):
    """A function that runs a phase on the test's clock: (record, backend, journal)."""
    clock = Clock()
    for module in (latency, other_load):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(other_load, "busy_seconds", lambda: None)

    def run(times, min_samples=latency.MIN_SAMPLES, **settings):
        backend, journal = Paced(clock, times), KeptJournal()
        made = latency.LatencyPhase(backend, Settings(**settings), journal, lambda share: None)
        return made.measure(min_samples), backend, journal

    return run


def test_a_deadline_counts_what_took_longer(phase):
    record = phase([0.010, 0.021, 0.020, 0.035, 0.010], num_runs=10, deadline_s=0.0205)[0]
    assert (record["num_missed"], record["miss_ratio"]) == (2, 0.2)
    assert "response_samples_s" not in record and "num_skipped" not in record


def test_without_a_deadline_nothing_is_said_of_one(phase):
    record = phase([0.010], num_runs=10)[0]
    assert "num_missed" not in record and "miss_ratio" not in record


def test_releases_come_at_the_period_however_long_the_inference_takes(phase):
    record, backend, _journal = phase([0.010, 0.003, 0.015, 0.010], num_runs=8, period_s=0.02)
    begins = [start - backend.starts[0] for start in backend.starts]
    assert begins == pytest.approx([0.02 * number for number in range(8)])
    assert record["samples_s"] == pytest.approx([0.010, 0.003, 0.015] + 5 * [0.010])
    assert record["response_samples_s"] == pytest.approx(record["samples_s"])
    assert record["num_skipped"] == 0
    assert "overhead_share" not in record  # waiting for the release is no overhead


def test_what_runs_over_skips_releases_and_each_is_missed(phase):
    """45 ms fill two periods of 20 ms and begin a third: two frames found the network busy."""
    record, backend, _journal = phase([0.045, 0.010], num_runs=4, period_s=0.02, deadline_s=0.03)
    begins = [start - backend.starts[0] for start in backend.starts]
    assert begins == pytest.approx([0.0, 0.06, 0.08, 0.10])
    assert record["num_skipped"] == 2
    assert record["num_missed"] == 1 + 2
    assert record["miss_ratio"] == pytest.approx(3 / 6.0)


def test_a_late_wake_up_is_part_of_the_response_and_not_of_the_inference(phase, monkeypatch):
    run = phase

    def oversleeping(self, seconds):
        self.now += seconds + 0.004

    monkeypatch.setattr(Clock, "sleep", oversleeping)
    record = run([0.010], num_runs=5, period_s=0.02)[0]
    assert record["samples_s"] == pytest.approx([0.010] * 5)
    assert record["response_samples_s"] == pytest.approx([0.010] + [0.014] * 4)


@pytest.mark.parametrize("period_s", [0.02, 0.1, 0.3, 1.5])
def test_releases_keep_their_period_from_slice_to_slice(phase, period_s):
    record, backend, _journal = phase([0.001], num_runs=40, period_s=period_s)
    steps = [later - earlier for earlier, later in zip(backend.starts, backend.starts[1:])]
    assert steps == pytest.approx([period_s] * 39)
    assert record["duration_s"] == pytest.approx(39 * period_s + 0.001)


def test_our_own_work_between_two_slices_is_no_delay_of_the_network(phase, monkeypatch):
    monkeypatch.setattr(KeptJournal, "add", lambda self, samples: latency.time.sleep(0.5))
    record = phase([0.001], num_runs=30, period_s=0.02)[0]
    assert record["response_samples_s"] == pytest.approx(record["samples_s"])
    assert record["num_skipped"] == 0


def test_the_journal_gets_the_samples_between_slices(phase):
    record, _backend, journal = phase([0.01], num_runs=100)
    assert journal.lengths == sorted(journal.lengths)
    assert journal.lengths[-1] == len(record["samples_s"]) == 100
    assert len(journal.lengths) >= 4  # a slice is a quarter of a second


def test_one_run_of_a_long_command_is_a_result(phase):
    record = phase([400.0], min_samples=1, duration_s=3.0)[0]
    assert len(record["samples_s"]) == 1


def test_overhead_is_what_is_no_inference(phase, monkeypatch):
    monkeypatch.setattr(KeptJournal, "add", lambda self, samples: latency.time.sleep(0.02))
    record = phase([0.01], num_runs=100)[0]
    slices = 4  # 25 or 26 inferences each, then 20 ms elsewhere
    assert record["overhead_share"] == pytest.approx(0.02 * slices / (1.0 + 0.02 * slices), rel=0.3)


@pytest.mark.parametrize(
    "seconds, warmup_s, num_runs", [(0.1, 1e-9, 10), (0.1, 2.0, 20), (3.0, 0.5, 4), (600.0, 0.5, 1)]
)
def test_how_long_warming_up_lasts(phase, monkeypatch, seconds, warmup_s, num_runs):
    clock = Clock()
    monkeypatch.setattr(latency, "time", clock)
    backend = Paced(clock, [seconds])
    assert abs(latency.warm_up(backend, Settings(warmup_s=warmup_s), 10) - num_runs) <= 1


def test_a_device_has_a_clock_of_its_own():
    samples = latency.Samples()
    samples.latency_s = [2e-3] * 3
    backend = types.SimpleNamespace(device_samples_s=[1e-3] * 3)
    record = latency.latency_record(samples, Settings(), backend)
    assert record["device_samples_s"] == [1e-3] * 3
    assert record["device_summary"]["median_s"] == 1e-3


def test_an_error_in_the_middle_leaves_the_samples(phase, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(latency, "time", clock)
    backend = Paced(clock, [0.01])
    infer = backend.infer

    def failing():
        if len(backend.starts) == 60:
            raise BackendError("gone")
        infer()

    backend.infer = failing
    made = latency.LatencyPhase(backend, Settings(num_runs=100), KeptJournal(), lambda share: None)
    with pytest.raises(BackendError):
        made.measure()
    assert len(made.samples.latency_s) == 60
