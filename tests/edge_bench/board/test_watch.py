"""Recorded series: when a clock drooped, when it only moved; and the thread that records them."""

import threading
import time

import pytest

import fake_boards
from edge_bench.atomic import canonical_json
from edge_bench.board.state import read_state
from edge_bench.board.watch import Watch
from edge_bench.board.watch_findings import findings, summarise, temperature_drift

PINNED = {"cpu_clock_limits_hz": {"cpu0": [2e9, 2e9]}, "governors": {"cpu0": "schedutil"}, "devfreq": {}}


def series(clocks=(), busy=None, **others):
    made = {
        "times_s": [0.5 * number for number in range(len(clocks))],
        "cpu_clocks_hz": {"cpu0": list(clocks)} if clocks else {},
        "cpu_busy": {"cpu0": list(busy if busy is not None else [1.0] * len(clocks))},
        "gpu_clocks_hz": {},
        "gpu_busy": {},
        "temperatures_c": {},
        "memory_available_bytes": [],
    }
    made.update(others)
    return made


@pytest.mark.parametrize(
    "clocks, invalid",
    [
        ([2e9] * 40, False),
        ([2e9] * 38 + [1e9] * 2, False),  # 5 % is allowed
        ([2e9] * 37 + [1e9] * 3, True),
        ([1.96e9] * 40, False),  # the clock as it is read back is a little off
        ([1.9e9] * 40, True),
        ([None] * 3 + [2e9] * 37, False),
        ([1e9] * 9, False),  # too few to judge
    ],
)
def test_a_pinned_clock_that_drooped_makes_the_run_invalid(clocks, invalid):
    reasons, _warnings = findings(summarise(series(clocks), PINNED))
    assert bool(reasons) is invalid
    assert all("CPU clock drooped" in reason and "fan" in reason for reason in reasons)


def test_a_clock_that_is_low_while_idle_did_not_droop():
    busy = [1.0] * 20 + [0.1] * 20
    assert findings(summarise(series([2e9] * 20 + [1e9] * 20, busy), PINNED)) == ([], [])


def test_clocks_that_may_move_are_not_judged():
    free = {"cpu_clock_limits_hz": {"cpu0": [1e9, 2e9]}, "governors": {"cpu0": "schedutil"}, "devfreq": {}}
    summary = summarise(series([1e9] * 40), free)
    assert findings(summary) == ([], [])
    assert "not pinned" in summary["clock_droop"]["cpu"]["reason"]
    held = dict(free, governors={"cpu0": "performance"})
    assert findings(summarise(series([1e9] * 40), held))[0]


def test_no_clocks_are_no_verdict():
    summary = summarise(series(), {})
    assert summary["clock_droop"] == {} and findings(summary) == ([], [])
    assert summary["memory_available_min_bytes"] is None


GPU = {"devfreq": {"17000000.gpu": {"min_freq_hz": 9e8, "max_freq_hz": 9e8}}}


@pytest.mark.parametrize(
    "clocks, busy, invalid",
    [
        ([9e8] * 20 + [6e8] * 20, [1.0] * 40, True),
        ([9e8] * 20 + [6e8] * 20, None, True),  # Thor does not tell the load
        ([9e8] * 20 + [6e8] * 20, [1.0] * 20 + [0.0] * 20, False),
        ([9e8] * 20 + [0.0] * 20, None, False),  # switched off
        ([9e8] * 40, [1.0] * 40, False),
    ],
)
def test_the_clock_of_a_gpu(clocks, busy, invalid):
    loads = {} if busy is None else {"17000000.gpu": busy}
    seen = series(gpu_clocks_hz={"17000000.gpu": clocks}, gpu_busy=loads)
    reasons, _warnings = findings(summarise(seen, GPU))
    assert bool(reasons) is invalid
    assert all("GPU clock drooped" in reason and "600 MHz" in reason for reason in reasons)


def test_a_board_that_heats_up_is_a_warning():
    heat = {"CPU": [40.0 + 0.5 * number for number in range(40)], "AO": [40.0] * 40, "off": [None] * 40}
    assert temperature_drift(heat) == {"CPU": 15.0, "AO": 0.0}
    known = {name: values for name, values in heat.items() if name != "off"}
    reasons, warnings = findings(summarise(series(temperatures_c=known), PINNED))
    assert reasons == []
    assert [row["code"] for row in warnings] == ["temperature-drift"] and "CPU rose by 15.0 C" in warnings[0]["message"]


def test_few_temperatures_are_no_drift():
    assert temperature_drift({"CPU": [40.0, 90.0, 95.0]}) == {}


def test_the_thread_records_what_the_board_does(board_tree):
    root = board_tree(fake_boards.ORIN_NX)
    watch = Watch(root, interval_s=0.2)
    with watch:
        for number in range(8):
            board_tree(
                {
                    "sys/devices/system/cpu/cpu3/cpufreq/scaling_cur_freq": "%d\n" % (1984000 - 1000 * number),
                    "proc/stat": "cpu  1 0 0 1 0 0 0 0\ncpu3 %d 0 0 10 0 0 0 0\n" % (100 + 90 * number),
                }
            )
            time.sleep(0.1)
        wait_for_samples(watch, 2)
        seen = watch.stop()
    assert len(seen["times_s"]) >= 2
    assert len(seen["cpu_clocks_hz"]) == 8 and seen["cpu_clocks_hz"]["cpu3"][-1] < 1984e6
    assert max(share for share in seen["cpu_busy"]["cpu3"] if share is not None) == 1.0
    assert seen["gpu_busy"]["17000000.gpu"][0] == 0.998
    assert seen["temperatures_c"]["tj-thermal"][0] == 61.968 and "cv0-thermal" not in seen["temperatures_c"]
    assert set(seen["memory_available_bytes"]) == {12900000 * 1024}
    canonical_json(summarise(seen, read_state(root)))


def wait_for_samples(watch, count):
    """Until there are so many more: a busy machine may take its time."""
    wanted, end = len(watch._rows) + count, time.monotonic() + 60
    while len(watch._rows) < wanted and time.monotonic() < end:
        time.sleep(0.02)


def test_files_that_vanish_or_turn_to_garbage_do_not_end_the_thread(board_tree):
    root = board_tree(fake_boards.NANO)
    watch = Watch(root, interval_s=0.2)
    watch.start()
    wait_for_samples(watch, 1)
    board_tree({"proc/stat": b"\xff", "proc/meminfo": None, "sys/class/thermal": None})
    board_tree({"sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "<unsupported>"})
    wait_for_samples(watch, 2)
    seen = watch.stop()
    assert seen["cpu_clocks_hz"]["cpu0"][-1] is None and seen["cpu_clocks_hz"]["cpu0"][0] == 1479e6
    assert seen["memory_available_bytes"][-1] is None
    canonical_json(summarise(seen, read_state(root)))


def test_an_error_inside_ends_the_thread(board_tree):
    before = threading.active_count()
    with pytest.raises(RuntimeError), Watch(board_tree(fake_boards.PI4)):
        raise RuntimeError("the model failed")
    assert threading.active_count() == before


def test_a_long_run_keeps_few_samples(board_tree, monkeypatch):
    monkeypatch.setattr("edge_bench.board.watch._MAX_SAMPLES", 4)
    monkeypatch.setattr("edge_bench.board.watch.MIN_INTERVAL_S", 0.01)
    watch = Watch(board_tree(fake_boards.CONTAINER), interval_s=0.01)
    watch.start()
    end = time.monotonic() + 60
    while watch.interval_s < 0.08 and time.monotonic() < end:
        time.sleep(0.02)
    seen = watch.stop()
    assert 0 < len(seen["times_s"]) <= 4 and watch.interval_s >= 0.08
    assert seen["times_s"] == sorted(seen["times_s"])


def test_it_is_never_faster_than_it_may_be(board_tree):
    assert Watch(board_tree({}), interval_s=0.001).interval_s == 0.2
