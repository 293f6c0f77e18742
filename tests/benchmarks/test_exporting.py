"""The table of exports: what is committed is what was run, and each outcome it can show is told from the others."""

from __future__ import annotations

import json
import os

import pytest
import zoo

from scripts.benchmarks import exporting
from scripts.benchmarks.exporting import OPSETS, RESULTS, TOLERANCE, Outcome, markdown, run_apart, run_case, words


def committed():
    return json.loads((RESULTS / "exporting.json").read_text("utf-8"))


def test_the_committed_table_is_that_of_the_committed_rows():
    results = committed()
    assert (RESULTS / "exporting.md").read_text("utf-8") == markdown(results)
    names = {*zoo.NETWORKS, *zoo.DENDRITIC}
    assert {(one["architecture"], one["opset"]) for one in results["outcomes"]} == {
        (name, opset) for name in names for opset in OPSETS
    }
    assert all(one["error"] is None or one["error"] <= TOLERANCE for one in results["outcomes"])
    assert all(bool(one["message"]) is (one["error"] is None) for one in results["outcomes"])


def test_a_row_is_made_by_exporting_and_comparing():
    seen = run_case("GRU", 13)
    assert (seen.architecture, seen.opset, seen.batch) == ("GRU", 13, "dynamic") and 0 < seen.error < TOLERANCE
    refused = run_case("torch.cond gate", 13)
    assert refused.error is None and "cannot be exported at opset 13" in refused.message


@pytest.mark.parametrize(
    ("outcome", "cell"),
    [
        (Outcome("a", 13, 2e-7, "dynamic"), "2e-07"),
        (Outcome("a", 13, 2e-7, "1"), "2e-07 (batch 1)"),
        (Outcome("a", 13, None, message="no operator"), "no: no operator"),
    ],
)
def test_cells(outcome, cell):
    assert words(outcome) == cell


def test_a_crash_and_a_case_without_end_are_outcomes(monkeypatch):
    monkeypatch.setattr(exporting, "run_case", lambda name, opset: os._exit(3))
    assert words(run_apart("GRU", 13)) == "no: the process ended with code 3"

    def forever(name, opset):
        while True:
            pass

    monkeypatch.setattr(exporting, "run_case", forever)
    monkeypatch.setattr(exporting, "_WALL_LIMIT_S", 0.5)
    assert words(run_apart("GRU", 13)) == "no: no end after 0.5 s"
