"""What a notebook shows: one fragment that holds the whole page and lets nothing of it out."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from edge_dendrite.notebook import table_html
from edge_dendrite.report.boards import build_boards_report
from edge_dendrite.report.html import render_html
from edge_dendrite.report.rows import build_report

HOSTILE = ["</iframe><script>alert(1)</script>", '" onload="alert(1)', "' srcdoc='x", "\x1b[31m\u202e&quot;"]


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.mark.parametrize("hostile", ["plain", *HOSTILE])
def test_a_report_is_one_frame_with_its_page_inside(study, hostile):
    study = study[:2]
    for run in study:
        run["bundle"]["name"] += hostile
    report = build_report(study, title=hostile)
    ((tag, attributes),) = Tags(report._repr_html_()).tags
    assert tag == "iframe"
    assert attributes["srcdoc"] == render_html(report)
    # Scripts of the page may run; as what they came from they may not.
    assert attributes["sandbox"] == "allow-scripts"
    assert attributes["title"] == report.title
    assert attributes.keys() == {"sandbox", "title", "srcdoc", "style"}


def test_several_boards_are_one_frame_too(study):
    report = build_boards_report({"nano": study[:1], "orin": study[1:2]}, title="two")
    ((tag, attributes),) = Tags(report._repr_html_()).tags
    assert (tag, attributes["title"]) == ("iframe", "two")
    assert "nano" in attributes["srcdoc"]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_small_tables_escape_everything(hostile):
    parsed = Tags(table_html(hostile, [hostile, "n"], [[hostile, "1"]]))
    assert {tag for tag, _ in parsed.tags} <= {"div", "p", "b", "table", "thead", "tbody", "tr", "th", "td"}
    assert all(attributes.keys() <= {"style"} for _, attributes in parsed.tags)
    assert "\x1b" not in parsed.text


def test_long_tables_say_how_many_are_left():
    text = table_html("t", ["a"], ([str(number)] for number in range(250)))
    assert text.count("<tr>") == 101
    assert "150 more" in text
