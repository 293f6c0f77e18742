"""When each line of a log is due."""

import pytest

from edge_bench.logs.playback import timed_lines


def times(lines, interval_s=None):
    return [round(timed.time_s, 6) for timed in timed_lines(lines, interval_s)]


def at(second, text="RAM 1/2MB"):
    return "05-01-2024 00:00:%02d %s" % (second, text)


def test_stamps_say_when():
    assert times([at(1), at(2), at(5), at(6)]) == [0, 1, 4, 5]


def test_samples_of_one_second_are_spread_over_it():
    assert times([at(1), at(1), at(1), at(1), at(2), at(2)]) == [0, 0.25, 0.5, 0.75, 1, 1.5]


def test_an_interval_overrides_the_stamps():
    assert times([at(1), at(1), at(9)], 0.1) == [0, 0.1, 0.2]


def test_without_stamps_they_are_as_far_apart_as_tegrastats_writes_them():
    assert times(["RAM 1/2MB"] * 3) == [0, 1, 2]


def test_a_stamp_that_goes_back_does_not_stop_it():
    assert times([at(30), at(31), at(0), at(2)]) == [0, 1, 2, 4]


def test_what_is_no_sample_comes_with_the_next_one_and_nothing_is_lost():
    lines = ["noise", at(1), "noise", "noise", at(3), "noise"]
    assert [timed.text for timed in timed_lines(lines)] == lines
    assert times(lines) == [0, 0, 2, 2, 2, 4]


@pytest.mark.parametrize("lines", [[], ["noise"], ["noise"] * 3])
def test_logs_without_samples(lines):
    assert times(lines) == [0] * len(lines)


def test_what_lies_between_samples_without_an_end_is_not_held():
    endless = (at(0) if number == 0 else "noise" for number in range(100000))
    assert len(times(endless)) < 50000
