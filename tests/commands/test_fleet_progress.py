from __future__ import annotations

import pytest

from edge_dendrite.commands.fleet_progress import FleetProgress
from edge_dendrite.ship.fleet_file import FAILED, RUNNING, BoardResult
from edge_dendrite.terminal import agent_progress


@pytest.mark.parametrize(
    ("line", "progress"),
    [
        ("edge-bench: latency  40 %", ("latency", 40)),
        ("edge-bench: warm up 100 %", ("warm up", 100)),
        ("edge-bench: latency median 12 us", None),
        ("measuring digits, round 1 of 2, on nano", None),
        ("x edge-bench: latency  40 %", None),
    ],
)
def test_lines_that_say_only_how_far_it_is(line, progress):
    assert agent_progress(line) == progress


def show(capsys) -> str:
    with FleetProgress(["nano", "orin"]) as shown:
        shown.state(BoardResult("nano", "me@nano", RUNNING))
        shown.line("nano", "measuring digits, round 1 of 2, on nano")
        shown.line("nano", "edge-bench: latency  40 %")
        shown.line("nano", "a [red]note[/red] of the board")
        shown.state(BoardResult("orin", "me@orin", FAILED, "it does not answer"))
        shown.line("", "ending 1 runs")
    seen = capsys.readouterr()
    assert seen.out == ""
    return seen.err


def test_without_a_terminal_lines_have_the_boards_name_and_no_percentages(capsys):
    assert show(capsys).splitlines() == [
        "nano: measuring digits, round 1 of 2, on nano",
        "nano: a [red]note[/red] of the board",
        "orin: failed: it does not answer",
        "ending 1 runs",
    ]


def test_on_a_terminal_each_board_has_a_line(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")
    seen = show(capsys)
    last = seen[seen.rindex("nano") :]
    assert "a [red]note[/red] of the board" in last
    assert "failed: it does not answer" in last
    assert "ending 1 runs" in seen
    assert "nano: " not in seen
