"""Latency over time: every run in its column, and below it what was watched, at its measured place."""

from __future__ import annotations

import pytest

from edge_dendrite.report import captions
from edge_dendrite.report.charts.draw import LEFT, RIGHT
from edge_dendrite.report.charts.over_time import drawn_over_time, latency_limits, latency_over_time, phases_s
from edge_dendrite.report.rows import build_report

MARGIN = 0.04


def rows_of(study):
    return build_report(study, title="t").rows


def caption_of(study):
    return captions.over_time(build_report(study, title="t"))


def test_every_network_and_run_is_there(watched_study, texts_of, find_tips):
    rows = rows_of(watched_study)
    svg = latency_over_time(rows)
    texts = texts_of(svg)
    assert {row.name for row in rows} <= set(texts)
    assert [text for text in texts if text.startswith("run ")] == ["run 1", "run 2", "run 3", "run 4"]
    for row in rows:
        for run in range(1, 5):
            assert len(find_tips(svg, f"{row.name}, run {run}: 1,500 samples")) == 1
    assert "Hottest sensor, energy phase" in texts
    assert "Highest CPU clock, energy phase" in texts
    assert "GPU clock, energy phase" in texts


def test_a_run_lies_in_its_column_and_is_as_long_as_its_phase(watched_study, find_tips, span_of):
    rows = rows_of(watched_study)
    svg = latency_over_time(rows)
    longest_s, _ = phases_s(rows)
    row = rows[1]
    column_width = (RIGHT - LEFT) / 4
    for column, run in enumerate(row.traces.runs):
        begin, end = span_of(find_tips(svg, f"{row.name}, run {column + 1}: 1,5")[0])
        # Bins are drawn at their middle.
        times_s = [run.latency.bands[0][0], run.latency.bands[-1][0]]
        places = [column + MARGIN + (1 - 2 * MARGIN) * time_s / longest_s for time_s in times_s]
        assert (begin, end) == pytest.approx([LEFT + column_width * place for place in places], abs=0.05)


def test_a_clock_that_was_too_low_is_shaded_where_it_was_seen(watched_study, find_tips, span_of):
    rows = rows_of(watched_study)
    svg = latency_over_time(rows)
    marks = find_tips(svg, "a clock below the one that it was pinned to, 1.5 to 3.5 s")
    # In the panels of temperature, CPU clock and GPU clock.
    assert len(marks) == 3
    column_width, (_, phase_s) = (RIGHT - LEFT) / 4, phases_s(rows)
    expected = [LEFT + column_width * (MARGIN + (1 - 2 * MARGIN) * time_s / phase_s) for time_s in (1.5, 3.5)]
    for mark in marks:
        assert span_of(mark) == pytest.approx(expected, abs=0.02)


def test_a_throttled_run_says_so_and_why(watched_study, texts_of, find_tips):
    svg = latency_over_time(rows_of(watched_study))
    assert texts_of(svg).count("throttled") == 1
    (name,) = {watched_study[2]["bundle"]["name"]}
    assert find_tips(svg, f"{name}, run 1: the CPU clock drooped during the run; counter oc1 rose from 0 to 3")


def test_a_run_left_out_for_another_reason_is_marked(watched_study, texts_of):
    watched_study[5]["invalid"] = ["other programs used 80 % of all processor time"]
    assert texts_of(latency_over_time(rows_of(watched_study))).count("left out") == 1


def test_temperatures_before_and_after_are_marked(watched_study, find_tips):
    svg = latency_over_time(rows_of(watched_study))
    assert len(find_tips(svg, "hottest sensor before the runs 39.0, 39.0, 39.0, 39.0 C")) == 4
    # The first, eighth, ninth and last of sixteen runs.
    (after,) = find_tips(svg, "digits-dense: hottest sensor after the runs 48.0, 55.0, 56.0, 63.0 C")
    assert len(list(after.iter("{http://www.w3.org/2000/svg}use"))) == 4


def test_the_caption_says_what_was_sampled_when(watched_study, study):
    assert "While latency was timed nothing was sampled beside it." in caption_of(watched_study)
    for run in study:
        run.pop("watch")
    assert "could not be read on this board, or were not watched" in caption_of(study)


def test_without_a_watch_there_are_no_empty_panels(study, texts_of):
    texts = texts_of(latency_over_time(rows_of(study)))
    assert not [text for text in texts if "energy phase" in text]


def test_the_axis_shows_the_body_though_one_sample_is_far_away(study):
    study[0]["latency"]["samples_s"][7] = 0.5
    row = rows_of(study)[0]
    low, high = latency_limits(row.traces.runs)
    assert low < row.latency.median_s < high < 3 * row.latency.median_s


def test_a_clock_without_any_spread_is_drawn(bundle, measurement):
    made = measurement(bundle("a", "baseline", (4, 4, 4, 10), 9, 10), num=1)
    made["latency"]["samples_s"] = [1e-3]
    assert "<path" in latency_over_time(rows_of([made]))
    made["latency"]["samples_s"] = [1e-3] * 2000
    assert "<path" in latency_over_time(rows_of([made]))


def test_only_so_many_networks_are_drawn_and_the_caption_counts(bundle, measurement):
    networks = [bundle(f"n{index}", "control:x", (4, 4, 4, 10), 9, 10) for index in range(9)]
    study = [measurement(network, minute=index, num=50) for index, network in enumerate(networks)]
    assert len(drawn_over_time(rows_of(study))) == 6
    assert "6 of 9 networks." in caption_of(study)
