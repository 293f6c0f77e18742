"""Latency of the trained networks of a seed against the dense one: ONNX Runtime, batch 1, one thread, interleaved.

Inputs are validation images, the same for all: they decide how much a gated network computes.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge_bench.board.load import busy_seconds
from edge_bench.stats import median
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.export.onnx import is_deciding
from edge_dendrite.export.session import open_session
from edge_dendrite.export.timing import in_turns
from edge_dendrite.lock import locked
from edge_dendrite.paired import median_interval
from edge_dendrite.progress import Progress
from scripts.benchmarks.environment import environment
from scripts.benchmarks.floor import FLOOR, identity_network
from scripts.benchmarks.job import Case
from scripts.benchmarks.kept import check_data, kept_network, unmeasured, validation_inputs
from scripts.benchmarks.rows import LATENCY, append_row, read_rows
from scripts.benchmarks.studies import DENSE, Study
from scripts.benchmarks.train import seed_folder

# What stands for a turn: the median of its calls, or for a network that is gated, whose calls differ, their mean.
MEDIAN, MEAN = "median", "mean"
# By statistic, the value of each round in seconds.
Rounds = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Protocol:
    """How it is measured. num_calls: in each turn, rounded up so that every one of the inputs comes equally often.

    max_other_load: share of all processor time that other programs may take.
    """

    num_rounds: int = 21
    num_calls: int = 256
    num_warmup_calls: int = 50
    num_inputs: int = 256
    max_other_load: float = 0.1


class OtherLoad:
    """Share of all processor time that other programs take, from its making until now."""

    def __init__(self) -> None:
        self._busy, self._own, self._began = busy_seconds(), time.process_time(), time.perf_counter()

    def share(self) -> float:
        """0 to 1. Raises ValueError where the system does not tell."""
        busy = busy_seconds()
        if busy is None or self._busy is None:
            raise ValueError("the load of this machine cannot be read (/proc/stat): measure on Linux")
        own, elapsed = time.process_time() - self._own, time.perf_counter() - self._began
        # Both clocks tick coarsely, so that the share of a short time can leave its range by a little.
        return min(1.0, max(0.0, busy - self._busy - own) / (elapsed * (os.cpu_count() or 1)))


def measure_missing(
    study: Study, seed: int, data: DataSet, results: Path, work: Path, protocol: Protocol, progress: Progress
) -> list[dict[str, Any]]:
    """Time the networks of a seed that have a row but no latency row yet, and append theirs; returns the new rows.

    The dense network and one that does nothing (the runtime's floor) are timed along in every call; ratios are to the
    dense one, round by round.
    Raises ValueError when an ONNX file is missing, the data are others, or other programs take more than the protocol
    allows; nothing is then written.
    """
    rows = read_rows(results)
    missing = unmeasured(rows, seed, LATENCY)
    if not missing:
        return []
    check_data(rows, seed, data)
    dense, floor = Case(DENSE, None, seed), Case(FLOOR, None, seed)
    inputs = validation_inputs(data, protocol.num_inputs)
    folder = seed_folder(work, study, seed)
    with locked(folder):
        models = {case: kept_network(folder, case).read_bytes() for case in dict.fromkeys([dense, *missing])}
        models[floor] = identity_network(data.input_shape)
        rounds, other_load = _measure(models, inputs, protocol, progress)
    measured = {
        "floor_round_medians_s": list(rounds[floor][MEDIAN]),
        "inputs": "validation",
        "num_inputs": len(inputs),
        "num_calls": _num_calls(protocol, len(inputs)),
        "num_rounds": protocol.num_rounds,
        "other_load": round(other_load, 4),
        "environment": environment(),
    }
    made = [{**_row(study, case, models[case], rounds[case], rounds[dense]), **measured} for case in missing]
    return [row for row in made if append_row(results, row)]


def _measure(
    models: Mapping[Case, bytes], inputs: np.ndarray, protocol: Protocol, progress: Progress
) -> tuple[dict[Case, Rounds], float]:
    """(rounds by case, share of processor time that others took)."""
    before = OtherLoad()
    time.sleep(1.0)
    _check_quiet(protocol, before.share())
    load = OtherLoad()
    rounds = time_rounds(models, inputs, protocol, progress)
    other_load = load.share()
    _check_quiet(protocol, other_load)
    return rounds, other_load


def _check_quiet(protocol: Protocol, other_load: float) -> None:
    if other_load > protocol.max_other_load:
        raise ValueError(
            f"other programs take {100 * other_load:.0f} % of all processor time (allowed "
            f"{100 * protocol.max_other_load:.0f} %); nothing was written: stop them and measure again"
        )


def time_rounds(
    models: Mapping[Case, bytes], inputs: np.ndarray, protocol: Protocol, progress: Progress
) -> dict[Case, Rounds]:
    """Median and mean seconds of a call in each round; in every round each network has its turn, in a new order.

    Each turn opens a new session: where its memory happens to lie makes a few percent, which would else stay the same
    in all rounds and pass for a property of the network.
    """
    rounds = in_turns(
        list(models),
        protocol.num_rounds,
        lambda case: _time_calls(models[case], inputs, protocol),
        lambda number: progress("measuring latency", number, protocol.num_rounds),
    )
    return {
        case: {MEDIAN: [median(one) for one in turns], MEAN: [sum(one) / len(one) for one in turns]}
        for case, turns in rounds.items()
    }


def _time_calls(content: bytes, inputs: np.ndarray, protocol: Protocol) -> list[float]:
    session = open_session(content)
    name = session.get_inputs()[0].name
    feeds = [{name: one[None]} for one in inputs]
    for feed in itertools.islice(itertools.cycle(feeds), protocol.num_warmup_calls):
        session.run(None, feed)
    samples = []
    for feed in itertools.islice(itertools.cycle(feeds), _num_calls(protocol, len(feeds))):
        began = time.perf_counter()
        session.run(None, feed)
        samples.append(time.perf_counter() - began)
    return samples


def _num_calls(protocol: Protocol, num_inputs: int) -> int:
    """Whole cycles through the inputs."""
    return math.ceil(protocol.num_calls / num_inputs) * num_inputs


def _row(study: Study, case: Case, content: bytes, rounds: Rounds, dense_rounds: Rounds) -> dict[str, Any]:
    # The ratio is one of like with like: means lie above medians, for every network.
    statistic = MEAN if is_deciding(content) else MEDIAN
    values, dense_values = rounds[statistic], dense_rounds[statistic]
    ratio = median_interval([one / other for one, other in zip(values, dense_values, strict=True)])
    return {
        "study": study.name,
        "kind": LATENCY,
        "arm": case.arm,
        "budget": case.budget,
        "seed": case.seed,
        "statistic": statistic,
        f"{statistic}_s": median(values),
        f"round_{statistic}s_s": list(values),
        f"dense_round_{statistic}s_s": list(dense_values),
        "ratio_to_dense": {"value": ratio.value, "low": ratio.low, "high": ratio.high},
    }
