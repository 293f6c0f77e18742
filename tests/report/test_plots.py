"""The pictures: what they show, that they follow the page's colours, and that two never share an id."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import pytest

from edge_dendrite.report import pictures
from edge_dendrite.report.charts import network_levels
from edge_dendrite.report.charts import svg as svg_module
from edge_dendrite.report.charts.accuracy import accuracy_against_size
from edge_dendrite.report.charts.draw import canvas, log_ticks, marks_for
from edge_dendrite.report.charts.labels import Box, place_labels
from edge_dendrite.report.charts.latency import ecdf_limits, latency_ecdf
from edge_dendrite.report.charts.network_picture import network_picture
from edge_dendrite.report.charts.relative import relative_sizes
from edge_dendrite.report.charts.training import thin
from edge_dendrite.report.pictures import draw_pictures
from edge_dendrite.report.rows import build_report

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def report(study, history):
    return build_report(study, title="t", history=history)


def texts_of(svg):
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_all_pictures_are_drawn_and_well_formed(report):
    pictures = draw_pictures(report)
    assert [picture.title for picture in pictures] == [
        "Before and after",
        "Accuracy against size",
        "Accuracy against latency",
        "Relative to the baseline",
        "Latency distribution",
        "Where latencies lie",
        "Latency over time",
        "Training",
    ]
    for picture in pictures:
        root = ElementTree.fromstring(picture.svg)
        assert root.tag == f"{SVG}svg"
        has_tips = root.find(".//*[@data-tip]") is not None
        assert root.get("role") == ("group" if has_tips else "img")
        assert root.get("aria-label") == root.findtext(f"{SVG}title") != ""


def test_colours_follow_the_page(report):
    for picture in draw_pictures(report):
        assert "#0101" not in picture.svg
        assert "var(--ink, " in picture.svg or "var(--muted, " in picture.svg
        # Nothing is drawn in matplotlib's own black and white, which would vanish on one of the two backgrounds.
        assert not re.search(r"(fill|stroke): (#000000|#ffffff|black|white)", picture.svg)


def test_ids_are_unique_over_all_pictures_and_all_references_resolve(report):
    together = "".join(picture.svg for picture in draw_pictures(report))
    ids = re.findall(r'\bid="([^"]+)"', together)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r"url\(#([^)]+)\)", together)) | set(re.findall(r'href="#([^"]+)"', together)) == set(ids)


def test_colours_outside_of_a_page_are_those_of_the_page_in_light(report):
    css = (Path(pictures.__file__).parent / "templates" / "report.css").read_text("utf-8")
    light = dict(re.findall(r"--([a-z0-9]+): (#[0-9a-f]{6})", css.partition("@media")[0]))
    for name, colour in set(re.findall(r"var\(--([a-z0-9]+), (#[0-9a-f]{6})\)", str(svg_module._VARIABLES))):
        assert light[name] == colour


def test_pictures_hold_no_style_element_and_nothing_from_elsewhere(report):
    for picture in draw_pictures(report):
        assert "<style" not in picture.svg
        assert "<metadata" not in picture.svg
        assert "xlink" not in picture.svg
        assert set(re.findall(r'"(https?://[^"]+)"', picture.svg)) == {"http://www.w3.org/2000/svg"}


def test_drawing_leaves_the_settings_of_matplotlib_alone(report):
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw_pictures(report)
    assert dict(matplotlib.rcParams) == before


def test_accuracy_names_every_network(report):
    svg = accuracy_against_size(report.rows)
    assert svg is not None
    assert {row.name for row in report.rows} <= set(texts_of(svg))


def test_bars_say_where_latency_shows_no_difference(report):
    svg = relative_sizes(report.rows)
    assert svg is not None
    assert any("no difference shown" in text for text in texts_of(svg))
    assert "19.9\u00a0%" in texts_of(svg)


def test_missing_data_leave_a_picture_out(study):
    compressed_only = [run for run in study if run["bundle"]["role"] == "compressed"]
    for run in compressed_only:
        run["bundle"].pop("accuracy")
        run["status"] = "failed"
    assert draw_pictures(build_report(compressed_only, title="t")) == ()


def test_one_outlier_does_not_squeeze_the_latencies(bundle, measurement):
    run = measurement(bundle("a", "baseline", (4, 4, 4, 10), 9, 10), 20e-6, num=2000)
    run["latency"]["samples_s"][7] = 0.5
    report = build_report([run], title="t")
    _, high = ecdf_limits(report.rows)
    assert high < 60e-6
    (caption,) = [picture.caption for picture in draw_pictures(report) if picture.title == "Latency distribution"]
    assert "the slowest samples lie beyond it" in caption
    svg = latency_ecdf(report.rows)
    assert svg is not None
    assert any("max 500\u00a0ms" in text for text in texts_of(svg))


def test_long_histories_are_thinned_to_their_last_epoch():
    epochs = build_history(2000)
    kept = thin(epochs)
    assert len(kept) <= 301
    assert kept[-1] is epochs[-1]


def build_history(num):
    from edge_dendrite.report.rows import Epoch

    return [Epoch("baseline", number, 1.0 / number, 0.9) for number in range(1, num + 1)]


@pytest.mark.parametrize(
    ("low", "high"), [(1700, 22_000), (12e-6, 33e-6), (1e-6, 1e2), (13_000, 15_600), (1.0, 1e12), (2.0, 2.4)]
)
def test_log_ticks_are_few_and_inside(low, high):
    ticks = log_ticks(low, high)
    assert 3 <= len(ticks) <= 6
    assert low <= ticks[0] < ticks[-1] <= high


def test_marks_of_one_role_share_the_colour_and_differ_otherwise(study, bundle, measurement):
    more = measurement(bundle("second", "compressed", (5, 5, 5, 10), 340), minute=40)
    rows = build_report([*study, more], title="t").rows
    marks = marks_for(rows)
    first, second = (marks[row.id] for row in rows if row.role == "compressed")
    assert first.colour == second.colour
    assert first.marker != second.marker
    assert first.dash != second.dash
    assert len({marks[row.id].colour for row in rows}) == 4


def test_labels_cover_neither_points_nor_each_other():
    points = [(100.0, 100.0), (104.0, 104.0), (300.0, 96.0), (306.0, 100.0)]
    obstacles = [Box(x - 7, y - 7, x + 7, y + 7) for x, y in points]
    boxes = place_labels(points, ["a network", "another one", "a third", "the last"], obstacles, Box(0, 0, 400, 200))
    for index, box in enumerate(boxes):
        assert all(box.overlap(other) == 0 for other in [*obstacles, *boxes[index + 1 :]])
        assert box.left >= 0
        assert box.right <= 400


class TestNetworkPicture:
    def test_lines_stand_for_the_same_number_of_parameters_on_both_sides(self, report):
        value = network_levels.line_value(network_levels.find_levels(report.rows[0].layers, report.rows[1].layers))
        assert value == 20
        assert sum(layer.num_parameters for layer in report.rows[0].layers) / value < 900

    def test_says_units_and_parameters_before_and_after(self, report):
        svg = network_picture(report.rows[0], report.rows[1])
        assert svg is not None
        found = texts_of(svg)
        assert "64 \u2192 22 units" in found
        assert "8,256 \u2192 1,254 params" in found
        assert "10 units" in found
        assert "2,722 parameters (\u221280.1\u00a0%)" in found

    @pytest.mark.parametrize("num_units", [1, 3, 100_000, 1 << 40])
    def test_sizes_of_any_order_stay_a_small_picture(self, study, num_units):
        layer = {"name": "x", "kind": "linear", "num_inputs": 1, "num_units": 1, "num_parameters": 1, "num_macs": 1}
        study[0]["bundle"]["stats"]["layers"] = [layer, {**layer, "name": "y"}]
        wide = {**layer, "num_units": num_units, "num_parameters": num_units, "num_inputs": num_units}
        study[1]["bundle"]["stats"]["layers"] = [wide, {**layer, "name": "y"}]
        rows = build_report(study[:2], title="t").rows
        svg = network_picture(rows[0], rows[1])
        assert svg is not None
        assert len(svg) < 400_000


def test_an_artist_carries_its_tooltip_into_the_page():
    with matplotlib.rc_context(svg_module.style()):
        figure = svg_module.new_figure(100, 100)
        page = canvas(figure, 100, 100)
        (line,) = page.plot([0, 50], [0, 50])
        line.set_gid(svg_module.tip('a <b> & "c"'))
        svg = svg_module.to_svg(figure, prefix="p", title="t")
    marked = [element for element in ElementTree.fromstring(svg).iter() if element.get("data-tip")]
    assert [element.get("data-tip") for element in marked] == ['a <b> & "c"']
    # Where no script shows it, the browser does; and it is not hidden from who hears the page.
    assert [(element.get("role"), element[0].text) for element in marked] == [("img", 'a <b> & "c"')]
    assert ElementTree.fromstring(svg).get("role") == "group"
    assert all(element.get("id") is None for element in marked)
