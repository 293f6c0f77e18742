"""What the captions of the pictures of measured series must say: what was sampled when, and what is not drawn."""

from __future__ import annotations

from collections.abc import Sequence

from edge_dendrite.report import format as fmt
from edge_dendrite.report.charts.layer_time import profiled_rows
from edge_dendrite.report.charts.over_time import drawn_over_time, watched
from edge_dendrite.report.charts.power import drawn_power
from edge_dendrite.report.layer_times import LayerTimes
from edge_dendrite.report.power_series import PowerTrace
from edge_dendrite.report.rows import Report, Row

# Of a clock that steps by more than this share of the longest bar a step shows.
_COARSE = 0.02


def ridges(report: Report) -> str:
    """Of the ridges of latency."""
    return (
        "Where the samples of all valid runs lie, in bins of a fixed width on a logarithmic axis. The height of a "
        "ridge goes by its own fullest bin: compare places and shapes, not heights. Lines: median, p90, p99; an arrow "
        f"at the edge: it lies beyond the axis.{_measured_on(report)}"
    )


def over_time(report: Report) -> str:
    """Of latency over time: no sampler runs in the latency phase, so the rest is from the phase behind it."""
    text = (
        "Each run in its column, in the order of their start. Line: median of a bin of time; band: p10 to p90; thin "
        "line: the slowest, which the axis may cut; a gap: one inference took that long. Each panel has its own scale, "
        "which does not begin at zero. Shaded runs enter no figure. "
    )
    if watched(report.rows):
        text += (
            "While latency was timed nothing was sampled beside it. Temperature and clocks are from the phase of the "
            "same load that followed (the energy phase, where power was measured); the marks beside it are the hottest "
            "sensor before (open) and after (filled) the whole run. Shaded there: a busy processor ran below the clock "
            "that it was pinned to; bar along the top: a throttling counter rose during the run."
        )
    else:
        text += "Temperature and clocks could not be read on this board, or were not watched."
    return text + _measured_on(report) + _not_drawn(drawn_over_time(report.rows), report)


def power(report: Report) -> str:
    """Of the power traces: where the watts came from."""
    drawn = drawn_power(report.rows)
    sources = list(dict.fromkeys(_source(power) for _, _, power in drawn))
    text = (
        "One run of each network, the one in the middle by its energy. Line: mean of a bin; band: lowest to highest "
        "reading. Grey: idle window, and between the dotted lines the energy window; dashed: their mean power. "
        f"Source: {'; '.join(sources[:2])}{' and others' if len(sources) > 2 else ''}."
    )
    if any(power.source == "command" for _, _, power in drawn):
        text += " A program gave these watts: whether it measured them, replayed or made them up is not known here."
    if any(power.is_counter for _, _, power in drawn):
        text += " Of a counter of energy the power is that between two readings at which it moved."
    return text + _measured_on(report) + _not_drawn([row for row, _, _ in drawn], report)


def layers(report: Report) -> str:
    """Of the layers: that it was profiled, what that costs, and what of the latency is in no layer."""
    profiled = [(row.name, row.layer_times) for row in profiled_rows(report.rows) if row.layer_times is not None]
    sources = " and ".join(dict.fromkeys(source for _, times in profiled for source in times.sources))
    ratios = [times.latency_ratio for _, times in profiled if times.latency_ratio is not None]
    slower = f": {max(ratios):.1f} times as long as without" if ratios and max(ratios) > 1 else ""
    text = (
        f"Profiled by {sources}, apart from the runs that latency and energy are from, since it takes longer{slower}. "
        "Read which layers take the most, not how long the network takes. "
    )
    text += " ".join(_account(name, times) for name, times in profiled)
    num_short = sum(times.num_short + times.num_left_out for _, times in profiled)
    steps = [times.resolution_s for _, times in profiled if times.resolution_s]
    longest = max(layer.time_s for _, times in profiled for layer in times.layers)
    if steps and max(steps) > _COARSE * longest:
        text += f" The profiler's clock steps by {fmt.tick_seconds(max(steps))}: a difference of a step says nothing."
    if num_short:
        text += f" Not drawn: {fmt.plural(num_short, 'part')} too short for the profiler's clock."
    return text + _measured_on(report)


def _account(name: str, times: LayerTimes) -> str:
    # Of single runs, not of all samples pooled, which is another figure.
    share, whole = times.unattributed_share, f"a run's {times.compared_with} ({fmt.seconds(times.compared_s)})"
    if share < 0:
        return (
            f"{name}: the layers take {fmt.percent(-share)} more than {whole}, so each part looks longer than it is, "
            f"by {fmt.tick_seconds(times.excess_s)} or more on average."
        )
    return f"{name}: {fmt.percent(share)} of {whole} is in no layer."


def _measured_on(report: Report) -> str:
    return f" Measured on {report.condition.sentence()}." if report.condition else ""


def _source(trace: PowerTrace) -> str:
    rails, scope = ", ".join(trace.rails) or "rails not recorded", trace.scope or "scope not recorded"
    if trace.source == "command":
        return f"the program {trace.program or 'of a user'} ({scope})"
    return f"{trace.source or 'not recorded'}, {rails} ({scope})"


def _not_drawn(drawn: Sequence[Row], report: Report) -> str:
    """That fewer networks are drawn than there are, and what of their series made no sense."""
    text = f" {len(drawn)} of {len(report.rows)} networks." if len(drawn) < len(report.rows) else ""
    reasons = list(dict.fromkeys(reason for row in drawn for run in row.traces.runs for reason in run.dropped))
    more = f"; and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return text + (f" Not drawn: {'; '.join(reasons[:3])}{more}." if reasons else "")
