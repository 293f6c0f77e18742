"""A judged comparison as JUnit XML: a suite per network and board, a case per figure. Written by the agent's writer."""

from __future__ import annotations

from collections import Counter

from edge_bench.verdict.junit import ERROR, FAILURE, SKIPPED, Case, Suite, junit_document
from edge_dendrite.report.comparison.judging import INCONCLUSIVE, NOT_MEASURED, PASS, REGRESSION, Judgement
from edge_dendrite.report.comparison.result import Compared, ComparisonReport
from edge_dendrite.report.comparison.words import cells, runs_line

# Not measured and asked for is an error: most servers show skipped cases as green.
_ELEMENTS = {REGRESSION: FAILURE, INCONCLUSIVE: ERROR, NOT_MEASURED: ERROR, PASS: ""}


def render_junit(report: ComparisonReport) -> bytes:
    """Names of cases are the same in every build of a network, so that servers draw their history."""
    names: Counter[str] = Counter()
    suites = [_suite(one, names) for one in report.comparisons]
    missing = [one for one in report.missing if one.blocks]
    if missing:
        cases = [
            Case(_unique(one.what, names), ERROR, INCONCLUSIVE, one.reason, f"{one.side}: {one.what}")
            for one in missing
        ]
        suites.append(Suite("without a counterpart", "without a counterpart", "", [], cases))
    return junit_document("edge-dendrite compare", suites)


def _suite(one: Compared, names: Counter[str]) -> Suite:
    classname = _unique(f"{one.board}: {one.network}", names)
    properties = []
    for name, side in (("baseline", one.baseline), ("new", one.new)):
        properties.append((f"{name}: board state", side.board_state))
        properties.append((f"{name}: runs", runs_line(side.files, side.num_samples)))
    cases = [
        _case(figure.kind.key, judgement, "  ".join(cells(figure, judgement)))
        for figure, judgement in zip(one.figures, one.judgements, strict=True)
        if judgement is not None
    ]
    if one.outputs is not None:
        cases.append(_case("outputs", one.outputs, one.outputs.reason))
    return Suite(f"{classname} ({one.side})", classname, one.new.started_at, properties, cases)


def _case(name: str, judgement: Judgement, output: str) -> Case:
    element = _ELEMENTS[judgement.verdict] if judgement.counts else SKIPPED
    return Case(name, element, judgement.verdict, judgement.reason, f"{output}\n{judgement.reason}")


def _unique(name: str, names: Counter[str]) -> str:
    """The name, numbered where it was there before: several sides hold the same networks."""
    names[name] += 1
    return name if names[name] == 1 else _unique(f"{name} #{names[name]}", names)
