"""Accuracy against size and latency: which points are on the front, how they look, and what they say."""

from __future__ import annotations

import itertools
import random
import re
import xml.etree.ElementTree as ElementTree

import pytest

from edge_dendrite.report.charts.accuracy import accuracy_against_latency, accuracy_against_size, find_points
from edge_dendrite.report.charts.draw import marks_for
from edge_dendrite.report.pictures import draw_pictures
from edge_dendrite.report.rows import build_report

HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "]]>", "$\\frac{1}{0}$ \x00\u202e\ud800"]


@pytest.fixture
def rows(bundle, measurement):
    """Rows of (role, parameters, correct of 1000, median in microseconds)."""

    def make(*networks):
        runs = []
        for number, (role, size, correct, median_us) in enumerate(networks):
            made = bundle(f"net{number}", role, (4, 4, 4, 10), correct, 1000)
            made["stats"]["num_parameters"] = size
            runs.append(measurement(made, median_us * 1e-6, number % 60, num=70))
        return build_report(runs, title="t").rows

    return make


def front(rows):
    points = find_points(rows, lambda row: row.num_parameters)
    return {point.row.name for point in points if not point.beaten_by}


def tips(svg):
    return [one.get("data-tip") for one in ElementTree.fromstring(svg).iter() if one.get("data-tip")]


def test_the_front_by_hand(rows):
    found = rows(
        ("baseline", 1000, 980, 20), ("compressed", 300, 970, 9), ("peer:X", 500, 960, 8), ("other", 200, 940, 9)
    )
    # The peer is larger and worse than the compressed one; nothing is smaller than the last.
    assert front(found) == {"net0", "net1", "net3"}


def test_equals_do_not_beat_each_other_but_ties_in_one_do(rows):
    found = rows(
        ("baseline", 500, 970, 9), ("compressed", 500, 970, 9), ("other", 500, 960, 9), ("peer:X", 600, 970, 9)
    )
    assert front(found) == {"net0", "net1"}


def test_the_front_is_what_a_search_over_all_pairs_finds(rows):
    rng = random.Random(3)
    networks = [("compressed", rng.randrange(1, 30) * 100, rng.randrange(900, 930), 9) for _ in range(60)]
    found = rows(*networks)
    sizes = {row.name: (row.num_parameters, -row.accuracy.value) for row in found}
    beaten = {
        a
        for a, b in itertools.permutations(sizes, 2)
        if sizes[b] != sizes[a] and all(x <= y for x, y in zip(sizes[b], sizes[a], strict=True))
    }
    assert front(found) == sizes.keys() - beaten


def test_dominated_points_are_hollow_and_say_by_whom(rows):
    svg = accuracy_against_size(rows(("baseline", 1000, 980, 20), ("compressed", 1200, 970, 9)))
    texts = tips(svg)
    assert (
        texts[0] == "net0 (baseline): 98.00\u00a0% (95\u00a0%: 96.93 to 98.70\u00a0%), 1,000 parameters; on the front"
    )
    assert texts[1].endswith("dominated by net0")
    markers = re.findall(r'data-tip="net(\d).*?fill: (var\(--\w+)', svg, re.DOTALL)
    assert markers == [("0", "var(--s0"), ("1", "var(--surface")]


def test_latency_has_a_picture_of_its_own_with_its_state(study):
    report = build_report(study, title="t")
    (picture,) = [one for one in draw_pictures(report) if one.title == "Accuracy against latency"]
    assert "Testboard 1" in picture.caption
    assert any("14" in text and "us" not in text for text in tips(picture.svg))
    for run in study:
        run["invalid"] = ["throttled"]
    assert accuracy_against_latency(build_report(study, title="t").rows) is None


def test_peers_have_markers_that_no_control_has(rows):
    roles = [
        "baseline",
        "compressed",
        "control:dense-longer",
        "control:from-scratch",
        "control:a",
        "control:b",
        "other",
    ]
    found = rows(*((role, 100 * n + 100, 900, 9) for n, role in enumerate([*roles, "peer:X", "peer:Y"])))
    marks = marks_for(found)
    peers = {marks[row.id].marker for row in found if row.role.startswith("peer:")}
    assert len(peers) == 2
    assert not peers & {marks[row.id].marker for row in found if not row.role.startswith("peer:")}


def test_one_row_and_a_hundred(rows):
    assert accuracy_against_size(rows(("baseline", 10, 900, 9))) is not None
    many = accuracy_against_size(rows(*(("compressed", 100 + n, 800 + n, 9) for n in range(100))))
    assert len(tips(many)) == 100
    assert len(many) < 200_000


def test_nothing_known_is_no_picture(rows):
    found = rows(("baseline", 0, 900, 9))
    assert accuracy_against_size(found) is None
    assert accuracy_against_size(()) is None


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_stay_text(study, hostile):
    for run in study:
        run["bundle"]["name"] += hostile
        run["bundle"]["role"] = "peer:" + hostile
    svg = accuracy_against_size(build_report(study, title="t").rows)
    assert {one.tag.rpartition("}")[2] for one in ElementTree.fromstring(svg).iter()} <= {
        *("svg", "title", "g", "path", "defs", "use", "text", "tspan", "clipPath", "rect")
    }
