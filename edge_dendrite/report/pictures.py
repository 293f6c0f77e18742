"""Which pictures a report has, in which order, and what each caption must say."""

from __future__ import annotations

from dataclasses import dataclass

from edge_dendrite.report import captions
from edge_dendrite.report import format as fmt
from edge_dendrite.report.charts.accuracy import MAX_POINTS, accuracy_against_latency, accuracy_against_size
from edge_dendrite.report.charts.draw import MAX_DRAWN
from edge_dendrite.report.charts.histogram import latency_ridges
from edge_dendrite.report.charts.latency import ecdf_limits, latency_ecdf
from edge_dendrite.report.charts.layer_time import layer_times
from edge_dendrite.report.charts.network_levels import find_levels, fold, is_chain, is_uneven, line_value
from edge_dendrite.report.charts.network_picture import network_picture
from edge_dendrite.report.charts.over_time import latency_over_time
from edge_dendrite.report.charts.power import power_traces
from edge_dendrite.report.charts.relative import relative_sizes
from edge_dendrite.report.charts.steps import MAX_STEPS, step_chart
from edge_dendrite.report.charts.training import training_curves
from edge_dendrite.report.rows import Report, Row
from edge_dendrite.roles import BASELINE, COMPRESSED

_MAX_NETWORK_PICTURES = 3
NETWORKS, LATENCY, POWER, TRAINING = "Networks", "Latency", "Power and heat", "Training"
GROUPS = (NETWORKS, LATENCY, POWER, TRAINING)


@dataclass(frozen=True)
class Picture:
    """An SVG with its heading and caption; a wide one takes the whole width of the page.

    group: what it is about, one of GROUPS; the page shows a group at a time.
    """

    group: str
    title: str
    caption: str
    svg: str
    wide: bool = False


def draw_pictures(report: Report) -> tuple[Picture, ...]:
    """All pictures that the report's data allow; one whose data are missing is left out."""
    drawn = [*_networks(report), *_accuracy(report), _relative(report), _latency(report), _ridges(report)]
    drawn += [_layers(report), _over_time(report), _power(report), _steps(report), _training(report)]
    return tuple(picture for picture in drawn if picture is not None)


def _networks(report: Report) -> list[Picture]:
    baseline = next(iter(report.with_role(BASELINE)), None)
    pictures = []
    compressed = report.with_role(COMPRESSED)[:_MAX_NETWORK_PICTURES]
    for index, row in enumerate(compressed):
        svg = network_picture(baseline, row, f"network{index}") if baseline else None
        if svg and baseline:
            title = "Before and after" if len(compressed) == 1 else f"Before and after: {row.name}"
            pictures.append(Picture(NETWORKS, title, _network_caption(baseline, row), svg, wide=True))
    return pictures


def _network_caption(baseline: Row, row: Row) -> str:
    levels = find_levels(baseline.layers, row.layers)
    old = [level.before for level in levels if level.before]
    new = [level.after for level in levels if level.after]
    text = (
        f"A block is a layer, a cell of it a unit (channel or neuron). Each line stands for about "
        f"{fmt.plural(line_value(levels), 'parameter')}, on both sides. Pale: what was removed. Which units "
        "were removed is not known here; the picture shows how many."
    )
    if any(side.branches for side in new):
        text += " Green: branches, each of which sees a part of the inputs and has a nonlinearity of its own."
    if any(side.dendrites for side in new):
        text += " Green: dendrites, which were added on the neurons' remaining errors."
    if any(side.gate is not None for side in new):
        text += " A diamond is a gate, the dashed line the way around its block for inputs that do not need it."
    if any(level.read_share < 1 for level in levels):
        text += " Lines that begin at some cells only: the layer reads no other inputs."
    if is_uneven(levels):
        text += " The width of a block goes by the square root of its units."
    if len(old) < len(fold(baseline.layers, {layer.name for layer in row.layers})):
        text += " Layers without multiplications and, in a deep network, the smallest ones are not drawn."
    if not is_chain(old):
        text += " The layers stand in the order of their definition; shortcuts and parallel paths are not drawn."
    return text


def _accuracy(report: Report) -> list[Picture]:
    """Against size and against latency; the second only where a board and its state can be named."""
    front = (
        " The dashed line is the Pareto front: networks that no other one here beats in both. Hollow points are beaten "
        "by one that costs no more and is no worse. The front takes values as they are; where bars overlap, which one "
        "is more accurate is not shown."
    )
    front += f" The first {MAX_POINTS} of {len(report.rows)} networks." if len(report.rows) > MAX_POINTS else ""
    bars = "Upright bars are 95 % Wilson intervals."
    aside = " Networks of the same size stand side by side; read sizes from the table."
    pictures = []
    if svg := accuracy_against_size(report.rows):
        pictures.append(Picture(NETWORKS, "Accuracy against size", bars + aside + front, svg))
    svg = accuracy_against_latency(report.rows)
    if svg and report.condition is not None:
        where = f" Level bars: the medians of single runs. Measured on {report.condition.sentence()}."
        pictures.append(Picture(NETWORKS, "Accuracy against latency", bars + where + front, svg))
    return pictures


def _steps(report: Report) -> Picture | None:
    svg = step_chart(report.steps)
    if svg is None:
        return None
    caption = (
        "Each line is a network: what the step left of the parameters (pale: what was there before it), and the metric "
        "on validation data, by which the steps were chosen; test data stand in the table. One seed."
    )
    tried = {name: loss for step in report.steps for name, loss in step.trials.items()}
    if tried:
        losses = sorted((loss, name) for name, loss in tried.items() if isinstance(loss, float))
        best = "; ".join(f"{fmt.squeeze(name, 60)} {loss:.4g}" for loss, name in losses[:5])
        failed = len(tried) - len(losses)
        caption += f" Candidates by their loss on validation data, best first: {best}" if losses else ""
        caption += f" and {len(losses) - 5} more" if len(losses) > 5 else ""
        caption += "." if losses else ""
        caption += (
            f" {fmt.plural(failed, 'candidate')} had no result; the JSON report has the reasons." if failed else ""
        )
    if len(report.steps) > MAX_STEPS:
        caption += f" The first {MAX_STEPS} of {len(report.steps)} steps."
    return Picture(TRAINING, "What each step gained", caption, svg, wide=True)


def _latency(report: Report) -> Picture | None:
    return latency_picture(report, "latency")


def latency_picture(report: Report, prefix: str) -> Picture | None:
    """How latencies are distributed, a line per network; a page of several boards has one of each."""
    svg = latency_ecdf(report.rows, prefix)
    if svg is None or report.condition is None:
        return None
    caption = f"All samples of the valid runs, pooled. Measured on {report.condition.sentence()}."
    slowest = max(row.latency.max_s for row in report.rows if row.latency)
    end = ecdf_limits([row for row in report.rows if row.latency][:MAX_DRAWN])[1]
    if slowest > end:
        caption += f" The axis ends at {fmt.seconds(end)}; the slowest samples lie beyond it and are named above."
    return Picture(LATENCY, "Latency distribution", caption + _not_all(report), svg)


def _ridges(report: Report) -> Picture | None:
    svg = latency_ridges(report.rows)
    return Picture(LATENCY, "Where latencies lie", captions.ridges(report) + _not_all(report), svg) if svg else None


def _over_time(report: Report) -> Picture | None:
    svg = latency_over_time(report.rows)
    return Picture(LATENCY, "Latency over time", captions.over_time(report), svg) if svg else None


def _power(report: Report) -> Picture | None:
    svg = power_traces(report.rows)
    return Picture(POWER, "Power over time", captions.power(report), svg) if svg else None


def _layers(report: Report) -> Picture | None:
    svg = layer_times(report.rows)
    if svg is None or report.condition is None:
        return None
    return Picture(LATENCY, "Time per layer", captions.layers(report), svg)


def _relative(report: Report) -> Picture | None:
    svg = relative_sizes(report.rows)
    if svg is None:
        return None
    caption = "The vertical line is the baseline. Shorter is smaller or faster."
    if report.condition is not None:
        caption += f" Latency: median over the rounds of the ratio of run medians, on {report.condition.sentence()}."
    return Picture(NETWORKS, "Relative to the baseline", caption + _not_all(report), svg)


def _training(report: Report) -> Picture | None:
    svg = training_curves(report.history)
    caption = (
        "Each stage starts at its own first epoch. Losses of distillation and of plain training are not on one scale."
    )
    return Picture(TRAINING, "Training", caption, svg) if svg else None


def _not_all(report: Report) -> str:
    return f" The first {MAX_DRAWN} of {len(report.rows)} networks." if len(report.rows) > MAX_DRAWN else ""
