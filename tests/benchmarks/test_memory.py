"""Memory rows: fresh processes, above the floor of one that does nothing."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest

from edge_dendrite.progress import silent
from scripts.benchmarks import memory as memory_module
from scripts.benchmarks.floor import identity_network
from scripts.benchmarks.job import Case
from scripts.benchmarks.memory import CHILD, MemoryProtocol, measure_memory, peak_bytes
from scripts.benchmarks.rows import read_rows

QUICK = MemoryProtocol(num_processes=3, num_calls=25)


def measure(kept, protocol=QUICK):
    return measure_memory(kept.study, 0, kept.data, kept.rows, kept.work, protocol, silent)


def test_a_network_needs_more_than_one_that_does_nothing(tmp_path, make_network):
    inputs = tmp_path / "inputs.npy"
    np.save(inputs, np.zeros((3, 1, 16, 16), np.float32))
    peaks = {}
    for name, content in (("identity", identity_network((1, 16, 16))), ("large", make_network(512))):
        (tmp_path / name).write_bytes(content)
        peaks[name] = peak_bytes(tmp_path / name, inputs, 600)
    # The weights alone are 12 MB.
    assert peaks["large"] - peaks["identity"] > 12e6


def test_what_a_network_needs_while_it_runs_counts(tmp_path):
    tensor = onnx.helper.make_tensor_value_info
    nodes = [
        onnx.helper.make_node("Constant", [], ["many"], value=onnx.helper.make_tensor("many", 7, [2], [1, 10_000_000])),
        onnx.helper.make_node("Tile", ["input", "many"], ["wide"]),
        onnx.helper.make_node("ReduceMax", ["wide"], ["output"], keepdims=1),
    ]
    graph = onnx.helper.make_graph(nodes, "wide", [tensor("input", 1, [1, 1])], [tensor("output", 1, [1, 1])])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "wide.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "identity.onnx").write_bytes(identity_network((1,)))
    np.save(tmp_path / "inputs.npy", np.zeros((2, 1), np.float32))
    wide, floor = (peak_bytes(tmp_path / f"{name}.onnx", tmp_path / "inputs.npy", 600) for name in ("wide", "identity"))
    # The file is small; what it makes of one input is 40 MB.
    assert wide - floor > 40e6 * 0.9


def test_the_process_imports_no_torch(tmp_path):
    (tmp_path / "network.onnx").write_bytes(identity_network((1, 4, 4)))
    np.save(tmp_path / "inputs.npy", np.zeros((1, 1, 4, 4), np.float32))
    program = (
        "import runpy, sys\n"
        f"sys.argv[1:] = [{str(tmp_path / 'network.onnx')!r}, {str(tmp_path / 'inputs.npy')!r}]\n"
        f"runpy.run_path({str(CHILD)!r}, run_name='__main__')\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    peak, modules = done.stdout.splitlines()
    assert int(peak) > 1e6
    assert {"numpy", "onnxruntime"} <= set(modules.split())
    assert not {"torch", "onnx", "scipy", "edge_dendrite", "edge_bench", "scripts"} & set(modules.split())


def test_a_row_is_made_of_medians_above_the_floor(kept, monkeypatch):
    peaks = {"dense": [900, 910, 905], "edge-dendrite-0.6": [640, 660, 900], "identity": [500, 505, 495]}
    left, order, shapes = {name: iter(values) for name, values in peaks.items()}, [], set()

    def peak(network, inputs, timeout_s):
        order.append(network.stem)
        shapes.add(np.load(inputs).shape)
        return next(left[network.stem])

    monkeypatch.setattr(memory_module, "peak_bytes", peak)
    rows = {row["arm"]: row for row in measure(kept)}
    assert list(rows) == ["dense", "edge-dendrite"]
    ours = rows["edge-dendrite"]
    assert (ours["peak_bytes"], ours["floor_bytes"], ours["above_floor_bytes"]) == (660, 500, 160)
    assert ours["dense_above_floor_bytes"] == rows["dense"]["above_floor_bytes"] == 405
    assert ours["ratio_to_dense"] == 160 / 405 and rows["dense"]["ratio_to_dense"] == 1.0
    assert ours["process_peaks_bytes"] == peaks["edge-dendrite-0.6"]
    # In turns: each once in every round. 20 validation images are repeated for 25 calls.
    assert [set(order[at : at + 3]) for at in (0, 3, 6)] == [set(peaks)] * 3
    assert shapes == {(25, 1, 16, 16)}


def test_without_anything_above_the_floor_there_is_no_ratio(kept, monkeypatch):
    monkeypatch.setattr(memory_module, "peak_bytes", lambda *rest: 500)
    assert [row["ratio_to_dense"] for row in measure(kept)] == [None, None]


def test_what_is_measured_is_not_measured_again(kept):
    assert len(measure(kept, MemoryProtocol(num_processes=1, num_calls=2))) == 2
    before = kept.rows.read_bytes()
    assert measure(kept) == []
    assert kept.rows.read_bytes() == before


def test_a_process_that_fails_is_told_in_few_words_and_nothing_is_written(kept):
    kept.path(Case("edge-dendrite", 0.6, 0)).write_bytes(b"no network")
    with pytest.raises(ValueError, match=r"edge-dendrite-0\.6\.onnx: its process failed \(1\): ") as caught:
        measure(kept)
    assert len(str(caught.value)) < 1000
    with pytest.raises(ValueError, match="was not done after 0.001 s"):
        measure(kept, MemoryProtocol(num_processes=1, timeout_s=0.001))
    assert all(row["kind"] == "trained" for row in read_rows(kept.rows))
