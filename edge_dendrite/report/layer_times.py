"""How long each layer of a network takes, pooled over its valid runs: the parts that a profiler timed, by layer.

A profiler times the nodes that a runtime made of the file's. Nodes that torch's exporter named after their module
('/layer1/layer1.0/conv1/Conv') are counted to that layer of the model, as far as the names tell; all others keep
their own names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_bench.stats import median
from edge_dendrite.report import fields
from edge_dendrite.report.pool import Examined, Layer

_MAX_ENTRIES = 2000


@dataclass(frozen=True)
class LayerTime:
    """A layer of the model, or a part of the network that no layer is known for.

    kinds: the operators in it. parts: what the profiler calls them. time_s: of an inference, median over the runs.
    """

    name: str
    kinds: tuple[str, ...]
    parts: tuple[str, ...]
    time_s: float


@dataclass(frozen=True)
class LayerTimes:
    """`layers` in the order of running. A part that took less than a step of the clock counts to `num_short`.

    compared_with says what compared_s is: the figure of the same runs, not profiled, that sum_s is held against.
    unattributed_share: what of it is in no layer; negative where the profiled layers take longer than all of it.
    latency_ratio: so many times longer a profiled inference took, where that is known. num_parts: that were timed.
    """

    layers: tuple[LayerTime, ...]
    num_runs: int
    num_inferences: int
    sum_s: float
    compared_s: float
    compared_with: str
    unattributed_share: float
    latency_ratio: float | None
    num_parts: int
    num_short: int
    resolution_s: float | None
    num_left_out: int
    sources: tuple[str, ...]

    @property
    def excess_s(self) -> float:
        """So much longer than it is does a part look, on average and at least; 0 where that does not show.

        All parts together cannot take longer than the inference that they are parts of.
        """
        return max(0.0, (self.sum_s - self.compared_s) / max(1, self.num_parts))


def pool_layer_times(valid: Examined, layers: Sequence[Layer]) -> LayerTimes | None:
    """None when no valid run profiled its layers."""
    records = [fields.mapping(measurement, "layers") for _, measurement in valid]
    records = [record for record in records if _is_whole(record)]
    if not records:
        return None
    names = {layer.name for layer in layers}
    found: dict[str, LayerTime] = {}
    num_short = 0
    parts_found = _times_by_part(records)
    num_left_out = max(fields.whole(record, "num_left_out") or 0 for record in records)
    for key, times_s in parts_found.items():
        time_s = median(times_s + [0.0] * (len(records) - len(times_s)))
        if time_s <= 0:
            num_short += 1
            continue
        name, parts, kind = key
        label = module_of(parts, names) or " + ".join(part.lstrip("/") for part in parts) or name
        before = found.get(label, LayerTime(label, (), (), 0.0))
        shown = " + ".join(parts) or name
        found[label] = LayerTime(
            label,
            tuple(dict.fromkeys((*before.kinds, *([kind] if kind else [])))),
            (*before.parts, shown),
            before.time_s + time_s,
        )
    return LayerTimes(
        layers=tuple(found.values()),
        num_runs=len(records),
        num_inferences=sum(fields.whole(record, "num_inferences") or 0 for record in records),
        sum_s=_median_of(records, "sum_s") or 0.0,
        compared_s=_median_of(records, "compared_s") or 0.0,
        compared_with=fields.text(records[0], "compared_with") or "median latency",
        unattributed_share=_median_of(records, "unattributed_share") or 0.0,
        latency_ratio=_median_of(records, "latency_ratio_while_profiling"),
        num_parts=len(parts_found) + num_left_out,
        num_short=num_short,
        resolution_s=fields.number(records[0], "resolution_s"),
        num_left_out=num_left_out,
        sources=tuple(dict.fromkeys(fields.text(record, "source") or "unknown" for record in records)),
    )


def _is_whole(record: Mapping[str, Any]) -> bool:
    compared_s = fields.number(record, "compared_s")
    return isinstance(record.get("entries"), list) and compared_s is not None and compared_s > 0


_Part = tuple[str, tuple[str, ...], str | None]


def _times_by_part(records: Sequence[Mapping[str, Any]]) -> dict[_Part, list[float]]:
    """By (name, nodes of the file, operator) the time of each run that has it; of equal parts of a run the sum."""
    times: dict[_Part, list[float]] = {}
    for record in records:
        own: dict[_Part, float] = {}
        for entry in record["entries"][:_MAX_ENTRIES]:
            entry = entry if isinstance(entry, Mapping) else {}
            name, time_s = fields.text(entry, "name"), fields.number(entry, "time_s") or 0.0
            if name is not None and 0 <= time_s < 1e8:
                part = (name, fields.texts(entry, "nodes"), fields.text(entry, "kind"))
                own[part] = own.get(part, 0.0) + time_s
        for part, time_s in own.items():
            times.setdefault(part, []).append(time_s)
    return times


def _median_of(records: Sequence[Mapping[str, Any]], key: str) -> float | None:
    values = [value for value in (fields.number(record, key) for record in records) if value is not None]
    return median(values) if values else None


def module_of(nodes: Sequence[str], layers: Collection[str]) -> str:
    """The layers, joined by ' + ', that the names of these nodes tell; empty where they tell none."""
    found = (_module_path(node) for node in nodes)
    return " + ".join(dict.fromkeys(path for path in found if path in layers))


def _module_path(node: str) -> str:
    """'layer1.0.conv1' of '/layer1/layer1.0/conv1/Conv': each scope of a sequence repeats the name before it."""
    path: list[str] = []
    for scope in node.strip("/").split("/")[:-1]:
        if path and scope.startswith(f"{path[-1]}."):
            path.pop()
        path.append(scope)
    return ".".join(path)
