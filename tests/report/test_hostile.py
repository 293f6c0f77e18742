"""Every text of a measurement, each in its turn, is made by somebody who wants something else of the report."""

from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser

import pytest

from browsing import complaints, open_page, set_media, set_width
from edge_bench.schema import measurement_problem
from edge_dendrite.report.boards import build_boards_report
from edge_dendrite.report.html import render_boards_html, render_html
from edge_dendrite.report.markdown import render_boards_markdown, render_markdown
from edge_dendrite.report.rows import build_report
from full_study import make_full_study, make_history

TEXTS = (
    '</script></style></title></svg><script>hit=1;document.title="taken"</script><img src=x onerror="hit=1">',
    '" onmouseover="hit=1" tabindex="9" style="display:none" x=\' onfocus=\'hit=1\' autofocus x=`hit`',
    "{{ 7*7 }}{% raw %}{#${7*7}<!-- ]]> <![CDATA[ --> &lt;script&gt;hit=1&lt;/script&gt; javascript:hit=1",
    "\x00\x1b[31m\u202eevil\u2066\ud800\r\n\n# head\n| a | b |\n```\n\u2028\x7f\x9b2J\x07",
    "W" * 30_000,
    "[a](javascript:hit=1) ![b](http://127.0.0.1:9/x.png) <b>c</b> `d` | e | https://127.0.0.1:9/ @f #1 $x^2$ \\",
)
# Dictionaries whose keys are names that a board gives.
NAMED = ("governors", "temperatures_c", "cpu_clock_limits_hz", "cpu_clocks_hz", "rail_power_w", "cpu_busy", "tools")
# What says which network is which. With a foreign role there is nothing to compare, and most of the page is not there.
IDENTITY = ("role", "id")
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def places(value, path=()):
    """The paths of all texts, and of the names among the keys."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if path and path[-1] in NAMED:
                yield (*path, key, "its name")
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value[:3]):
            yield from places(inner, (*path, index))
    elif isinstance(value, str):
        yield path


def put(measurement, path, text):
    """Whether the measurement, changed in place, is one that is read at all; if not it is as it was."""
    is_name = path[-1] == "its name"
    *way, last = path[:-1] if is_name else path
    holder = measurement
    for part in way:
        holder = holder[part]
    before = holder[last]
    if is_name:
        del holder[last]
        holder[text] = before
    else:
        holder[last] = text
    if measurement_problem(measurement) == "":
        return True
    if is_name:
        del holder[text]
    holder[last] = before
    return False


def hostile_study(shift, *, identity=False):
    """Text n of each measurement becomes TEXTS[n + shift]; so over all shifts each place holds each text."""
    study = make_full_study(1, 70)
    for one in study:
        # Two places that the study leaves empty.
        one["invalid"] = ["x"] if one["bundle"]["role"] == "control:dense-longer" else []
        one["warnings"] = [{"code": "a", "message": "b", "fix": "c"}]
    num_changed = 0
    for number, one in enumerate(study):
        # Names last: they are no longer found where they were.
        found = sorted(places(copy.deepcopy(one)), key=lambda path: path[-1] == "its name")
        for index, path in enumerate(found):
            if identity or path[-1] not in IDENTITY:
                num_changed += put(one, path, f"{index} {number} " + TEXTS[(index + shift) % len(TEXTS)])
    assert num_changed > 50 * len(study)
    return study


def hostile_report(shift, *, identity=False):
    history = make_history()
    for index, epoch in enumerate(history):
        epoch["stage"] += TEXTS[(index // 12 + shift) % len(TEXTS)]
    text = TEXTS[shift]
    provenance = {f"{index} {one}": one for index, one in enumerate(TEXTS)}
    return build_report(hostile_study(shift, identity=identity), title=text, history=history, provenance=provenance)


class Page(HTMLParser):
    """Tags, names of attributes, and the text outside of script and style."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {key for key, _ in attrs}


@pytest.fixture(scope="module")
def clean():
    report = build_report(make_full_study(2, 70), title="t", history=make_history(), provenance={"k": "v"})
    page = Page(render_html(report))
    return set(page.tags), page.attributes


@pytest.fixture(scope="module")
def pages():
    """The page of each shift, made once."""
    return [render_html(hostile_report(shift)) for shift in range(len(TEXTS))]


def test_there_is_much_to_replace():
    study = make_full_study(1, 70)
    found = list(places(study[0]))
    assert len(found) > 60
    for path in (
        ("bundle", "name"),
        ("energy", "rails", 0),
        ("watch", "series", "temperatures_c", "cpu-thermal", "its name"),
    ):
        assert path in found


@pytest.mark.parametrize("shift", range(len(TEXTS)))
def test_no_text_becomes_markup(pages, clean, shift):
    page = pages[shift]
    page.encode("utf-8")
    parsed = Page(page)
    tags, attributes = clean
    assert set(parsed.tags) <= tags
    assert parsed.attributes <= attributes
    assert parsed.tags.count("script") == 1
    assert not FORBIDDEN.search(page)
    assert len(page.encode()) < 2_000_000


def test_foreign_roles_and_ids(clean):
    for shift in (0, 1, 3):
        page = render_html(hostile_report(shift, identity=True))
        parsed = Page(page)
        assert set(parsed.tags) <= clean[0]
        assert parsed.attributes <= clean[1]
        assert not FORBIDDEN.search(page)


@pytest.mark.parametrize("shift", range(len(TEXTS)))
def test_markdown_and_json_keep_their_form(shift):
    report = hostile_report(shift)
    boards = build_boards_report({f"{shift} {text}": hostile_study(shift) for text in TEXTS[:2]}, title=TEXTS[shift])
    for text in (render_markdown(report), render_boards_markdown(boards)):
        text.encode("utf-8")
        assert not FORBIDDEN.search(text)
        # A command stands on one line of a block whose fence is longer than what it holds.
        outside = re.sub(r"^(`{3,})sh\n(?:(?!\1)[^\n])+\n\1$", "", text, flags=re.MULTILINE)
        bare = re.sub(r"\\.", "", outside)
        assert set(re.findall(r"<[^>]*>?", bare)) <= {"<sup>", "</sup>"}
        assert not re.search(r"\]\(|`|&|!\[", bare)
        widths = [line.count("|") for line in bare.splitlines() if line.startswith("|")]
        assert len(set(widths)) <= 2
    for made in (report, boards):
        assert json.loads(json.dumps(made.to_dict(), allow_nan=False))["title"] == made.title
        assert not FORBIDDEN.search(json.dumps(made.to_dict(), ensure_ascii=False))


@pytest.mark.needs("chromium")
def test_nothing_of_it_runs_and_nothing_bursts_the_page(browser, pages, tmp_path):
    boards = build_boards_report({f"{index} {one}": hostile_study(index) for index, one in enumerate(TEXTS)}, title="t")
    set_media(browser)
    for number, page in enumerate([*pages, render_boards_html(boards)]):
        path = tmp_path / f"{number}.html"
        path.write_text(page, "utf-8")
        for width in (390, 1280):
            set_width(browser, width)
            open_page(browser, path.as_uri())
            assert browser.execute_script("return typeof hit") == "undefined"
            assert browser.title != "taken"
            assert browser.find_elements("css selector", "img, iframe, object, embed, [autofocus], [onerror]") == []
            assert len(browser.find_elements("css selector", "script")) == 1
            for tab in browser.find_elements("css selector", "[role=tab]") or [None]:
                if tab:
                    tab.click()
                assert browser.execute_script("return document.documentElement.scrollWidth") <= width
            show_all_tips(browser)
            assert browser.execute_script("return typeof hit") == "undefined"
            assert complaints(browser) == []


def show_all_tips(browser):
    """Each tooltip once, by focus and by pointer: what they show is text."""
    found = browser.execute_script(
        "const tip = document.getElementById('tip'), wrong = [];"
        "for (const mark of document.querySelectorAll('[data-tip]')) {"
        "  mark.dispatchEvent(new PointerEvent('pointerover', {bubbles: true, pointerType: 'mouse'}));"
        "  if (tip.children.length || tip.textContent !== mark.dataset.tip) wrong.push(mark.dataset.tip);"
        "} return wrong"
    )
    assert found == []
