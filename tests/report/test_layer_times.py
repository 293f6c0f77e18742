"""Times of layers: pooled over runs, and counted to the layers of the model where names tell them."""

from __future__ import annotations

import copy

import pytest

from edge_dendrite.report.layer_times import module_of, pool_layer_times
from edge_dendrite.report.rows import build_report

LAYERS = ("conv1", "fc1", "layer1.0.conv1", "layer1.0.downsample.0", "block")


@pytest.mark.parametrize(
    "nodes, wanted",
    [
        (["/conv1/Conv"], "conv1"),
        (["/conv1/Conv", "/Relu"], "conv1"),
        (["/layer1/layer1.0/conv1/Conv"], "layer1.0.conv1"),
        (["/layer1/layer1.0/downsample/downsample.0/Conv"], "layer1.0.downsample.0"),
        (["/conv1/Conv", "/fc1/Gemm"], "conv1 + fc1"),  # two that a runtime made one
        (["/conv1/Conv", "/conv1/Add"], "conv1"),
        (["/conv2/Conv"], ""),
        (["/Relu"], ""),
        (["node_conv2d"], ""),  # as the newer exporter names them
        (["conv1"], ""),
        ([""], ""),
        (["/"], ""),
        ([], ""),
    ],
)
def test_the_layer_that_the_names_tell(nodes, wanted):
    assert module_of(nodes, LAYERS) == wanted


def entry(name, time_s, nodes=()):
    return {"name": name, "kind": "Conv", "nodes": list(nodes), "time_s": time_s}


def record(*entries, **changes):
    return {"entries": list(entries), "compared_s": 1e-3, "sum_s": 5e-4, "source": "s", "num_inferences": 10, **changes}


def pooled(*records):
    return pool_layer_times([(None, {"layers": one}) for one in records], ())


def test_the_median_over_the_runs():
    found = pooled(record(entry("a", 1e-4)), record(entry("a", 9e-4)), record(entry("a", 2e-4)))
    assert [(layer.name, layer.time_s) for layer in found.layers] == [("a", 2e-4)]
    assert found.num_runs == 3 and found.num_inferences == 30


def test_a_part_that_was_too_short_in_most_runs_has_no_time():
    found = pooled(record(entry("a", None), entry("b", 1e-4)), record(entry("a", None)), record(entry("a", 1e-6)))
    assert found.layers == () and found.num_short == 2


def test_parts_of_one_layer_are_added_up(study):
    runs = copy.deepcopy(study[:1])
    nodes = [entry("x", 1e-4, ["/fc1/MatMul"]), entry("y", 2e-5, ["/fc1/Add"]), entry("z", 3e-5, ["/Flatten"])]
    runs[0]["layers"] = record(*nodes)
    times = build_report(runs, title="t").rows[0].layer_times
    assert times is not None
    assert [(layer.name, round(1e6 * layer.time_s)) for layer in times.layers] == [("fc1", 120), ("Flatten", 30)]
    assert times.layers[0].parts == ("/fc1/MatMul", "/fc1/Add")


def test_runs_that_were_left_out_are_not_in_it(study):
    runs = copy.deepcopy(study[:1])
    runs[0]["layers"] = record(entry("a", 1e-4))
    runs[0]["invalid"] = ["throttled"]
    assert build_report(runs, title="t").rows[0].layer_times is None


def test_values_of_any_kind_are_no_failure(hostile=(None, True, -1, 1e308, 10**400, "x", [], {}, [[]], [1e400])):
    whole = record(entry("a", 1e-4))
    for value in hostile:
        for key in whole:
            pooled({**whole, key: value})
        for key in whole["entries"][0]:
            pooled({**whole, "entries": [{**whole["entries"][0], key: value}]})
        pooled({**whole, "entries": [value]})
        assert pool_layer_times([(None, {"layers": value})], ()) is None or isinstance(value, dict)


def test_the_least_that_profiling_added_to_a_part():
    assert pooled(record(entry("a", 1e-4), sum_s=1.5e-3), record(entry("a", 1e-4), sum_s=1.5e-3)).excess_s == 5e-4
    assert pooled(record(entry("a", 1e-4))).excess_s == 0.0
