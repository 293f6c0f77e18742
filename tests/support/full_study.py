"""Measurements with all that a board can tell: power samples, clocks, temperatures, memory. Made up, no results.

Energy and watch records are made by the agent's own functions, so they have the shape that it writes.
"""

from __future__ import annotations

import copy
import hashlib
import math
import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from edge_bench.board.watch_findings import summarise as summarise_watch
from edge_bench.power.energy import energy_record
from edge_bench.power.result import Recorded, window_result
from edge_bench.schema import SCHEMA, VERSION, measurement_problem, unavailable, warning
from edge_bench.summary import summarise

# Name, role, units of the layers, samples classified correctly of 10,000, median latency in seconds, watts.
NETWORKS: tuple[tuple[str, str, tuple[int, ...], int, float, float], ...] = (
    ("kws-dense", "baseline", (32, 64, 64, 128, 12), 9512, 1.84e-3, 6.9),
    ("kws-pruned", "compressed", (16, 24, 40, 64, 12), 9487, 0.93e-3, 6.1),
    ("kws-dense-longer", "control:dense-longer", (32, 64, 64, 128, 12), 9530, 1.86e-3, 6.9),
    ("kws-from-scratch", "control:from-scratch", (16, 24, 40, 64, 12), 9421, 0.94e-3, 6.1),
)
RAIL = "VDD_IN"
IDLE_W, IDLE_S, LOAD_S, SENSOR_S, WATCH_S = 3.2, 10.0, 20.0, 0.05, 0.5
_METER = SimpleNamespace(
    source="ina3221",
    scope="module input",
    rails=(RAIL,),
    counts_energy=False,
    interval_s=SENSOR_S,
    step_w=0.02,
    step_is_assumed=False,
    details={"chips": {"ina3221": {"samples": 16, "update_interval_s": 0.035}}},
)


STAGES = (("baseline", 12, 0.951), ("distil", 10, 0.949), ("control:from-scratch", 22, 0.942))


def make_full_study(num_rounds: int = 5, num_samples: int = 1500, board: str = "Testboard 2") -> list[dict[str, Any]]:
    """Every network once a round, in alternating order; each run with so many latency samples."""
    runs: list[dict[str, Any]] = []
    for number in range(num_rounds):
        for index in range(len(NETWORKS))[:: 1 if number % 2 == 0 else -1]:
            runs.append(_run(index, len(runs), num_samples, board))
    runs[0]["warnings"].append(warning("other-load", "other programs used 12 % of all processor time", "end them"))
    return runs


def make_history(stages: Sequence[tuple[str, int, float]] = STAGES) -> list[dict[str, Any]]:
    """Epochs of the stages that led to networks: each stage's name, how many it has, and what it comes near to."""
    return [
        {
            "stage": stage,
            "epoch": epoch,
            "train_loss": 2.4 * math.exp(-epoch / 3) + 0.05,
            "val_metric": best - 0.5 * math.exp(-epoch / 2) + 0.003 * math.sin(epoch),
        }
        for stage, num, best in stages
        for epoch in range(1, num + 1)
    ]


def _run(index: int, number: int, num_samples: int, board: str) -> dict[str, Any]:
    """The run of a network; `number` is its place in the order of all runs."""
    name, role, units, correct, median_s, power_w = NETWORKS[index]
    source = random.Random(f"{board} {number}")
    # The board warms up from run to run, and each run is a little off.
    speed = 1 + 0.003 * number + 0.004 * source.random()
    before, after = _state(46.0 + 0.4 * number), _state(49.0 + 0.4 * number)
    watch = summarise_watch(_series(source, 47.0 + 0.4 * number), before)
    samples = _samples(source, median_s * speed, num_samples)
    measurement = {
        "schema": SCHEMA,
        "version": VERSION,
        "status": "complete",
        "invalid": [],
        "run_id": hashlib.sha256(f"{board} {number}".encode()).hexdigest()[:32],
        "started_at": f"2026-08-21T{10 + number // 60:02d}:{number % 60:02d}:00Z",
        "bundle": make_bundle(name, role, units, correct),
        "source": {"kind": "bundle", "words": None},
        "agent": {"version": "0.1.0", "python": "3.10.12"},
        "board": {"model": board, "cpu": "Test CPU, 6 cores", "num_cpus": 6, "kernel": "5.15.148-tegra"},
        "settings": {"num_runs": None, "duration_s": 20.0, "warmup_s": 1.0, "num_threads": 4, "provider": None},
        "backend": {
            "name": "onnxruntime",
            "version": "1.23.0",
            "providers": ["CPUExecutionProvider"],
            "num_threads": 4,
            "notes": [],
            "batch": 1,
        },
        "check": {"passed": True, "max_abs_error": 2.4e-7, "atol": 1e-4, "rtol": 1e-4, "num_cases": 4},
        "load_s": 0.08,
        "first_inference_s": 4e-3,
        "latency": {
            "samples_s": samples,
            "duration_s": sum(samples),
            "other_load": 0.02,
            "overhead_share": 0.004,
            "summary": summarise(samples),
        },
        "memory": {"process_peak_rss_bytes": 88_000_000 + 1000 * number, "process_rss_before_load_bytes": 55_000_000},
        "watch": watch,
        "energy": _energy(source, median_s * speed, power_w),
        "state_before": before,
        "state_after": after,
        "warnings": [],
        "unavailable": [unavailable("gpu clocks", "this board has no GPU that is known", "none is needed")],
    }
    assert measurement_problem(measurement) == "", measurement_problem(measurement)
    return measurement


def make_bundle(name: str, role: str, units: Sequence[int], correct: int) -> dict[str, Any]:
    """A keyword-spotting network on 49 x 10 features: convolutions, then two linear layers."""
    layers, num_inputs = [], 1
    for position, num_units in enumerate(units):
        is_linear = position >= len(units) - 2
        kernel, places = (1, 1) if is_linear else (9, 125)
        layers.append(
            {
                "name": f"fc{position}" if is_linear else f"conv{position}",
                "kind": "linear" if is_linear else "conv2d",
                "num_inputs": num_inputs,
                "num_units": num_units,
                "num_parameters": num_inputs * num_units * kernel + num_units,
                "num_macs": num_inputs * num_units * kernel * places,
            }
        )
        num_inputs = num_units
    num_parameters = sum(layer["num_parameters"] for layer in layers)
    num_bytes = 4 * num_parameters + 2400
    return {
        "id": hashlib.sha256(f"{name} {role}".encode()).hexdigest(),
        "name": name,
        "role": role,
        "model": {
            "path": "model.onnx",
            "opset": 17,
            "ir_version": 8,
            "precision": "fp32",
            "inputs": [{"name": "x", "dtype": "float32", "shape": [1, 1, 49, 10]}],
            "outputs": [{"name": "y", "dtype": "float32", "shape": [1, 12]}],
            "num_bytes": num_bytes,
        },
        "stats": {
            "num_parameters": num_parameters,
            "num_nonzero": num_parameters,
            "num_macs": sum(layer["num_macs"] for layer in layers),
            "onnx_bytes": num_bytes,
            "not_counted": "activation functions and pooling",
            "layers": layers,
        },
        "accuracy": {
            "metric": "accuracy",
            "split": "test",
            "value": correct / 10_000,
            "num_samples": 10_000,
            "runtime": "onnxruntime 1.23.0",
        },
        "target": "generic-arm64",
        "tools": {"torch": "2.13.0", "onnx": "1.19.0"},
        "num_labels": 12,
    }


def _samples(source: random.Random, median_s: float, num: int) -> list[float]:
    """Latencies in the order in which they came: a narrow body, a tail, now and then a much later one."""
    samples = []
    for index in range(num):
        late = 0.02 * source.expovariate(1.0) + 0.004 * math.sin(index / 200) - 0.014
        samples.append(median_s * (1 + late + (0.6 * source.random() if source.random() < 0.003 else 0.0)))
    return samples


def _state(temperature_c: float) -> dict[str, Any]:
    cores = [f"cpu{core}" for core in range(6)]
    return {
        "power_mode": "15W",
        "governors": dict.fromkeys(cores, "performance"),
        "cpu_clock_limits_hz": {core: [1510400000, 1510400000] for core in cores},
        "cpu_clocks_hz": dict.fromkeys(cores, 1510400000),
        "online_cpus": "0-5",
        "devfreq": {},
        "temperatures_c": {"cpu-thermal": temperature_c, "soc0-thermal": temperature_c - 2.5},
        "throttle_counts": {},
        "memory_available_bytes": 5_200_000_000,
        "load_average": 0.2,
    }


def _series(source: random.Random, temperature_c: float) -> dict[str, Any]:
    """As board/watch.py gives it."""
    times = [WATCH_S * (step + 1) for step in range(int(LOAD_S / WATCH_S))]
    heat = [temperature_c + 3 * (1 - math.exp(-time_s / 8)) for time_s in times]
    cores = [f"cpu{core}" for core in range(6)]
    return {
        "times_s": times,
        "cpu_clocks_hz": {core: [1510400000.0 for _ in times] for core in cores},
        "cpu_busy": {core: [0.6 + 0.35 * source.random() for _ in times] for core in cores},
        "gpu_clocks_hz": {},
        "gpu_busy": {},
        "temperatures_c": {"cpu-thermal": heat, "soc0-thermal": [value - 2.5 for value in heat]},
        "memory_available_bytes": [5_100_000_000.0 + 1e6 * source.random() for _ in times],
    }


def _energy(source: random.Random, median_s: float, power_w: float) -> dict[str, Any]:
    idle, load = _window(source, 100.0, IDLE_S, IDLE_W), _window(source, 112.0, LOAD_S, power_w)
    marks = [(112.0 + 0.25 * step, int(0.25 * step / median_s)) for step in range(1, int(LOAD_S / 0.25))]
    record = energy_record(_METER, idle, load, marks)
    assert record is not None
    return copy.deepcopy({**record, "latency_ratio_while_sampling": 1.01, "other_load": 0.02, "idle_other_load": 0.01})


def _window(source: random.Random, began_s: float, duration_s: float, power_w: float) -> dict[str, Any]:
    recorded = Recorded((RAIL,))
    for step in range(int(duration_s / SENSOR_S) + 2):
        reading_w = round(power_w + 0.15 * source.gauss(0, 1), 2)
        recorded.add(began_s + SENSOR_S * step, {RAIL: reading_w, "VDD_CPU_GPU_CV": reading_w / 3})
    result, problem = window_result(_METER, recorded, began_s, began_s + duration_s, {})
    assert result is not None, problem
    return result
