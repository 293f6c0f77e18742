"""Measurements as edge-bench writes them, made up: the numbers below are no results."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from browsing import missing_program, start_browser
from edge_bench import stats
from edge_bench.schema import SCHEMA, VERSION, measurement_problem, unavailable, warning
from full_study import make_history

DENSE_UNITS = (16, 32, 64, 10)
SMALL_UNITS = (9, 14, 22, 10)
STAGES = (
    ("baseline", 12, 0.99),
    ("distil", 10, 0.98),
    ("control:dense-longer", 10, 0.991),
    ("control:from-scratch", 22, 0.976),
)


def make_stats(units: Sequence[int]) -> dict[str, Any]:
    """Stats of an 8x8 digit network: two 3x3 convolutions, each with pooling, and two linear layers."""
    a, b, c, d = units
    shapes = (("conv1", "conv2d", 1, a, 9, 64), ("conv2", "conv2d", a, b, 9, 16))
    shapes += (("fc1", "linear", 4 * b, c, 1, 1), ("fc2", "linear", c, d, 1, 1))
    layers = [
        {
            "name": name,
            "kind": kind,
            "num_inputs": num_in,
            "num_units": num_out,
            "num_parameters": num_in * num_out * kernel + num_out,
            "num_macs": num_in * num_out * kernel * places,
        }
        for name, kind, num_in, num_out, kernel, places in shapes
    ]
    num_parameters = sum(layer["num_parameters"] for layer in layers)
    return {
        "num_parameters": num_parameters,
        "num_nonzero": num_parameters,
        "num_macs": sum(layer["num_macs"] for layer in layers),
        "onnx_bytes": 4 * num_parameters + 1800,
        "not_counted": "activation functions and pooling",
        "layers": layers,
    }


def make_samples(median_s: float, num: int) -> list[float]:
    """Latencies with the given median, a narrow body and a long tail; no random numbers."""
    shares = [(index + 0.5) / num for index in range(num)]
    tail = [0.03 * -math.log(1 - share) + (0.4 if share > 0.995 else 0.0) for share in shares]
    shift = stats.median(tail)
    ordered = [median_s * (1 + late - shift) for late in tail]
    # As they would come: not sorted.
    return [ordered[(index * 7919) % num] for index in range(num)]


def make_bundle(name: str, role: str, units: Sequence[int], correct: int, num_samples: int = 360) -> dict[str, Any]:
    sizes = make_stats(units)
    return {
        "id": f"{abs(hash_text(name + role)):064x}",
        "name": name,
        "role": role,
        "model": {
            "path": "model.onnx",
            "opset": 17,
            "ir_version": 8,
            "precision": "fp32",
            "inputs": [{"name": "x", "dtype": "float32", "shape": [1, 1, 8, 8]}],
            "outputs": [{"name": "y", "dtype": "float32", "shape": [1, 10]}],
            "num_bytes": sizes["onnx_bytes"],
        },
        "stats": sizes,
        "accuracy": {
            "metric": "accuracy",
            "split": "test",
            "value": correct / num_samples,
            "num_samples": num_samples,
            "runtime": "onnxruntime 1.31.1",
        },
        "target": "generic-x86",
        "tools": {"torch": "2.13.0"},
        "num_labels": 10,
    }


def hash_text(text: str) -> int:
    """A small hash that is the same in every process."""
    value = 1469598103934665603
    for byte in text.encode("utf-8", "surrogatepass"):
        value = (value ^ byte) * 1099511628211 % (1 << 64)
    return value


def make_measurement(
    bundle: dict[str, Any], median_s: float = 28e-6, minute: int = 0, num: int = 1500
) -> dict[str, Any]:
    samples = make_samples(median_s, num)
    state = {
        "power_mode": None,
        "governors": {},
        "cpu_clock_limits_hz": {},
        "cpu_clocks_hz": {},
        "online_cpus": "0-1",
        "devfreq": {},
        "temperatures_c": {},
        "throttle_counts": {},
        "memory_available_bytes": 3_000_000_000,
        "load_average": 0.2,
    }
    measurement = {
        "schema": SCHEMA,
        "version": VERSION,
        "status": "complete",
        "invalid": [],
        "started_at": f"2026-08-21T10:{minute:02d}:00Z",
        "bundle": copy.deepcopy(bundle),
        "agent": {"version": "0.1.0", "python": "3.11.9"},
        "board": {"model": "Testboard 1", "cpu": "Test CPU 2.0 GHz", "num_cpus": 2, "kernel": "6.1"},
        "settings": {"num_runs": None, "duration_s": 3.0, "warmup_s": 0.5, "num_threads": 1, "provider": None},
        "backend": {
            "name": "onnxruntime",
            "version": "1.31.1",
            "providers": ["CPUExecutionProvider"],
            "num_threads": 1,
        },
        "check": {"passed": True, "max_abs_error": 2.4e-7, "atol": 1e-4, "rtol": 1e-4, "num_cases": 4},
        "load_s": 0.01,
        "first_inference_s": 1e-3,
        "latency": {
            "samples_s": samples,
            "duration_s": 3.0,
            "other_load": 0.02,
            "summary": stats.summarise(samples),
        },
        "memory": {"process_peak_rss_bytes": 61_000_000, "process_rss_before_load_bytes": 55_000_000},
        "state_before": state,
        "state_after": copy.deepcopy(state),
        "warnings": [],
        "unavailable": [
            unavailable(
                "energy", "no INA3221, no RAPL: this machine shows no power sensor", "use a board with a sensor"
            ),
        ],
    }
    assert measurement_problem(measurement) == ""
    return measurement


def make_study(num_rounds: int = 4) -> list[dict[str, Any]]:
    """Four networks in an interleaved order, A B C D then D C B A; the compressed one is twice as fast."""
    networks = [
        (make_bundle("digits-dense", "baseline", DENSE_UNITS, 355), 28.0e-6),
        (make_bundle("digits-pruned", "compressed", SMALL_UNITS, 352), 14.0e-6),
        (make_bundle("digits-dense-longer", "control:dense-longer", DENSE_UNITS, 356), 28.2e-6),
        (make_bundle("digits-from-scratch", "control:from-scratch", SMALL_UNITS, 351), 14.1e-6),
    ]
    runs, minute = [], 0
    for number in range(num_rounds):
        for bundle, median_s in networks if number % 2 == 0 else reversed(networks):
            # Rounds drift together, as on a board that warms up, and each run is a little off.
            drift = 1 + 0.02 * number + 0.01 * ((minute * 7) % 5 - 2)
            runs.append(make_measurement(bundle, median_s * drift, minute))
            minute += 1
    runs[0]["warnings"].append(warning("other-load", "other programs used 12 % of all processor time", "end them"))
    return runs


@pytest.fixture
def study() -> list[dict[str, Any]]:
    return make_study()


@pytest.fixture
def bundle() -> Callable[..., dict[str, Any]]:
    return make_bundle


@pytest.fixture
def measurement() -> Callable[..., dict[str, Any]]:
    return make_measurement


@pytest.fixture
def history() -> list[dict[str, Any]]:
    return make_history(STAGES)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A driver of headless Chromium."""
    pytest.importorskip("selenium", reason="selenium is not installed (extra: dev)")
    if missing_program():
        pytest.skip(missing_program())
    started = start_browser(tmp_path_factory.mktemp("chromium"))
    yield started
    started.quit()
