"""Latency of several files beside each other on this machine: ONNX Runtime, batch 1, one thread."""

from __future__ import annotations

import gc
import itertools
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edge_bench.stats import median
from edge_dendrite.export.session import open_session
from edge_dendrite.paired import Interval, median_interval
from edge_dendrite.progress import Progress, silent

_NUM_ROUNDS = 11
_NUM_INPUTS = 64
Name = TypeVar("Name")
Measured = TypeVar("Measured")


@dataclass(frozen=True)
class Latency:
    """median_s: over rounds. ratio: to the first file, round by round, with its 95 % interval."""

    median_s: float
    ratio: Interval


@dataclass(frozen=True)
class Timing:
    """own_share: processor time over elapsed time; well below 1 where other programs were in the way."""

    latencies: dict[str, Latency]
    own_share: float
    num_rounds: int


def compare_latency(
    files: Mapping[str, bytes], inputs: np.ndarray, seconds_each: float, progress: Progress = silent
) -> Timing:
    """Time files on `inputs` (n, ...) for `seconds_each`, in rounds in which each has its turn, with a new session.

    Where the memory of a session happens to lie makes a few percent, which would else stay the same in all rounds.
    """
    inputs = inputs[:_NUM_INPUTS]
    began, own = time.perf_counter(), time.process_time()
    rounds = in_turns(
        list(files),
        _NUM_ROUNDS,
        lambda name: _turn(files[name], inputs, seconds_each / _NUM_ROUNDS),
        lambda number: progress("timing precisions", number, _NUM_ROUNDS),
    )
    share = (time.process_time() - own) / (time.perf_counter() - began)
    first = rounds[next(iter(files))]
    latencies = {
        name: Latency(median(values), median_interval([one / other for one, other in zip(values, first, strict=True)]))
        for name, values in rounds.items()
    }
    return Timing(latencies, min(1.0, share), _NUM_ROUNDS)


def in_turns(
    names: Sequence[Name], num_rounds: int, turn: Callable[[Name], Measured], done: Callable[[int], None]
) -> dict[Name, list[Measured]]:
    """What each one's turn gives in each round: every round in a new order (of a fixed seed), no garbage collected.

    done: gets the number of rounds that are done, 0 before the first.
    """
    rounds: dict[Name, list[Measured]] = {name: [] for name in names}
    order, shuffle = list(names), random.Random(0)
    gc.collect()
    gc.disable()
    try:
        for number in range(num_rounds):
            done(number)
            shuffle.shuffle(order)
            for name in order:
                rounds[name].append(turn(name))
    finally:
        gc.enable()
    done(num_rounds)
    return rounds


def _turn(content: bytes, inputs: np.ndarray, seconds: float) -> float:
    """Median seconds of a call, after a tenth of the time to warm up; at least one call of each kind."""
    session = open_session(content)
    name = session.get_inputs()[0].name
    feeds = itertools.cycle([{name: one[None]} for one in inputs])
    _calls(session, feeds, seconds / 10)
    return median(_calls(session, feeds, seconds))


def _calls(session: object, feeds: object, seconds: float) -> list[float]:
    samples: list[float] = []
    end = time.perf_counter() + seconds
    while not samples or time.perf_counter() < end:
        feed = next(feeds)  # type: ignore[call-overload]
        before = time.perf_counter()
        session.run(None, feed)  # type: ignore[attr-defined]
        samples.append(time.perf_counter() - before)
    return samples
