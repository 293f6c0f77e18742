"""Latency rows: what is timed against what, and when nothing may be written."""

from __future__ import annotations

import os

import numpy as np
import onnx
import pytest

from edge_dendrite.export.onnx import is_deciding
from edge_dendrite.progress import silent
from scripts.benchmarks import latency as latency_module
from scripts.benchmarks.job import Case
from scripts.benchmarks.latency import OtherLoad, Protocol, measure_missing, time_rounds
from scripts.benchmarks.rows import latency_s, read_rows

QUICK = Protocol(num_rounds=7, num_calls=5, num_warmup_calls=1, max_other_load=1.0, num_inputs=5)


def measure(kept, protocol=QUICK, seed=0):
    return measure_missing(kept.study, seed, kept.data, kept.rows, kept.work, protocol, silent)


def test_a_row_for_each_network_with_its_ratio_to_the_dense_one(kept):
    rows = {one["arm"]: one for one in measure(kept)}
    assert list(rows) == ["dense", "edge-dendrite"]
    assert rows["dense"]["ratio_to_dense"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    ours = rows["edge-dendrite"]
    ratios = sorted(
        one / other for one, other in zip(ours["round_medians_s"], ours["dense_round_medians_s"], strict=True)
    )
    assert len(ratios) == 7
    assert ours["ratio_to_dense"] == {"value": ratios[3], "low": ratios[0], "high": ratios[6]}
    assert ours["ratio_to_dense"]["value"] < 1
    assert ours["num_calls"] == 5 and 0 <= ours["other_load"] <= 1
    assert (ours["statistic"], ours["inputs"], ours["num_inputs"]) == ("median", "validation", 5)
    assert ours["median_s"] == latency_s(ours) == sorted(ours["round_medians_s"])[3]
    assert ours["floor_round_medians_s"] == rows["dense"]["floor_round_medians_s"]
    assert len(ours["floor_round_medians_s"]) == 7
    assert ours["floor_round_medians_s"] not in (ours["round_medians_s"], ours["dense_round_medians_s"])
    assert len(read_rows(kept.rows)) == 4


def test_what_is_measured_is_not_measured_again(kept, make_network):
    measure(kept)
    before = kept.rows.read_bytes()
    assert measure(kept) == []
    assert measure(kept, seed=1) == []
    assert kept.rows.read_bytes() == before
    kept.add(Case("from-scratch", 0.6, 0), make_network(3))
    assert [one["arm"] for one in measure(kept)] == ["from-scratch"]


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_on_a_busy_machine_nothing_is_written(kept, monkeypatch, when):
    shares = iter([0.5] if when == "before" else [0.0, 0.5])
    monkeypatch.setattr(OtherLoad, "share", lambda self: next(shares))
    before = kept.rows.read_bytes()
    with pytest.raises(ValueError, match="other programs take 50 % of all processor time"):
        measure(kept, Protocol(num_rounds=6, num_calls=2, num_warmup_calls=1))
    assert kept.rows.read_bytes() == before


def test_the_load_of_others_is_what_this_process_did_not_use(monkeypatch):
    seconds = iter([100.0, 100.0 + 3.0 * (os.cpu_count() or 1)])
    monkeypatch.setattr(latency_module, "busy_seconds", lambda: next(seconds))
    monkeypatch.setattr(latency_module.time, "process_time", iter([1.0, 2.0]).__next__)
    monkeypatch.setattr(latency_module.time, "perf_counter", iter([10.0, 20.0]).__next__)
    cpus = os.cpu_count() or 1
    assert OtherLoad().share() == pytest.approx((3.0 * cpus - 1.0) / (10.0 * cpus))


def test_a_missing_network_is_named(kept):
    kept.path(Case("edge-dendrite", 0.6, 0)).unlink()
    with pytest.raises(ValueError, match=r"edge-dendrite-0\.6\.onnx: is not there; remove its row"):
        measure(kept)


def test_networks_of_other_data_are_refused(kept, make_network):
    kept.add(Case("from-scratch", 0.6, 0), make_network(3), data_sha256="0" * 64)
    before = kept.rows.read_bytes()
    with pytest.raises(ValueError, match="from-scratch of seed 0 was trained on other data"):
        measure(kept)
    assert kept.rows.read_bytes() == before


class Clock:
    """Time that passes only where a network runs, as its input says: what was timed is then known exactly."""

    def __init__(self, monkeypatch):
        self.now, self.seen = 0.0, []
        monkeypatch.setattr(latency_module.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(latency_module.time, "sleep", lambda seconds: None)
        monkeypatch.setattr(OtherLoad, "share", lambda self: 0.0)
        monkeypatch.setattr(latency_module, "open_session", lambda content: self)

    def get_inputs(self):
        return [onnx.ValueInfoProto(name="input")]

    def run(self, outputs, feed):
        self.seen.append(feed["input"])
        self.now += float(feed["input"].max())


def test_every_input_comes_equally_often_and_in_its_turn(monkeypatch):
    clock = Clock(monkeypatch)
    inputs = np.array([[1.0], [2.0], [9.0]], np.float32)
    case = Case("dense", None, 0)
    rounds = time_rounds({case: b""}, inputs, Protocol(num_rounds=2, num_calls=4, num_warmup_calls=4), silent)[case]
    # The clock itself rounds: floats add up to almost these.
    assert rounds == {"median": pytest.approx([2.0] * 2), "mean": pytest.approx([4.0] * 2)}
    assert [one.shape for one in clock.seen] == [(1, 1)] * 20
    assert [one.item() for one in clock.seen[:10]] == [1, 2, 9, 1, 1, 2, 9, 1, 2, 9]


def gated() -> bytes:
    """An ONNX file with one `If`."""
    tensor = onnx.helper.make_tensor_value_info
    ways = {
        name: onnx.helper.make_graph(
            [onnx.helper.make_node(operator, ["input"], [name])], name, [], [tensor(name, 1, [1, 1, 16, 16])]
        )
        for name, operator in (("then_branch", "Identity"), ("else_branch", "Neg"))
    }
    nodes = [
        onnx.helper.make_node("Constant", [], ["go"], value=onnx.helper.make_tensor("go", 9, [], [True])),
        onnx.helper.make_node("If", ["go"], ["output"], **ways),
    ]
    ends = [tensor(name, 1, [1, 1, 16, 16]) for name in ("input", "output")]
    graph = onnx.helper.make_graph(nodes, "gated", ends[:1], ends[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]).SerializeToString()


def test_a_gated_network_has_means_and_a_ratio_of_means(kept, monkeypatch, make_network):
    kept.add(Case("dendritic", 0.6, 0), gated())
    assert is_deciding(gated()) and not is_deciding(make_network(3))
    clock = Clock(monkeypatch)
    rows = {one["arm"]: one for one in measure(kept)}
    images = kept.data.prepare(kept.data.validation.inputs[:5]).numpy()
    assert all(any(np.array_equal(one[0], image) for image in images) for one in clock.seen)
    row = rows["dendritic"]
    mean = np.mean([image.max() for image in images])
    assert row["statistic"] == "mean" and "median_s" not in row and "round_medians_s" not in row
    assert latency_s(row) == row["mean_s"] == pytest.approx(mean, rel=1e-4)
    assert row["round_means_s"] == row["dense_round_means_s"] == pytest.approx([mean] * 7, rel=1e-4)
    assert row["ratio_to_dense"]["value"] == pytest.approx(1.0)
    median = np.median([image.max() for image in images])
    assert latency_s(rows["dense"]) == pytest.approx(median, rel=1e-4)


def test_a_row_of_before_has_a_median():
    assert latency_s({"median_s": 0.5}) == 0.5
