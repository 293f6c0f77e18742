"""Two sides, one or several runs each: what differs, by how much, and whether the runs can tell."""

import re
from typing import Any, Callable, Dict, List, Tuple

from edge_bench import stats
from edge_bench.verdict import figures, records
from edge_bench.verdict.fingerprint import differences, power_scope

Record = Dict[str, Any]
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
# Half of a 95 % interval is so many standard errors.
_ERRORS = 1.96

UNDECIDED, MISSING, NOT_COMPARABLE = "not distinguishable", "not measured", "not comparable"


class Side:
    """The runs of one network."""

    def __init__(self, paths: List[str], runs: List[Record]):
        self.paths = paths
        self.runs = runs

    def engines(self) -> List[str]:
        """The hashes of the TensorRT engines that ran, each once; none of other runtimes."""
        found = [records.part(run, "backend").get("engine_sha256") for run in self.runs]
        return sorted({digest for digest in found if digest})

    def to_dict(self) -> Dict[str, Any]:
        bundle = self.runs[0]["bundle"]
        return {
            "files": self.paths,
            "name": bundle["name"],
            "role": bundle["role"],
            "id": bundle["id"],
            "board_state": records.state_line(self.runs[0]),
            "num_samples": [len(records.samples_of(run)) for run in self.runs],
            "engines": self.engines(),
        }


def compare(a: Side, b: Side, force: bool) -> Dict[str, Any]:
    """Side b against side a as a JSON-able dict; without `force` refused where the runs are not comparable."""
    impossible, reasons = _impossible(a) + _impossible(b) + _on_both_sides(a, b), _doubts(a) + _doubts(b)
    reasons += differences(a.runs + b.runs, a.paths + b.paths)
    refused = bool(impossible or (reasons and not force))
    rows = [] if refused else _rows(a, b)
    return {
        "a": a.to_dict(),
        "b": b.to_dict(),
        "refused": refused,
        "forced": bool(reasons) and not refused,
        "reasons": impossible + reasons,
        "caveats": [] if refused else _caveats(a, b),
        "rows": rows,
    }


def _impossible(side: Side) -> List[str]:
    """What --force does not help against."""
    found = []
    if len({run["bundle"]["id"] for run in side.runs}) > 1:
        found.append("%s: runs of different bundles cannot be one side" % ", ".join(side.paths))
    for number, run in enumerate(side.runs):
        for earlier in range(number):
            if _is_same_run(side.runs[earlier], run):
                found.append("%s and %s are the same run" % (side.paths[earlier], side.paths[number]))
    return found


def _on_both_sides(a: Side, b: Side) -> List[str]:
    """Of one run nothing can differ, and the interval would say how surely it does not."""
    return [
        "%s and %s are the same run, on both sides; measure again for the other one" % (path_a, path_b)
        for path_a, run_a in zip(a.paths, a.runs)
        for path_b, run_b in zip(b.paths, b.runs)
        if _is_same_run(run_a, run_b)
    ]


def _is_same_run(one: Record, other: Record) -> bool:
    if one.get("run_id") is not None and one.get("run_id") == other.get("run_id"):
        return True
    samples = records.samples_of(one)
    return bool(samples) and samples == records.samples_of(other)


def _doubts(side: Side) -> List[str]:
    # Outputs that were not checked are a caveat only: a bare model brings nothing to check them with.
    return ["%s: %s" % (path, doubt) for path, run in zip(side.paths, side.runs) for doubt in records.doubts(run)]


def _caveats(a: Side, b: Side) -> List[str]:
    found = []
    if min(len(a.runs), len(b.runs)) == 1:
        found.append(
            "a side has one run: the intervals cover what varies within a run, not what differs from run to run; "
            "measure several runs a side, in the order A B B A"
        )
    starts_a, starts_b = ([run["started_at"] for run in side.runs] for side in (a, b))
    apart = max(starts_a) < min(starts_b) or max(starts_b) < min(starts_a)
    if apart and all(_TIME.match(start) for start in starts_a + starts_b):
        found.append(
            "all runs of one side precede all of the other: a drift of the board (heat, clocks) and a difference "
            "cannot be told apart; measure in the order A B B A"
        )
    for name, side in (("A", a), ("B", b)):
        if len(side.engines()) > 1:
            found.append(
                "side %s ran %d TensorRT engines of one network (%s): each build may choose other kernels, so that is "
                "part of what varies between its runs" % (name, len(side.engines()), _short_hashes(side.engines()))
            )
    if a.runs[0]["bundle"]["id"] == b.runs[0]["bundle"]["id"] and a.engines() != b.engines():
        texts = tuple(_short_hashes(side.engines()) or "none" for side in (a, b))
        found.append("both sides are one network; A ran the engine %s, B the engine %s" % texts)
    for side in (a, b):
        for path, run in zip(side.paths, side.runs):
            if records.outputs_unchecked(run):
                found.append("%s: the outputs were not checked against a reference" % path)
    return found


def _short_hashes(digests: List[str]) -> str:
    return ", ".join(digest[:12] for digest in digests)


def _rows(a: Side, b: Side) -> List[Dict[str, Any]]:
    times, amounts = ("faster", "slower"), ("less", "more")
    return [
        _row("latency median", "s", times, a, b, lambda run, _: stats.Samples(_samples(run))),
        _row("latency p99", "s", times, a, b, lambda run, _: stats.Samples(_samples(run), 99.0)),
        _energy_row("gross", amounts, a, b),
        _energy_row("net", amounts, a, b),
        _row("peak memory", "bytes", amounts, a, b, lambda run, alone: _single(figures.memory(run), alone)),
    ]


def _samples(run: Record) -> Any:
    samples = records.samples_of(run)
    if not samples:
        raise ValueError(records.why_missing(run, "latency"))
    return samples


def _single(figure: figures.Figure, alone: bool) -> stats.Single:
    """A run that gave one value. Several runs show how it scatters; alone it is as uncertain as its interval says,
    and 5 % where it has none.
    """
    if figure.value is None or figure.low is None or figure.high is None:
        raise ValueError(figure.missing)
    if not alone:
        return stats.Single(figure.value)
    reach = max(
        figure.high - figure.low, 2 * figures.ASSUMED_SHARE * abs(figure.value) if figure.low == figure.high else 0
    )
    return stats.Single(figure.value, reach / 2 / _ERRORS)


def _energy_row(kind: str, words: Tuple[str, str], a: Side, b: Side) -> Dict[str, Any]:
    label = "%s energy" % kind
    scopes = sorted({scope for scope in map(power_scope, a.runs + b.runs) if scope is not None})
    if len(scopes) > 1:
        return dict(_empty(label, "J", NOT_COMPARABLE), reason="the scopes differ: %s" % " against ".join(scopes))
    row = _row(label, "J", words, a, b, lambda run, alone: _single(figures.energy(run, kind), alone))
    if scopes and row["difference"] is not None:
        row["reason"] = "; ".join(text for text in ("per inference, %s" % scopes[0], row["reason"]) if text)
    return row


def _row(
    label: str, unit: str, words: Tuple[str, str], a: Side, b: Side, read: Callable[[Record, bool], stats.Run]
) -> Dict[str, Any]:
    """One figure of both sides; `read` gives a run's value, or raises ValueError where there is none."""
    sides = []  # type: List[List[stats.Run]]
    for side in (a, b):
        runs = []
        for path, run in zip(side.paths, side.runs):
            try:
                runs.append(read(run, len(side.runs) == 1))
            except ValueError as error:
                return dict(_empty(label, unit, MISSING), reason="%s: %s" % (path, error))
        sides.append(runs)
    found = stats.compare_sides(sides[0], sides[1])
    interval = found.ratio_interval or stats.Interval(None, None)
    verdict = UNDECIDED if found.sign == 0 else words[0] if found.sign < 0 else words[1]
    row = _empty(label, unit, verdict)
    row.update(
        a=found.a,
        b=found.b,
        difference=found.difference,
        difference_low=found.difference_interval.low,
        difference_high=found.difference_interval.high,
        ratio=found.ratio,
        ratio_low=interval.low,
        ratio_high=interval.high,
        covers_runs=found.covers_runs,
        freedom=found.freedom,
    )
    return row


def _empty(label: str, unit: str, verdict: str) -> Dict[str, Any]:
    row = {"label": label, "unit": unit, "verdict": verdict, "reason": "", "covers_runs": False}  # type: Dict[str, Any]
    keys = ("a", "b", "difference", "difference_low", "difference_high", "ratio", "ratio_low", "ratio_high", "freedom")
    row.update(dict.fromkeys(keys))
    return row
