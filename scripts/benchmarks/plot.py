"""Accuracy against parameters, one line per arm: drawn from the rows alone."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from edge_dendrite.report.format import count
from scripts.benchmarks.studies import (
    DENDRITIC,
    DENSE,
    DENSE_LONGER,
    EQUAL_CAPACITY,
    GATED,
    GATED_LINEAR,
    GLOBAL_L2,
    GLOBAL_TAYLOR,
    GRADUAL,
    GRADUAL_SCRATCH,
    GROWN,
    GROWN_BY_GRADIENT,
    GROWN_SCRATCH,
    NARROW,
    OURS,
    PARAMETERS,
    PERFORATED_AI,
    PLAIN_GROUPS,
    RECIPE,
    RECIPE_SCRATCH,
    REDUCED,
    REDUCED_LONGER,
    SCRATCH,
    UNIFORM_L2,
    ZEROED,
)
from scripts.benchmarks.summary import Summary, mean_and_spread

# Colours of Okabe and Ito, dark enough on white; markers differ too, for those who see no colours.
LOOKS = {
    DENSE: ("#1b1f24", "o", "-"),
    DENSE_LONGER: ("#57606a", "s", "-"),
    OURS: ("#0072b2", "o", "-"),
    GRADUAL: ("#3f9bd8", "D", "-"),
    SCRATCH: ("#c04f00", "s", "--"),
    GRADUAL_SCRATCH: ("#e08a4f", "D", "--"),
    UNIFORM_L2: ("#00805d", "^", ":"),
    GLOBAL_L2: ("#806600", "v", ":"),
    RECIPE: ("#00805d", "*", "-"),
    RECIPE_SCRATCH: ("#a84f82", "*", "--"),
    REDUCED: ("#806600", "v", ":"),
    REDUCED_LONGER: ("#c04f00", "s", "-"),
    GROWN: ("#0072b2", "o", "-"),
    GROWN_BY_GRADIENT: ("#3f9bd8", "D", "-"),
    GROWN_SCRATCH: ("#e08a4f", "D", "--"),
    ZEROED: ("#57606a", "x", ":"),
    EQUAL_CAPACITY: ("#a84f82", "P", "-"),
    PERFORATED_AI: ("#00805d", "^", ":"),
    GATED: ("#0072b2", "o", "-"),
    GATED_LINEAR: ("#c04f00", "s", "--"),
    DENDRITIC: ("#0072b2", "o", "-"),
    PLAIN_GROUPS: ("#c04f00", "s", "--"),
    NARROW: ("#806600", "v", ":"),
    GLOBAL_TAYLOR: ("#a84f82", "P", ":"),
}
# No date and no random names: the same rows give the same file.
_STYLE = {"svg.hashsalt": "edge-dendrite", "svg.fonttype": "none", "font.size": 10.0, "axes.axisbelow": True}


def accuracy_svg(summary: Summary) -> str:
    """Mean test accuracy over parameters (logarithmic); bars from the worst to the best seed."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8.0, 5.0), facecolor="white", layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        arms = list(dict.fromkeys(arm for wave in summary.study.waves for arm in wave))
        seeds = {arm: sorted({row["seed"] for row in summary.trained if row["arm"] == arm}) for arm in arms}
        differ = len({tuple(one) for one in seeds.values() if one}) > 1
        for arm in arms:
            # Means over other seeds do not compare point by point; the table has the paired differences.
            of_seeds = f" (seeds {', '.join(map(str, seeds[arm]))})" if differ else ""
            _draw(axes, summary, arm, arm + of_seeds)
        axes.set_xscale("log")
        axes.set_xticks(ticks := _ticks(summary), [count(tick) for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("Parameters")
        axes.set_ylabel("Test accuracy, %")
        axes.set_title(f"{summary.study.title}: {summary.study.model}", loc="left")
        axes.grid(color="#e1e6eb")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def _draw(axes: Any, summary: Summary, arm: str, label: str) -> None:
    points = []
    for budget in (None, *summary.study.budgets):
        if rows := summary.of(arm, budget):
            accuracies = [100 * row["test_accuracy"] for row in rows]
            size = mean_and_spread([row["num_parameters"] for row in rows])[0]
            mean = mean_and_spread(accuracies)[0]
            points.append((size, mean, mean - min(accuracies), max(accuracies) - mean))
    if not points:
        return
    colour, marker, dashes = LOOKS[arm]
    if summary.study.cut != PARAMETERS:
        dashes = "none"  # no way leads from one of these sizes to the next
    sizes, means, below, above = zip(*points, strict=True)
    look = {"color": colour, "marker": marker, "linestyle": dashes, "capsize": 3, "markersize": 6}
    axes.errorbar(sizes, means, (below, above), label=label, **look)


def _ticks(summary: Summary) -> list[int]:
    """The dense network's size and each budget's; of budgets that are no sizes, the sizes that came out."""
    sizes = [row["num_parameters"] for row in summary.trained]
    if summary.study.cut != PARAMETERS:
        return sorted({min(sizes), max(sizes)})
    return [round(max(sizes) * (1 - budget)) for budget in (0.0, *summary.study.budgets)]
