"""Ridges of latency: from all samples, with the marks where the figures are."""

from __future__ import annotations

import math

import pytest

from edge_dendrite.report.charts.draw import RIGHT
from edge_dendrite.report.charts.histogram import latency_ridges, ridge_bins
from edge_dendrite.report.charts.latency import ecdf_limits
from edge_dendrite.report.rows import build_report

LEFT = 12.0


def rows_of(study):
    return build_report(study, title="t").rows


def test_bins_hold_all_samples_of_the_axis_once(study):
    row = rows_of(study)[0]
    samples = [sample for run in study[::1] if run["bundle"]["id"] == row.id for sample in run["latency"]["samples_s"]]
    low, high = ecdf_limits([row])
    for max_bins in (5, 50, 200):
        bins = ridge_bins(row.traces.histogram, low, high, max_bins)
        assert len(bins) <= max_bins
        assert [begin for begin, _, _ in bins[1:]] == [end for _, end, _ in bins[:-1]]
        for begin, end, count in bins:
            assert count == sum(begin <= sample < end for sample in samples)
        assert sum(count for _, _, count in bins) == sum(sample < bins[-1][1] for sample in samples)


@pytest.mark.parametrize("name", ["median", "p90", "p99"])
def test_marks_are_where_the_figures_are(study, find_tips, span_of, name):
    rows = rows_of(study)
    svg = latency_ridges(rows)
    low, high = ecdf_limits(rows)
    marks = find_tips(svg, f": {name} ")
    lines = [mark for mark in marks if mark.get("data-tip") and list(mark.iter("{http://www.w3.org/2000/svg}path"))]
    assert len(lines) == 4
    for row, line in zip(rows, lines, strict=True):
        share = math.log(getattr(row.latency, f"{name}_s") / low) / math.log(high / low)
        assert span_of(line)[0] == pytest.approx(LEFT + share * (RIGHT - LEFT), abs=0.02)


def test_a_figure_beyond_the_axis_has_an_arrow_at_the_edge(study, find_tips):
    (first, *_) = study
    # More than a hundredth and less than two of the samples of this network are slow: p99 is beyond p99.5 of none.
    rows = rows_of(study)
    low, high = ecdf_limits(rows)
    from dataclasses import replace

    far = [replace(row, latency=replace(row.latency, p99_s=2 * high)) for row in rows[:1]] + list(rows[1:])
    svg = latency_ridges(far)
    (arrow,) = find_tips(svg, f"{far[0].name}: p99")
    assert list(arrow.iter("{http://www.w3.org/2000/svg}use"))


def test_too_few_samples_are_said_and_not_drawn(bundle, measurement, texts_of, find_tips):
    made = measurement(bundle("a", "baseline", (4, 4, 4, 10), 9, 10), num=40)
    svg = latency_ridges(rows_of([made]))
    assert any("p99: too few samples" in text for text in texts_of(svg))
    assert not find_tips(svg, ": p99")


def test_nothing_timed_means_no_picture(study):
    for run in study:
        run["status"] = "failed"
    assert latency_ridges(rows_of(study)) is None
