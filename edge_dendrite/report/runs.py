"""Runs: which measurements may enter a figure, under which conditions they were made, and why others may not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edge_bench.stats import median
from edge_dendrite.report import fields
from edge_dendrite.report.format import clean_text, plural

Measurement = Mapping[str, Any]
# Outside of these a clock was broken, or the file was not written by a clock.
_SHORTEST_S, _LONGEST_S = 1e-12, 1e8


@dataclass(frozen=True)
class Condition:
    """Board and state of a run. Two runs can be compared only when all of this is equal. None: not recorded."""

    board: str | None
    cpu: str | None
    runtime: str | None
    providers: tuple[str, ...]
    num_threads: int | None
    power_mode: str | None
    governors: tuple[str, ...]
    clock_limits: tuple[str, ...]
    online_cpus: str | None
    emulated: str | None = None

    def where(self) -> str:
        """The board by its model and processor."""
        return f"{self.board or 'board model not readable'}, {self.cpu or 'CPU model not readable'}"

    def sentence(self) -> str:
        """Board and state in one line; what could not be read is named as such."""
        threads = plural(self.num_threads, "thread") if self.num_threads else "threads not recorded"
        provider = ", ".join(self.providers) or "provider not recorded"
        governor = "governor " + (" and ".join(self.governors) or "not readable")
        mode = [f"power mode {self.power_mode}"] if self.power_mode else []
        emulated = [f"emulated by {self.emulated}: not a board's speed"] if self.emulated else []
        return ", ".join([self.where(), threads, provider, governor, *mode, *emulated])


@dataclass(frozen=True)
class Run:
    """One measurement file. `reasons` says why it enters no figure; a run without reasons enters all of them."""

    bundle_id: str
    name: str
    role: str
    started_at: str
    round: int
    status: str
    reasons: tuple[str, ...]
    condition: Condition
    num_samples: int
    median_s: float | None
    other_load: float | None
    hottest_before_c: float | None
    hottest_after_c: float | None
    max_abs_error: float | None


def read_condition(measurement: Measurement) -> Condition:
    """Board and state before the run."""
    board, backend = fields.mapping(measurement, "board"), fields.mapping(measurement, "backend")
    state = fields.mapping(measurement, "state_before")
    governors = {clean_text(value) for value in fields.mapping(state, "governors").values()}
    limits = fields.mapping(state, "cpu_clock_limits_hz")
    runtime = " ".join(filter(None, (fields.text(backend, "name"), fields.text(backend, "version"))))
    return Condition(
        board=fields.text(board, "model"),
        cpu=fields.text(board, "cpu"),
        runtime=runtime or None,
        providers=fields.texts(backend, "providers"),
        num_threads=fields.whole(backend, "num_threads"),
        power_mode=fields.text(state, "power_mode"),
        governors=tuple(sorted(governors)),
        clock_limits=tuple(sorted({_clock_range(limit) for limit in limits.values()})),
        online_cpus=fields.text(state, "online_cpus"),
        emulated=fields.text(board, "emulated"),
    )


def _clock_range(limit: object) -> str:
    ends = dict(zip(("low", "high"), limit, strict=False)) if isinstance(limit, list) else {}
    low, high = fields.number(ends, "low"), fields.number(ends, "high")
    return clean_text(limit) if low is None or high is None else f"{low / 1e6:.0f} to {high / 1e6:.0f} MHz"


def examine_runs(measurements: Sequence[Measurement]) -> list[tuple[Run, Measurement]]:
    """Each measurement with what it is worth, in the order of their start.

    The n-th run of a bundle on one board belongs to round n, whether it is valid or not, so that a run that fails
    does not shift the pairing of the later ones. Runs under other conditions than the most frequent are left out.
    """
    ordered = sorted(measurements, key=lambda measurement: str(measurement["started_at"]))
    conditions = [read_condition(measurement) for measurement in ordered]
    reasons = [_own_reasons(measurement) for measurement in ordered]
    sound = Counter(condition for condition, why in zip(conditions, reasons, strict=True) if not why)
    common = sound.most_common(1)[0][0] if sound else None
    rounds: Counter[tuple[object, ...]] = Counter()
    names = _distinct_names(ordered)
    examined: list[tuple[Run, Measurement]] = []
    for measurement, condition, why in zip(ordered, conditions, reasons, strict=True):
        series = _series(measurement, condition)
        if any(earlier == measurement for _, earlier in examined):
            why = ["the same measurement was given twice"]
        else:
            rounds[series] += 1
        if not why and common is not None and condition != common:
            why = [_other_condition(condition, common)]
        run = _describe(measurement, rounds[series], condition, why)
        examined.append((replace(run, name=names[measurement["bundle"]["id"]]), measurement))
    return examined


def _distinct_names(measurements: Sequence[Measurement]) -> dict[str, str]:
    """The name of each bundle by its id; with its role, precision or id where others are called the same."""
    bundles = {measurement["bundle"]["id"]: measurement["bundle"] for measurement in measurements}
    names = {id_: clean_text(bundle["name"]) or "unnamed" for id_, bundle in bundles.items()}
    words: list[Callable[[Measurement], str | None]] = [
        lambda bundle: clean_text(bundle["role"]),
        lambda bundle: fields.text(bundle["model"], "precision"),
        lambda bundle: clean_text(bundle["id"])[:12],
    ]
    for word in words:
        counts = Counter(names.values())
        added = {id_: word(bundle) for id_, bundle in bundles.items() if counts[names[id_]] > 1}
        # A word that all of a name share tells nothing.
        tells = {name for name in counts if len({text for id_, text in added.items() if names[id_] == name}) > 1}
        names |= {id_: f"{names[id_]} {text}" for id_, text in added.items() if text and names[id_] in tells}
    return names


def _series(measurement: Measurement, condition: Condition) -> tuple[object, ...]:
    """What repeated runs share, from what even an interrupted run records: the settings, not what they led to."""
    settings = measurement["settings"]
    asked = (fields.whole(settings, "num_threads"), fields.text(settings, "provider"))
    return (measurement["bundle"]["id"], condition.board, condition.cpu, *asked)


def _own_reasons(measurement: Measurement) -> list[str]:
    """Why this run enters no figure, looking at nothing but itself."""
    reasons = [clean_text(reason, 500) for reason in measurement["invalid"]]
    if measurement["status"] == "partial":
        reasons.insert(0, "interrupted before it was complete")
    check = fields.mapping(measurement, "check")
    if measurement["status"] == "failed" or check.get("passed") is False:
        error = fields.number(check, "max_abs_error")
        seen = "not a finite number" if error is None else f"{error:.2g}"
        reasons.insert(0, f"its outputs do not match the bundle's reference (largest error: {seen})")
    samples = fields.mapping(measurement, "latency").get("samples_s") or (1.0,)
    if min(samples) < _SHORTEST_S or max(samples) > _LONGEST_S:
        reasons.append(f"its latencies, {min(samples):.3g} to {max(samples):.3g} s, are not those of an inference")
    return reasons


def _other_condition(condition: Condition, common: Condition) -> str:
    """Names the first difference that a reader would look for."""
    for key, value in vars(condition).items():
        expected = getattr(common, key)
        if value != expected:
            what = key.replace("_", " ").replace("num ", "").replace("cpu", "CPU")
            return (
                f"made under other conditions than the rest of this report ({what}: {_shown(value)}, "
                f"elsewhere {_shown(expected)}); report it apart"
            )
    return "made under other conditions"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "not readable"
    return "not readable" if value is None else str(value)


def _describe(measurement: Measurement, number: int, condition: Condition, reasons: Sequence[str]) -> Run:
    bundle, latency = measurement["bundle"], fields.mapping(measurement, "latency")
    samples = latency.get("samples_s") or ()
    return Run(
        bundle_id=clean_text(bundle["id"]),
        name=clean_text(bundle["name"]) or "unnamed",
        role=clean_text(bundle["role"]),
        started_at=clean_text(measurement["started_at"]),
        round=number,
        status=measurement["status"],
        reasons=tuple(reasons),
        condition=condition,
        num_samples=len(samples),
        median_s=median(samples) if samples else None,
        other_load=fields.number(latency, "other_load"),
        hottest_before_c=_hottest(measurement, "state_before"),
        hottest_after_c=_hottest(measurement, "state_after"),
        max_abs_error=fields.number(fields.mapping(measurement, "check"), "max_abs_error"),
    )


def _hottest(measurement: Measurement, state: str) -> float | None:
    temperatures = fields.mapping(fields.mapping(measurement, state), "temperatures_c")
    readings = [fields.number(temperatures, name) for name in temperatures]
    return max((reading for reading in readings if reading is not None), default=None)
