"""Which pictures a report has, in which order, and what each caption must say."""

from __future__ import annotations

from dataclasses import dataclass

from edge_dendrite.report import captions
from edge_dendrite.report import format as fmt
from edge_dendrite.report.charts import network_picture
from edge_dendrite.report.charts.accuracy import accuracy_against_size
from edge_dendrite.report.charts.draw import MAX_DRAWN
from edge_dendrite.report.charts.histogram import latency_ridges
from edge_dendrite.report.charts.latency import ecdf_limits, latency_ecdf
from edge_dendrite.report.charts.over_time import latency_over_time
from edge_dendrite.report.charts.power import power_traces
from edge_dendrite.report.charts.relative import relative_sizes
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
    drawn = [*_networks(report), _accuracy(report), _latency(report), _relative(report), _training(report)]
    drawn += [_ridges(report), _over_time(report), _power(report)]
    return tuple(picture for picture in drawn if picture is not None)


def _networks(report: Report) -> list[Picture]:
    baseline = next(iter(report.with_role(BASELINE)), None)
    pictures = []
    compressed = report.with_role(COMPRESSED)[:_MAX_NETWORK_PICTURES]
    for index, row in enumerate(compressed):
        svg = network_picture.network_picture(baseline, row, f"network{index}") if baseline else None
        if svg and baseline:
            title = "Before and after" if len(compressed) == 1 else f"Before and after: {row.name}"
            pictures.append(Picture(NETWORKS, title, _network_caption(baseline, row), svg, wide=True))
    return pictures


def _network_caption(baseline: Row, row: Row) -> str:
    before, after = network_picture.drawn_layers(baseline), network_picture.drawn_layers(row)
    levels = network_picture.merge_layers(before, after)
    value = network_picture.line_value(levels)
    text = (
        f"A block is a layer, a cell of it a unit (channel or neuron). Each line stands for about "
        f"{fmt.plural(value, 'parameter')}, on both sides. Pale: what was removed. Which units were removed is not "
        "known here; the picture shows how many."
    )
    if network_picture.is_uneven(levels):
        text += " The width of a block goes by the square root of its units."
    if len(before) < sum(1 for layer in baseline.layers if layer.num_units):
        text += " Layers without multiplications and, in a deep network, the smallest ones are not drawn."
    if not network_picture.is_chain(before):
        text += " The layers stand in the order of their definition; shortcuts and parallel paths are not drawn."
    return text


def _accuracy(report: Report) -> Picture | None:
    svg = accuracy_against_size(report.rows)
    caption = (
        "Bars are 95 % Wilson intervals. Networks of the same size stand side by side; read sizes from the table."
        + _not_all(report)
    )
    return Picture(NETWORKS, "Accuracy against size", caption, svg) if svg else None


def _latency(report: Report) -> Picture | None:
    svg = latency_ecdf(report.rows)
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
