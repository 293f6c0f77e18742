"""Spans of time that are shaded: how many become few."""

from __future__ import annotations

from edge_dendrite.report.charts.energy_phase import merge_spans


def test_spans_that_touch_or_overlap_are_one():
    assert merge_spans([(2.0, 3.0), (0.0, 1.0), (1.0, 1.5), (2.5, 2.75)], 9) == [(0.0, 1.5), (2.0, 3.0)]


def test_of_too_many_spans_the_shortest_breaks_are_filled():
    spans = [(0.0, 1.0), (1.1, 2.0), (5.0, 6.0), (6.2, 7.0), (9.0, 9.5)]
    assert merge_spans(spans, 3) == [(0.0, 2.0), (5.0, 7.0), (9.0, 9.5)]
    assert merge_spans(spans, 1) == [(0.0, 9.5)]
    assert merge_spans([(float(n), n + 0.5) for n in range(100)], 4) == [(0.0, 99.5)]


def test_no_spans_are_none():
    assert merge_spans([], 3) == []
