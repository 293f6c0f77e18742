"""Peak memory of the trained networks of a seed: a fresh process for each run, in turns, above the runtime's floor."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_bench.stats import median
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.lock import locked
from edge_dendrite.progress import Progress
from scripts.benchmarks.environment import environment
from scripts.benchmarks.floor import FLOOR, identity_network
from scripts.benchmarks.job import Case
from scripts.benchmarks.kept import check_data, kept_network, unmeasured, validation_inputs
from scripts.benchmarks.rows import MEMORY, append_row, read_rows
from scripts.benchmarks.studies import DENSE, Study
from scripts.benchmarks.train import seed_folder

CHILD = Path(__file__).with_name("memory_child.py")
# One thread in whatever numpy and the runtime bring along: each thread would have a stack and buffers of its own.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class MemoryProtocol:
    """How it is measured. num_processes: fresh ones for each network; num_calls: of the network in each of them."""

    num_processes: int = 9
    num_calls: int = 50
    timeout_s: float = 600.0


def measure_memory(
    study: Study,
    seed: int,
    data: DataSet,
    results: Path,
    work: Path,
    protocol: MemoryProtocol,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Measure the networks of a seed that have a row but no memory row yet, and append theirs; returns the new rows.

    The dense network and one that does nothing (the floor) are measured along in every call. Raises ValueError when an
    ONNX file is missing, the data are others, or a process fails; nothing is then written.
    """
    rows = read_rows(results)
    missing = unmeasured(rows, seed, MEMORY)
    if not missing:
        return []
    check_data(rows, seed, data)
    dense, floor = Case(DENSE, None, seed), Case(FLOOR, None, seed)
    folder = seed_folder(work, study, seed)
    with locked(folder), tempfile.TemporaryDirectory() as scratch:
        networks = {case: kept_network(folder, case) for case in dict.fromkeys([dense, *missing])}
        networks[floor] = Path(scratch) / "identity.onnx"
        networks[floor].write_bytes(identity_network(data.input_shape))
        inputs = Path(scratch) / "inputs.npy"
        np.save(inputs, _inputs(data, protocol.num_calls))
        peaks = _measure(networks, inputs, protocol, progress)
    made = [_row(study, case, peaks[case], peaks[dense], peaks[floor], protocol) for case in missing]
    return [row for row in made if append_row(results, row)]


def _inputs(data: DataSet, num_calls: int) -> np.ndarray:
    """One for each call: real ones, because the input decides which way a gated network goes."""
    inputs = validation_inputs(data, num_calls)
    return inputs[np.arange(num_calls) % len(inputs)]


def _measure(
    networks: Mapping[Case, Path], inputs: Path, protocol: MemoryProtocol, progress: Progress
) -> dict[Case, list[int]]:
    """Peaks in bytes, in turns and each time in a new order: what the system does meanwhile meets all alike."""
    peaks: dict[Case, list[int]] = {case: [] for case in networks}
    order, shuffle = list(networks), random.Random(0)
    for number in range(protocol.num_processes):
        progress("measuring memory", number, protocol.num_processes)
        shuffle.shuffle(order)
        for case in order:
            peaks[case].append(peak_bytes(networks[case], inputs, protocol.timeout_s))
    progress("measuring memory", protocol.num_processes, protocol.num_processes)
    return peaks


def peak_bytes(network: Path, inputs: Path, timeout_s: float) -> int:
    """Peak resident memory of a fresh process that runs a network. Raises ValueError when the process fails."""
    # -I: what the caller has in PYTHONPATH stays out.
    command = [sys.executable, "-I", str(CHILD), str(network), str(inputs)]
    settings = {**os.environ, **_ONE_THREAD}
    try:
        child = subprocess.run(
            command, env=settings, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"{network}: was not done after {timeout_s:g} s; its process was stopped") from error
    if child.returncode != 0:
        raise ValueError(f"{network}: its process failed ({child.returncode}): {child.stderr.strip()[-500:]}")
    return int(child.stdout)


def _row(
    study: Study,
    case: Case,
    peaks: Sequence[int],
    dense_peaks: Sequence[int],
    floor_peaks: Sequence[int],
    protocol: MemoryProtocol,
) -> dict[str, Any]:
    peak, dense, floor = (round(median(values)) for values in (peaks, dense_peaks, floor_peaks))
    return {
        "study": study.name,
        "kind": MEMORY,
        "arm": case.arm,
        "budget": case.budget,
        "seed": case.seed,
        "peak_bytes": peak,
        "floor_bytes": floor,
        "above_floor_bytes": peak - floor,
        "dense_above_floor_bytes": dense - floor,
        "ratio_to_dense": (peak - floor) / (dense - floor) if dense > floor else None,
        "process_peaks_bytes": list(peaks),
        "dense_process_peaks_bytes": list(dense_peaks),
        "floor_process_peaks_bytes": list(floor_peaks),
        "num_calls": protocol.num_calls,
        "environment": environment(),
    }
