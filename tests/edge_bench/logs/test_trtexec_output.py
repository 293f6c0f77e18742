"""What trtexec writes. The JSON is written here by hand after sampleReporting.cpp of NVIDIA/TensorRT; the texts have
the figures of logs that people published, one of a Nano with JetPack 4.6 and one of a newer release."""

import json
import math

import pytest

from edge_bench.errors import EdgeBenchError
from edge_bench.logs import trtexec

OLD_TEXT = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # trtexec --onnx=model.onnx
[05/18/2023-21:52:12] [I] Warmup completed 15 queries over 200 ms
[05/18/2023-21:52:12] [I] Timing trace has 219 queries over 3.03096 s
[05/18/2023-21:52:15] [I] Average on 10 runs - GPU latency: 13.7 ms - Host latency: 13.8 ms (end to end 13.8 ms, enqueue 7 ms)
[05/18/2023-21:52:15] [I] === Performance summary ===
[05/18/2023-21:52:15] [I] Throughput: 72.2544 qps
[05/18/2023-21:52:15] [I] Latency: min = 13.7075 ms, max = 14.8861 ms, mean = 13.8259 ms, median = 13.7999 ms, percentile(99%) = 14.8121 ms
[05/18/2023-21:52:15] [I] End-to-End Host Latency: min = 13.7175 ms, max = 14.9229 ms, mean = 13.8394 ms, median = 13.8109 ms, percentile(99%) = 14.831 ms
[05/18/2023-21:52:15] [I] H2D Latency: min = 0.117554 ms, max = 0.13623 ms, mean = 0.120202 ms, median = 0.119202 ms, percentile(99%) = 0.128906 ms
[05/18/2023-21:52:15] [I] GPU Compute Time: min = 13.5784 ms, max = 14.7576 ms, mean = 13.6963 ms, median = 13.6698 ms, percentile(99%) = 14.6803 ms
[05/18/2023-21:52:15] [I] Total Host Walltime: 3.03096 s
[05/18/2023-21:52:15] [V] Latency: the summation of H2D Latency, GPU Compute Time, and D2H Latency.
&&&& PASSED TensorRT.trtexec [TensorRT v8201] # trtexec --onnx=model.onnx
"""  # noqa: E501
NEW_TEXT = """\
&&&& RUNNING TensorRT.trtexec [TensorRT v100300] [b26] # trtexec --loadEngine=model.engine
Throughput: 324.003 qps
Latency: min = 2.82111 ms, max = 5.31958 ms, mean = 3.08474 ms, median = 2.83838 ms, percentile(90%) = 4.03564 ms, percentile(95%) = 4.2832 ms, percentile(99%) = 4.86816 ms
Enqueue Time: min = 0.0185547 ms, max = 0.978516 ms, mean = 0.0476129 ms, median = 0.0334473 ms, percentile(90%) = 0.0825195 ms, percentile(95%) = 0.102539 ms, percentile(99%) = 0.228027 ms
D2H Latency: min = 0 ms, max = 0 ms, mean = 0 ms, median = 0 ms, percentile(90%) = 0 ms, percentile(95%) = 0 ms, percentile(99%) = 0 ms
"""  # noqa: E501


def query(start_ms, h2d, compute, d2h, end_to_end=None):
    """One of back-to-back queries, as trtexec stamps it."""
    entry = {
        "startEnqMs": start_ms - 0.05,
        "endEnqMs": start_ms - 0.01,
        "startH2dMs": start_ms - h2d,
        "endH2dMs": start_ms,
        "startComputeMs": start_ms,
        "endComputeMs": start_ms + compute,
        "startD2hMs": start_ms + compute,
        "endD2hMs": start_ms + compute + d2h,
        "h2dMs": h2d,
        "computeMs": compute,
        "d2hMs": d2h,
        "latencyMs": h2d + compute + d2h,
    }
    if end_to_end is not None:
        entry["endToEndMs"] = end_to_end
    return entry


def written(entries):
    """In the form of its writer: a bracket, then a line for each, those after the first behind a comma."""
    lines = ["{ " + ", ".join('"%s" : %.6g' % pair for pair in entry.items()) + " }" for entry in entries]
    return ("[\n  " + "\n, ".join(lines) + "\n]\n").encode("ascii")


def before_8_4():
    """Warm-up of 20 queries of 30 ms and 700 that count; the first stamps are near 0."""
    slow = [query(1 + 10.0 * number, 0.5, 30, 0.25, 31) for number in range(20)]
    return slow + [query(201 + 10.0 * number, 0.5, 9 + number % 10 * 0.01, 0.25, 9.8) for number in range(700)]


def from_8_4():
    """The same without warm-up and endToEndMs; the stamps still count from the begin of the warm-up."""
    return [
        {key: value for key, value in entry.items() if key != "endToEndMs"}
        for entry in before_8_4()
        if entry["startComputeMs"] >= 200
    ]


@pytest.mark.parametrize("entries, num_cut", [(before_8_4(), 20), (from_8_4(), 0)], ids=["8.2", "8.4"])
def test_both_generations_give_the_same_samples(entries, num_cut):
    result = trtexec.read_json(written(entries), "times.json")
    assert result["kind"] == "times" and result["has_end_to_end"] is (num_cut > 0)
    assert result["num_warmup_cut"] == num_cut
    assert result["latency"]["samples_s"] == pytest.approx([1e-3 * (9.75 + n % 10 * 0.01) for n in range(700)])
    assert result["compute"]["samples_s"] == pytest.approx([1e-3 * (9 + n % 10 * 0.01) for n in range(700)])
    summary = result["latency"]["summary"]
    assert summary["num_samples"] == 700 and summary["max_s"] == pytest.approx(9.84e-3)
    assert summary["median_s"] == pytest.approx(9.795e-3) and summary["p99_s"] == pytest.approx(9.84e-3)
    assert result["duration_s"] == pytest.approx(6.99 + 0.0005 + 0.00909 + 0.00025, abs=1e-4)
    assert result["throughput_per_s"] == pytest.approx(100, rel=1e-3)
    assert result["num_disagreements"] == 0
    assert [one["is_warmup"] for one in result["queries"]] == [True] * num_cut + [False] * 700


def test_percentiles_that_few_queries_cannot_support_are_refused():
    """trtexec itself would give the maximum as p99."""
    summary = trtexec.read_json(written(from_8_4()[:50]), "t")["latency"]["summary"]
    assert summary["p99_s"] is None and summary["p90_s"] is None and summary["median_s"] is not None


def test_a_longer_warmup_cuts_more_and_one_of_zero_nothing():
    data = written(before_8_4())
    assert trtexec.read_json(data, "t", 0.4)["num_warmup_cut"] == 40
    assert trtexec.read_json(data, "t", 0.0)["num_warmup_cut"] == 0
    with pytest.raises(EdgeBenchError, match="all 720 queries started within the warm-up of 100 s"):
        trtexec.read_json(data, "t", 100.0)


def test_a_latency_that_is_not_the_sum_of_its_parts_is_counted():
    entries = from_8_4()
    entries[7]["latencyMs"] = 100
    result = trtexec.read_json(written(entries), "t")
    assert result["num_disagreements"] == 1 and result["latency"]["summary"]["max_s"] < 0.01


@pytest.mark.parametrize(
    "data, words",
    [
        (b"", "not the JSON of trtexec"),
        (b"[", "or cut short"),
        (written(from_8_4())[:5000], "or cut short"),
        (b"[]", "not a list of objects"),
        (b"{}", "not a list of objects"),
        (b"[1]", "not a list of objects"),
        (b"[{}]", "query 1: h2dMs is None"),
        (written(from_8_4()).replace(b'"computeMs" : 9,', b'"computeMs" : 0,'), "computeMs is 0"),
        (written(from_8_4()).replace(b'"computeMs" : 9,', b'"computeMs" : -9,'), "computeMs is -9"),
        (written(from_8_4()).replace(b'"computeMs" : 9,', b'"computeMs" : nan,'), "not the JSON"),
        (written(from_8_4()).replace(b'"computeMs" : 9,', b'"computeMs" : 1e300,'), "computeMs is 1e"),
        (b'[{"count": 3}]', "no layers"),
        (b'[{"count": "x"}, {"name": "a", "timeMs": 1, "averageMs": 1}]', "a count of 'x'"),
        (b'[{"count": 3}, {"name": "a"}]', "layer 1"),
    ],
)
def test_files_that_are_not_what_they_should_be(data, words):
    with pytest.raises(EdgeBenchError) as error:
        trtexec.read_json(data, "times.json")
    assert words in str(error.value) and str(error.value).startswith("times.json: ")


@pytest.mark.parametrize("place", ["h2dMs", "computeMs", "d2hMs", "startComputeMs", "startH2dMs", "endD2hMs"])
def test_hostile_values_are_refused_or_read_but_never_break(hostile_variants, place):
    for variant in hostile_variants(from_8_4()[0][place]):
        entries = from_8_4()[:3]
        entries[1][place] = variant
        try:
            data = json.dumps(entries).encode("ascii")
            result = trtexec.read_json(data, "t")
        except (EdgeBenchError, ValueError):
            continue
        assert math.isfinite(result["latency"]["summary"]["mean_s"])


@pytest.mark.parametrize("with_median", [False, True])
def test_a_profile(with_median):
    layers = [("conv1 + relu", 30.0, 0.3), ("fc", 10.0, 0.1)]
    entries = [{"count": 100}]
    for name, total, mean in layers:
        entry = {"name": name, "timeMs": total, "averageMs": mean, "percentage": 50}
        if with_median:
            entry["medianMs"] = mean
        entries.append(entry)
    result = trtexec.read_json(json.dumps(entries).encode("ascii"), "profile.json")
    assert result["kind"] == "profile" and result["num_runs"] == 100
    assert [layer["name"] for layer in result["layers"]] == ["conv1 + relu", "fc"]
    assert [layer["share"] for layer in result["layers"]] == pytest.approx([0.75, 0.25])
    assert result["layers"][0]["mean_s"] == pytest.approx(3e-4) and result["layers"][0]["total_s"] == pytest.approx(
        0.03
    )
    assert [layer["median_s"] is not None for layer in result["layers"]] == [with_median] * 2


def test_the_text_of_8_2():
    result = trtexec.read_text(OLD_TEXT.splitlines(), "log")
    assert result["version"] == "8.2.1" and result["has_passed"] is True
    assert result["throughput_per_s"] == 72.2544 and result["duration_s"] == 3.03096
    assert result["num_queries"] == 219 and result["num_warmup_cut"] == 15
    assert sorted(result["reported"]) == ["compute", "end_to_end", "h2d", "latency"]
    latency = result["reported"]["latency"]
    assert latency["median_s"] == pytest.approx(13.7999e-3) and latency["min_s"] == pytest.approx(13.7075e-3)
    assert latency["percentiles_s"] == {"99": pytest.approx(14.8121e-3)}
    assert result["reported"]["h2d"]["median_s"] == pytest.approx(0.119202e-3)


def test_the_text_of_10_3_whose_end_is_missing():
    result = trtexec.read_text(NEW_TEXT.splitlines(), "log")
    assert result["version"] == "10.3.0" and result["has_passed"] is None
    assert result["reported"]["latency"]["percentiles_s"] == {
        "90": pytest.approx(4.03564e-3),
        "95": pytest.approx(4.2832e-3),
        "99": pytest.approx(4.86816e-3),
    }
    assert result["reported"]["d2h"]["max_s"] == 0 and result["num_queries"] is None


def test_a_text_without_a_summary_says_its_error():
    lines = [
        "&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # trtexec",
        "[05/18/2023-21:52:15] [E] Error[4]: could not open file model.onnx",
        "&&&& FAILED TensorRT.trtexec [TensorRT v8201] # trtexec",
    ]
    with pytest.raises(
        EdgeBenchError, match="no performance summary of trtexec in it; its first error: Error.4.: could"
    ):
        trtexec.read_text(lines, "log")
