"""The page: complete, escaped, self-contained, bounded and the same every time."""

from __future__ import annotations

import base64
import copy
import hashlib
import re
from html.parser import HTMLParser

import pytest

from edge_dendrite.report.html import render_html
from edge_dendrite.report.markdown import render_markdown
from edge_dendrite.report.page_pictures import fit_pictures, group_pictures, place_pictures
from edge_dendrite.report.pictures import Picture, draw_pictures
from edge_dendrite.report.rows import build_report
from edge_dendrite.report.table import build_table
from full_study import make_full_study, make_history

HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "'; --x: red } * { }</style>", "{{ 7*7 }}"]
MATH = "$\\frac{1}{0}$ \u4f60\u597d \U0001f9e0 \x00\x1b[31m\ud800"


class Page(HTMLParser):
    """Tags with their attributes, and the visible text."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def page(study, history):
    return render_html(build_report(study, title="Digits", history=history, provenance={"seed": "0"}))


def test_the_verdict_comes_before_the_table_and_the_table_before_the_pictures(page):
    places = [page.index(f'id="{name}"') for name in ("verdict", "networks", "pictures", "method", "state")]
    assert places == sorted(places)
    assert page.index("It is not better than the same shape trained from scratch") < places[0]


def test_a_row_per_network_with_exact_values_in_tooltips(page, study):
    report = build_report(study, title="t")
    parsed = Page(page)
    # The networks, and the runs.
    assert len([tag for tag, attributes in parsed.tags if tag == "th" and attributes.get("scope") == "row"]) == 4 + 16
    titles = {attributes.get("title") for _, attributes in parsed.tags}
    assert "56,624 bytes" in titles
    assert f"bundle {report.rows[0].id}" in titles


def test_precision_is_named_where_networks_differ_in_it(study):
    assert "fp32" not in Page(render_html(build_report(study, title="t"))).text
    for run in study:
        if run["bundle"]["role"] == "compressed":
            run["bundle"]["model"]["precision"] = "int8"
    text = Page(render_html(build_report(study, title="t"))).text
    assert "compressed, int8" in text
    assert "baseline, fp32" in text


def test_missing_figures_are_dashes_with_footnotes_and_never_zero(study):
    study = study[:4]
    study[1]["invalid"] = ["throttled"]
    report = build_report(study, title="t")
    table = build_table(report)
    dashes = [cell for row in table.rows for cell in row if cell.note]
    assert {cell.text for cell in dashes} == {"-"}
    assert not any(re.fullmatch(r"0(\.0*)?( \w+)?", cell.text) for row in table.rows for cell in row)
    assert table.notes[1] == "no valid run: see the runs left out"
    parsed = Page(render_html(report))
    links = {attributes["href"] for tag, attributes in parsed.tags if tag == "a"}
    ids = {f"#{attributes['id']}" for _, attributes in parsed.tags if "id" in attributes}
    assert {link for link in links if "note" in link} == {"#note-1", "#note-2"}
    assert links <= ids


def test_left_out_runs_warnings_and_fixes_are_shown(study):
    study[3]["status"] = "partial"
    parsed = Page(render_html(build_report(study, title="t")))
    assert "interrupted before it was complete" in parsed.text
    assert "Fix: use a board with a sensor" in parsed.text
    assert "Fix: end them" in parsed.text


def test_nothing_is_loaded_and_only_our_script_runs(page):
    parsed = Page(page)
    assert not {tag for tag, _ in parsed.tags} & {"img", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in parsed.tags:
        assert not any(key.startswith("on") for key in attributes)
        assert "src" not in attributes
        if "href" in attributes:
            assert attributes["href"].startswith("#") or (tag, attributes["href"]) == ("link", "data:,")
    assert set(re.findall(r"url\((.)", page)) <= {"#"}
    assert "@import" not in page
    (policy,) = (a["content"] for _, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    ((attributes, script),) = re.findall(r"<script([^>]*)>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        f"script-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    assert attributes == ""


def test_the_script_makes_no_code_and_no_markup_of_texts(page):
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    for word in ("eval", "Function(", "innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "import"):
        assert word not in script
    assert not re.search(r"fetch|XMLHttp|localStorage|cookie|https?:", script)
    assert "<!--" not in script
    assert len(script) < 12_000


def test_headings_go_down_one_level_at_a_time(page):
    levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", page)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


def test_every_picture_has_a_name_and_a_description(page, study, history):
    num_pictures = len(draw_pictures(build_report(study, title="Digits", history=history)))
    parsed = Page(page)
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    pictures = [attributes for tag, attributes in parsed.tags if tag == "svg"]
    assert len(pictures) == num_pictures >= 5
    for attributes in pictures:
        assert attributes["role"] in ("img", "group")
        assert attributes["aria-label"]
        assert attributes["aria-describedby"] in ids
    assert page.count("<figcaption id=") == num_pictures


def test_headers_of_tables_say_what_they_head(page):
    parsed = Page(page)
    assert {attributes.get("scope") for tag, attributes in parsed.tags if tag == "th"} == {"row", "col"}
    assert page.count("<caption>") == page.count("<table") == 2


@pytest.mark.parametrize("hostile", [*HOSTILE, MATH])
def test_foreign_text_stays_text(study, history, hostile):
    clean = Page(render_html(build_report(study, title="t", history=history, provenance={"k": "v"})))
    for run in study:
        run["bundle"]["name"] += hostile
        run["bundle"]["stats"]["layers"][0]["name"] = hostile
        run["bundle"]["stats"]["not_counted"] = hostile
        run["bundle"]["accuracy"].update(split=hostile, runtime=hostile)
        run["board"].update(model=hostile, cpu=hostile)
        run["backend"].update(name=hostile, version=hostile, providers=[hostile])
        run["state_before"].update(power_mode=hostile, governors={"cpu0": hostile}, online_cpus=hostile)
        run["warnings"] = [{"code": hostile, "message": hostile, "fix": hostile}]
        run["unavailable"] = [{"what": hostile, "reason": hostile, "fix": hostile}]
    study[1]["invalid"] = [hostile]
    for epoch in history:
        epoch["stage"] += hostile
    report = build_report(study, title=hostile, history=history, provenance={hostile: hostile})
    page = render_html(report)
    page.encode("utf-8")
    parsed = Page(page)
    assert {tag for tag, _ in parsed.tags} == {tag for tag, _ in clean.tags}
    assert {key for _, attributes in parsed.tags for key in attributes} == {k for _, a in clean.tags for k in a}
    assert hostile not in HOSTILE or hostile in parsed.text
    render_markdown(report).encode("utf-8")


@pytest.mark.parametrize("hostile", HOSTILE[:2])
def test_foreign_roles_stay_text(study, hostile):
    for run in study:
        run["bundle"]["role"] += hostile
    parsed = Page(render_html(build_report(study, title="t")))
    assert [tag for tag, _ in parsed.tags if tag in ("script", "img")] == ["script"]
    assert hostile in parsed.text


def test_the_same_input_gives_the_same_bytes(study, history):
    pages = [render_html(build_report(copy.deepcopy(study), title="t", history=history)) for _ in range(2)]
    assert pages[0] == pages[1]
    assert pages[0] == render_html(build_report(study[::-1], title="t", history=history))


def test_four_networks_in_five_runs_of_100_000_samples_stay_under_two_megabytes():
    study = make_full_study(5, 100_000)
    assert sum(len(run["latency"]["samples_s"]) for run in study) == 2_000_000
    report = build_report(study, title="t", history=make_history())
    assert report.rows[0].latency is not None
    assert report.rows[0].latency.num_samples == 500_000
    assert len(render_html(report).encode()) < 2_000_000


def test_pictures_that_a_page_cannot_hold_are_left_out_and_counted(study):
    drawn = [Picture("Latency", f"{index}", "c", "<svg>" + "x" * 400_000 + "</svg>") for index in range(5)]
    small = Picture("Power and heat", "small", "c", "<svg></svg>")
    fitting = fit_pictures([*drawn, small])
    assert [picture.title for picture in fitting] == ["0", "1", "small"]


def test_pictures_stand_in_pairs_and_groups_in_their_order():
    half, wide = (Picture("Latency", "h", "c", "<svg></svg>", wide=one) for one in (False, True))
    assert [one.place for one in place_pictures([half, half, half, wide, half])] == ["", "", "alone", "wide", "alone"]
    other = [Picture(name, "p", "c", "<svg></svg>") for name in ("Of somebody else", "Training", "Latency")]
    groups = group_pictures(other)
    assert [group.name for group in groups] == ["Latency", "Training", "Of somebody else"]
    assert groups[2].anchor == "pictures-of-somebody-else"


def test_many_networks_with_long_texts_stay_under_two_megabytes(bundle, measurement):
    runs = []
    for number in range(300):
        role = ("baseline", "compressed", "control:from-scratch", "other")[number % 4]
        made = bundle(f"{number} " + "<&>" * 5000, role, (16, 32, 64, 10), 300)
        run = measurement(made, minute=number % 60, num=400)
        run["invalid"] = ["&" * 100_000] if number % 7 == 0 else []
        run["warnings"] = [{"code": "x", "message": f"{number}" + "<" * 9000, "fix": "&" * 9000}]
        runs.append(run)
    history = [
        {"stage": f"s{stage}", "epoch": epoch, "train_loss": 1.0, "val_metric": 0.5}
        for stage in range(20)
        for epoch in range(1, 400)
    ]
    provenance = {f"{number}{'&' * 1000}": "<" * 5000 for number in range(300)}
    page = render_html(build_report(runs, title="<" * 10_000, history=history, provenance=provenance))
    assert len(page.encode()) < 2_000_000


def test_a_page_without_any_valid_run_is_still_a_page(study):
    for run in study:
        run["status"] = "partial"
    parsed = Page(render_html(build_report(study, title="t")))
    assert "No run was valid" in parsed.text
