"""The Markdown report: the same rows and sentences, and no foreign markup."""

from __future__ import annotations

import re

from edge_dendrite.report.markdown import escape, render_markdown
from edge_dendrite.report.rows import build_report
from edge_dendrite.report.table import COLUMNS
from edge_dendrite.report.verdict import judge


def table_lines(text):
    return [line for line in text.splitlines() if line.startswith("| ")]


def test_a_table_line_per_network_and_every_verdict_sentence(study):
    report = build_report(study, title="Digits")
    text = render_markdown(report)
    assert text.startswith("# Digits\n")
    assert len(table_lines(text)) == 2 + 4
    for _, findings in judge(report).groups:
        for finding in findings:
            assert escape(finding.text) in text
    assert text.endswith("\n")
    assert "\n\n\n" not in text


def test_hostile_names_cannot_open_a_cell_a_line_or_a_tag(study):
    for run in study:
        run["bundle"]["name"] += " | a\n| b | [x](http://e) <b> `c` ![i](j) @team WWW.e"
    text = render_markdown(build_report(study, title="# <script>\n## x"))
    for line in table_lines(text):
        assert len(re.findall(r"(?<!\\)\|", line)) == len(COLUMNS) + 1
    assert "<script>" not in outside_of_code(text).replace("\\<script\\>", "")
    assert "\n## x" not in text
    assert "\\[x\\](http\\://e) \\<b\\> \\`c\\` \\!\\[i\\](j) \\@team WWW\\.e" in text


def test_left_out_runs_and_missing_figures_are_named(study):
    study[1]["invalid"] = ["throttled during the run"]
    text = render_markdown(build_report(study, title="t"))
    assert "1 run left out:" in text
    assert "throttled during the run" in text
    assert "- <sup>1</sup>" in text
    assert "1. no INA3221, no RAPL" in text
    assert "Measured on Testboard 1, Test CPU 2.0 GHz, 1 thread" in text


def outside_of_code(text):
    """Without what stands between a fence and the same fence, where nothing is markup."""
    kept, fence = [], ""
    for line in text.splitlines():
        ticks = line[: len(line) - len(line.lstrip("`"))]
        if fence:
            fence = "" if line == fence else fence
        elif len(ticks) >= 3:
            fence = ticks
        else:
            kept.append(line)
    assert fence == ""
    return "\n".join(kept)


def test_no_command_can_end_its_own_block(study):
    text = render_markdown(build_report(study, title="``` ````` <script>", provenance={}))
    assert "<script" not in outside_of_code(text).replace("\\<script", "")
    assert "``````sh" in text
