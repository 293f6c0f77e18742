"""The chart of layers: which bars it has, in which order, and what its caption admits."""

from __future__ import annotations

import copy
import re
import xml.etree.ElementTree as ElementTree

import pytest

from edge_bench.schema import measurement_problem
from edge_dendrite.report import captions
from edge_dendrite.report.charts.layer_time import MAX_LAYERS, layer_times
from edge_dendrite.report.html import render_html
from edge_dendrite.report.pictures import LATENCY, draw_pictures
from edge_dendrite.report.rows import build_report

SVG = "{http://www.w3.org/2000/svg}"


def entry(name, time_s, nodes=(), kind="Conv"):
    return {"name": name, "kind": kind, "provider": "P", "nodes": list(nodes), "time_s": time_s, "share": None}


def profile(entries, compared_s=1e-3, **changes):
    sum_s = sum(one["time_s"] or 0.0 for one in entries)
    record = {
        "source": "onnxruntime",
        "note": "profiled",
        "num_inferences": 200,
        "sum_s": sum_s,
        "compared_with": "median latency",
        "compared_s": compared_s,
        "unattributed_share": 1 - sum_s / compared_s,
        "latency_ratio_while_profiling": 1.5,
        "resolution_s": 1e-6,
        "num_left_out": 0,
        "entries": list(entries),
    }
    return {**record, **changes}


def study_of(study, baseline, compressed=None):
    """The four networks of the study; the layers of these two were profiled in each run."""
    runs = copy.deepcopy(study)
    for run in runs:
        layers = {"baseline": baseline, "compressed": compressed}.get(run["bundle"]["role"])
        if layers is not None:
            run["layers"] = layers
            assert measurement_problem(run) == ""
    return build_report(runs, title="t")


DENSE = profile(
    [
        entry("relu_nchwc", 200e-6, ["/conv1/Conv", "/Relu"]),
        entry("relu_1_nchwc", 500e-6, ["/conv2/Conv", "/Relu_1"]),
        entry("ReorderOutput", 20e-6, kind="ReorderOutput"),
        entry("fused /fc1/Gemm", 80e-6, ["/fc1/Gemm"], "FusedGemm"),
        entry("Flatten_2", None, ["/Flatten"], "Flatten"),
    ]
)
SMALL = profile(
    [entry("relu_nchwc", 110e-6, ["/conv1/Conv", "/Relu"]), entry("relu_1_nchwc", 130e-6, ["/conv2/Conv", "/Relu_1"])],
    0.2e-3,
)


def texts_of(svg):
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def tips_of(svg):
    return [element.get("data-tip") for element in ElementTree.fromstring(svg).iter() if element.get("data-tip")]


def test_the_slowest_layer_comes_first_with_the_networks_beside_each_other(study):
    report = study_of(study, DENSE, SMALL)
    tips = [tip.replace("\N{NO-BREAK SPACE}", " ") for tip in tips_of(layer_times(report.rows))]
    assert [tip.split(":")[0] for tip in tips] == [
        "conv2 (Conv), digits-dense",
        "conv2 (Conv), digits-pruned",
        "conv1 (Conv), digits-dense",
        "conv1 (Conv), digits-pruned",
        "fc1 (FusedGemm), digits-dense",
        "ReorderOutput (ReorderOutput), digits-dense",
    ]
    assert tips[0].endswith("500 \N{MICRO SIGN}s, 62.5 % of its layers; /conv2/Conv + /Relu_1")
    assert {"conv1", "conv2", "fc1", "ReorderOutput", "500\N{NO-BREAK SPACE}\N{MICRO SIGN}s"} <= set(
        texts_of(layer_times(report.rows))
    )


def test_bars_are_to_one_scale(study):
    svg = ElementTree.fromstring(layer_times(study_of(study, DENSE, SMALL).rows))
    widths = []
    for element in svg.iter():
        if element.get("data-tip"):
            (path,) = [element] if element.tag.endswith("path") else list(element.iter(f"{SVG}path"))
            numbers = [float(number) for number in re.findall(r"-?[\d.]+", path.get("d"))]
            widths.append(max(numbers[::2]) - min(numbers[::2]))
    assert [width / widths[0] for width in widths[:4]] == pytest.approx([1, 130 / 500, 200 / 500, 110 / 500], rel=0.01)


def test_the_many_fast_ones_are_drawn_together(study):
    entries = [entry(f"node{number}", (101 - number) * 2e-6) for number in range(50)]
    svg = layer_times(study_of(study, profile(entries)).rows)
    tips = tips_of(svg)
    assert len(tips) == MAX_LAYERS + 1 and tips[0].startswith("node0 ")
    total, others = sum(range(52, 102)), sum(range(52, 82))  # of two microseconds
    assert f"30 other layers, 3.99\N{NO-BREAK SPACE}ms, {100 * others / total:.1f}" in tips[-1]
    assert "30 others" in texts_of(svg)


def test_the_caption_says_that_it_was_profiled_and_what_is_in_no_layer(study):
    report = study_of(study, DENSE, SMALL)
    text = captions.layers(report)
    assert "Profiled by onnxruntime" in text and "1.5 times as long" in text
    assert "digits-dense: 20.0 % of a run's median latency (1.00 ms) is in no layer." in text
    assert "digits-pruned: the layers take 20.0 % more than a run's median latency (200 us)" in text
    assert "each part looks longer than it is, by 20 us or more on average" in text
    assert "Not drawn: 1 part too short for the profiler's clock." in text
    assert "Testboard 1" in text and "steps by" not in text


def test_a_coarse_clock_is_admitted(study):
    report = study_of(study, profile([entry("a", 4e-6), entry("b", 3e-6)], 10e-6))
    text = captions.layers(report)
    assert "The profiler's clock steps by 1 us: a difference of a step says nothing." in text


def test_no_chart_where_nothing_was_profiled(study):
    report = study_of(study, None)
    assert layer_times(report.rows) is None
    assert "Time per layer" not in [picture.title for picture in draw_pictures(report)]
    assert layer_times(study_of(study, profile([])).rows) is None
    assert layer_times(study_of(study, profile([entry("a", None)])).rows) is None


def test_the_picture_is_in_the_group_of_latency(study):
    (picture,) = [one for one in draw_pictures(study_of(study, DENSE, SMALL)) if one.title == "Time per layer"]
    assert picture.group == LATENCY and not picture.wide


def test_hostile_names_stay_texts(study):
    names = ["<script>alert(1)</script>", '"onload="x', "$x^2$", "&lt;", "\u65e5\u672c" * 200, "url(#x)"]
    report = study_of(study, profile([entry(name, 1e-4, kind=name) for name in names]))
    page = render_html(report)
    assert "<script>alert" not in page
    assert not [one for one in ElementTree.fromstring(layer_times(report.rows)).iter() if "onload" in one.attrib]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_two_thousand_layers_make_a_small_chart(study):
    entries = [entry(f"/layer{number}/" + "x" * 250, 1e-6 * (number + 1)) for number in range(2000)]
    assert len(layer_times(study_of(study, profile(entries)).rows)) < 40_000
