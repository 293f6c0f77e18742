"""What a comparison found, apart from how it is shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edge_dendrite.report.comparison.figures import Figure
from edge_dendrite.report.comparison.judging import Judgement
from edge_dendrite.report.comparison.thresholds import Thresholds
from edge_dendrite.report.format import plural

SCHEMA = "edge-dendrite.comparison"
VERSION = 1
CONFIDENCE = 0.95


@dataclass(frozen=True)
class SideSummary:
    """What was compared: the network, its files, and the state of the board at their start."""

    name: str
    role: str
    id: str
    files: tuple[str, ...]
    num_samples: tuple[int, ...]
    board_state: str
    started_at: str


@dataclass(frozen=True)
class Compared:
    """One network on one board. `judgements` stand beside `figures`, None where there is no threshold. `outputs` is a
    judgement where the new runs computed something wrong.
    """

    side: str
    board: str
    network: str
    baseline: SideSummary
    new: SideSummary
    refused: bool
    forced: bool
    reasons: tuple[str, ...]
    caveats: tuple[str, ...]
    figures: tuple[Figure, ...]
    judgements: tuple[Judgement | None, ...]
    outputs: Judgement | None = None

    def verdicts(self) -> list[str]:
        """Those that count."""
        found = [*self.judgements, self.outputs]
        return [judgement.verdict for judgement in found if judgement is not None and judgement.counts]


@dataclass(frozen=True)
class Missing:
    """A board, network or state of one side only."""

    side: str
    what: str
    reason: str
    blocks: bool


@dataclass(frozen=True)
class ComparisonReport:
    """All comparisons, and what had no counterpart. `verdict` is None where no threshold was given."""

    verdict: str | None
    thresholds: Thresholds
    baseline: str
    sides: tuple[str, ...]
    comparisons: tuple[Compared, ...]
    missing: tuple[Missing, ...]
    left_out: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether something was compared, nothing was refused, and each comparison has a figure of both sides."""
        figures_of_each = [[figure.difference is not None for figure in one.figures] for one in self.comparisons]
        return bool(figures_of_each) and all(map(any, figures_of_each))

    def judged(self) -> list[tuple[Compared, Figure, Judgement]]:
        """Every figure that has a threshold."""
        return [
            (one, figure, judgement)
            for one in self.comparisons
            for figure, judgement in zip(one.figures, one.judgements, strict=True)
            if judgement is not None
        ]

    def notes(self) -> list[str]:
        """What has to be known of all figures: what a value of several runs is, and how often chance makes one."""
        num_runs = [len(side.files) for one in self.comparisons for side in (one.baseline, one.new)]
        pooled = "of several runs a value here is the mean of theirs, where a report pools their samples"
        return [text for text in (pooled if max(num_runs, default=1) > 1 else "", self.chance()) if text]

    def chance(self) -> str:
        """How often figures differ by chance, for as many as there are here."""
        intervals = [figure for one in self.comparisons for figure in one.figures if _is_uncertain(figure)]
        if not intervals:
            return ""
        text = (
            f"{plural(len(intervals), 'figure')} with a 95 % interval, each by itself: where nothing changed, one in 20"
        )
        if self.verdict is None:
            return f"{text} is called different by chance"
        return (
            f"{text} is called different by chance. REGRESSION is corrected for their number (Holm): at most 2.5 % of "
            "comparisons without any regression have one. PASS needs no correction, as all figures have to pass"
        )

    def _repr_markdown_(self) -> str:
        """In a notebook."""
        from edge_dendrite.report.comparison.markdown import render_markdown

        return render_markdown(self)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; SI units, shares for accuracies and thresholds."""
        return {
            "schema": SCHEMA,
            "version": VERSION,
            "verdict": self.verdict,
            "confidence": CONFIDENCE,
            "thresholds": self.thresholds.to_dict(),
            "baseline": self.baseline,
            "new": list(self.sides),
            "num_judged": sum(judgement.counts for _, _, judgement in self.judged()),
            "note": "; ".join(self.notes()),
            "comparisons": [_compared_dict(one) for one in self.comparisons],
            "unmatched": [asdict(one) for one in self.missing],
            "left_out": list(self.left_out),
        }


def _is_uncertain(figure: Figure) -> bool:
    return figure.difference_interval is not None and not figure.is_exact


def _compared_dict(one: Compared) -> dict[str, Any]:
    return {
        "side": one.side,
        "board": one.board,
        "network": one.network,
        "baseline": asdict(one.baseline),
        "new": asdict(one.new),
        "refused": one.refused,
        "forced": one.forced,
        "reasons": list(one.reasons),
        "caveats": list(one.caveats),
        "outputs": None if one.outputs is None else asdict(one.outputs),
        "figures": [
            _figure_dict(figure, judgement) for figure, judgement in zip(one.figures, one.judgements, strict=True)
        ],
    }


def _figure_dict(figure: Figure, judgement: Judgement | None) -> dict[str, Any]:
    """One line of JSON; a ratio or bound that is not there is null."""
    intervals = {"difference": figure.difference_interval, "ratio": figure.ratio_interval}
    bounds = {
        f"{name}_{end}": None if interval is None else interval[place]
        for name, interval in intervals.items()
        for place, end in enumerate(("low", "high"))
    }
    return {
        "figure": figure.kind.key,
        "label": figure.kind.label,
        "unit": figure.kind.unit,
        "baseline": figure.baseline,
        "new": figure.new,
        "difference": figure.difference,
        "ratio": figure.ratio,
        **bounds,
        "covers_runs": figure.covers_runs,
        "exact": figure.is_exact,
        "outcome": figure.outcome,
        "reason": figure.reason,
        "threshold": None if judgement is None else judgement.limit,
        "verdict": None if judgement is None else judgement.verdict,
        "verdict_reason": None if judgement is None else judgement.reason,
        "counts": judgement is not None and judgement.counts,
    }
