"""The fake with exact time: what base.time_slice measures of it is what it was told."""

import pytest

from edge_bench.errors import BackendError
from exact import ExactBackend, ManualClock


def test_latencies_are_those_that_it_was_told():
    clock = ManualClock(100.0)
    backend = ExactBackend(clock, [0.25, 0.5, 0.125], outputs=[[1.0, 2.0]], device_share=0.5)
    samples = []
    backend.infer()
    backend.time_slice(samples, 4, 60.0)
    assert samples == [0.5, 0.125, 0.25, 0.5]
    assert backend.device_samples_s == [0.25, 0.0625, 0.125, 0.25]
    assert clock() == 100.0 + 0.25 + sum(samples)
    assert backend.read_outputs() == [[1.0, 2.0]] and backend.num_runs == 5


def test_a_slice_ends_with_the_run_that_passes_its_time():
    samples = []
    ExactBackend(ManualClock(), [0.25]).time_slice(samples, None, 1.0)
    assert samples == [0.25] * 4
    ExactBackend(ManualClock(), [7.0]).time_slice(samples, None, 1.0)
    assert samples[4:] == [7.0]


def test_it_fails_where_it_is_told():
    backend, samples = ExactBackend(ManualClock(), [1.0], fails_at=3), []
    with pytest.raises(BackendError, match="inference 3 fails"):
        backend.time_slice(samples, None, 60.0)
    assert samples == [1.0, 1.0]
