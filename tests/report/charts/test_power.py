"""The power picture: windows at their measured places, means with their watts, and where the values came from."""

from __future__ import annotations

import pytest

from edge_dendrite.report import captions
from edge_dendrite.report.charts.draw import LEFT, RIGHT
from edge_dendrite.report.charts.power import drawn_power, power_traces
from edge_dendrite.report.rows import build_report
from measured_series import PAUSE_S, energy_of


def rows_of(study):
    return build_report(study, title="t").rows


def caption_of(study):
    return captions.power(build_report(study, title="t"))


def test_windows_are_at_their_measured_places(watched_study, find_tips, span_of):
    rows = rows_of(watched_study)
    svg = power_traces(rows)
    begin_s, end_s = -3.0 - PAUSE_S, 8.0
    margin_s = 0.01 * (end_s - begin_s)
    scale = (RIGHT - LEFT) / (end_s - begin_s + 2 * margin_s)
    shades = find_tips(svg, "energy window")
    assert len(shades) == 4
    for (_row, _run, power), shade in zip(drawn_power(rows), shades, strict=True):
        expected = [LEFT + scale * (edge_s - begin_s + margin_s) for edge_s in power.energy_window_s]
        assert span_of(shade) == pytest.approx(expected, abs=0.02)
    idle = [LEFT + scale * margin_s, LEFT + scale * (3.0 + margin_s)]
    assert span_of(find_tips(svg, "idle window")[0]) == pytest.approx(idle, abs=0.02)


def test_means_and_energies_are_written_with_their_units(watched_study, texts_of):
    rows = rows_of(watched_study)
    texts = texts_of(power_traces(rows))
    for _row, run, power in drawn_power(rows):
        assert f"load {power.load_power_w:.2f}\u00a0W" in texts
        assert f"run {run.round}" in texts
        assert (
            f"{1e3 * power.gross_j:.2f}\u00a0mJ gross, {1e3 * power.net_j:.2f}\u00a0mJ net of idle, per inference"
            in texts
        )
    assert texts.count("idle 2.00\u00a0W") == 4


def test_the_run_in_the_middle_is_drawn_and_one_left_out_only_where_there_is_no_other(watched_study):
    rows = rows_of(watched_study)
    for row, run, power in drawn_power(rows):
        assert not run.reasons
        energies = sorted(other.power.gross_j for other in row.traces.runs if not other.reasons)
        assert power.gross_j == energies[(len(energies) - 1) // 2]
    for run in watched_study:
        if run["bundle"]["role"] == "compressed":
            run["invalid"] = ["throttled"]
    (left_out,) = [run for row, run, _ in drawn_power(rows_of(watched_study)) if row.role == "compressed"]
    assert left_out.reasons == ("throttled",)


def test_the_trace_is_broken_between_the_windows_and_where_the_sensor_paused(watched_study):
    from edge_dendrite.report.charts.power import _unbroken

    for run in watched_study:
        stored = run["energy"]["load"]["power_samples_s_w"]
        run["energy"]["load"]["power_samples_s_w"] = [one for one in stored if not 4.0 < one[0] < 5.0]
    _row, _run, power = drawn_power(rows_of(watched_study))[0]
    parts = _unbroken(power)
    assert [len(part) > 10 for part in parts] == [True, True, True]
    assert parts[1][0][0] == 0.0
    assert parts[1][-1][0] == pytest.approx(4.0)


def test_the_source_is_named_and_a_program_is_called_one(watched_study):
    assert "Source: ina3221, VDD_IN (module input)." in caption_of(watched_study)
    assert "A program gave these watts" not in caption_of(watched_study)
    command = {"command": ["/home/someone/edge-bench.pyz", "replay", "<b>log</b>", "--print"]}
    for run in watched_study:
        run["energy"] = energy_of(source="command", details=command)
    caption = caption_of(watched_study)
    assert "the program edge-bench.pyz replay b> --print (module input)" in caption
    assert "whether it measured them, replayed or made them up is not known here" in caption


def test_an_emulated_board_is_named_in_the_caption(watched_study):
    for run in watched_study:
        run["board"]["emulated"] = "QEMU"
    assert "emulated by QEMU: not a board's speed" in caption_of(watched_study)


def test_without_power_there_is_no_picture(study):
    assert power_traces(rows_of(study)) is None


def test_power_that_never_changes_and_power_below_zero_are_drawn(watched_study):
    for level_w in (0.0, 3.0, -2.0):
        for run in watched_study:
            run["energy"] = energy_of(lambda time_s, level_w=level_w: level_w)
        assert "<path" in power_traces(rows_of(watched_study))
