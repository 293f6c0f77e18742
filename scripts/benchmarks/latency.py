"""Latency of the trained networks of a seed against the dense one: ONNX Runtime, batch 1, one thread, interleaved."""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_bench import board
from edge_bench.stats import median
from edge_dendrite.export.onnx import open_session
from edge_dendrite.lock import locked
from edge_dendrite.progress import Progress
from scripts.benchmarks.environment import environment
from scripts.benchmarks.intervals import median_interval
from scripts.benchmarks.job import Case
from scripts.benchmarks.rows import LATENCY, TRAINED, append_row, read_rows
from scripts.benchmarks.studies import DENSE, Study
from scripts.benchmarks.train import onnx_path, seed_folder


@dataclass(frozen=True)
class Protocol:
    """How it is measured. max_other_load: share of all processor time that other programs may take."""

    num_rounds: int = 21
    num_calls: int = 300
    num_warmup_calls: int = 50
    max_other_load: float = 0.1


class OtherLoad:
    """Share of all processor time that other programs take, from its making until now."""

    def __init__(self) -> None:
        self._busy, self._own, self._began = board.busy_seconds(), time.process_time(), time.perf_counter()

    def share(self) -> float:
        """0 to 1. Raises ValueError where the system does not tell."""
        busy = board.busy_seconds()
        if busy is None or self._busy is None:
            raise ValueError("the load of this machine cannot be read (/proc/stat): measure on Linux")
        own, elapsed = time.process_time() - self._own, time.perf_counter() - self._began
        # Both clocks tick coarsely, so that the share of a short time can leave its range by a little.
        return min(1.0, max(0.0, busy - self._busy - own) / (elapsed * (os.cpu_count() or 1)))


def measure_missing(
    study: Study, seed: int, results: Path, work: Path, protocol: Protocol, progress: Progress
) -> list[dict[str, Any]]:
    """Time the networks of a seed that have a row but no latency row yet, and append theirs; returns the new rows.

    The dense network is timed along in every call; ratios are to it, round by round.
    Raises ValueError when an ONNX file is missing or other programs take more than the protocol allows; nothing is
    then written.
    """
    rows = [row for row in read_rows(results) if row["seed"] == seed]
    measured = {(row["arm"], row["budget"]) for row in rows if row["kind"] == LATENCY}
    trained = [Case(row["arm"], row["budget"], seed) for row in rows if row["kind"] == TRAINED]
    missing = [case for case in trained if (case.arm, case.budget) not in measured]
    if not missing:
        return []
    dense = Case(DENSE, None, seed)
    folder = seed_folder(work, study, seed)
    with locked(folder):
        models = {case: _read(onnx_path(folder, case)) for case in dict.fromkeys([dense, *missing])}
        medians, other_load = _measure(models, protocol, progress)
    made = [_row(study, case, medians[case], medians[dense], other_load, protocol) for case in missing]
    return [row for row in made if append_row(results, row)]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ValueError(f"{path}: is not there; remove its row from the results and train it again") from error


def _measure(
    models: Mapping[Case, bytes], protocol: Protocol, progress: Progress
) -> tuple[dict[Case, list[float]], float]:
    """(median of each round in seconds by case, share of processor time that others took)."""
    before = OtherLoad()
    time.sleep(1.0)
    _check_quiet(protocol, before.share())
    load = OtherLoad()
    medians = time_rounds(models, protocol, progress)
    other_load = load.share()
    _check_quiet(protocol, other_load)
    return medians, other_load


def _check_quiet(protocol: Protocol, other_load: float) -> None:
    if other_load > protocol.max_other_load:
        raise ValueError(
            f"other programs take {100 * other_load:.0f} % of all processor time (allowed "
            f"{100 * protocol.max_other_load:.0f} %); nothing was written: stop them and measure again"
        )


def _runner(content: bytes) -> Callable[[], Any]:
    session = open_session(content)
    one = session.get_inputs()[0]
    inputs = {one.name: np.random.default_rng(0).standard_normal(one.shape).astype(np.float32)}
    return lambda: session.run(None, inputs)


def time_rounds(models: Mapping[Case, bytes], protocol: Protocol, progress: Progress) -> dict[Case, list[float]]:
    """Median seconds of a call in each round; in every round each network has its turn, in a new order.

    Each turn opens a new session: where its memory happens to lie makes a few percent, which would else stay the same
    in all rounds and pass for a property of the network.
    """
    medians: dict[Case, list[float]] = {case: [] for case in models}
    order, shuffle = list(models), random.Random(0)
    gc.collect()
    gc.disable()
    try:
        for number in range(protocol.num_rounds):
            progress("measuring latency", number, protocol.num_rounds)
            shuffle.shuffle(order)
            for case in order:
                medians[case].append(median(_time_calls(_runner(models[case]), protocol)))
    finally:
        gc.enable()
    progress("measuring latency", protocol.num_rounds, protocol.num_rounds)
    return medians


def _time_calls(run: Callable[[], Any], protocol: Protocol) -> list[float]:
    for _ in range(protocol.num_warmup_calls):
        run()
    samples = []
    for _ in range(protocol.num_calls):
        began = time.perf_counter()
        run()
        samples.append(time.perf_counter() - began)
    return samples


def _row(
    study: Study,
    case: Case,
    medians: Sequence[float],
    dense_medians: Sequence[float],
    other_load: float,
    protocol: Protocol,
) -> dict[str, Any]:
    ratio = median_interval([one / other for one, other in zip(medians, dense_medians, strict=True)])
    return {
        "study": study.name,
        "kind": LATENCY,
        "arm": case.arm,
        "budget": case.budget,
        "seed": case.seed,
        "median_s": median(medians),
        "round_medians_s": list(medians),
        "dense_round_medians_s": list(dense_medians),
        "ratio_to_dense": {"value": ratio.value, "low": ratio.low, "high": ratio.high},
        "num_calls": protocol.num_calls,
        "num_rounds": protocol.num_rounds,
        "other_load": round(other_load, 4),
        "environment": environment(),
    }
