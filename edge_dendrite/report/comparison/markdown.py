"""A comparison as Markdown, made for the summary of a job on GitHub."""

from __future__ import annotations

from edge_dendrite.report.comparison.judging import INCONCLUSIVE, NOT_MEASURED, PASS, REGRESSION
from edge_dendrite.report.comparison.result import Compared, ComparisonReport
from edge_dendrite.report.comparison.words import COLUMNS, cells, headline, runs_line, why
from edge_dendrite.report.format import typographic
from edge_dendrite.report.markdown import escape

# A summary of a step holds 1 MiB; beyond that GitHub shows none of it.
MAX_BYTES = 1_000_000
_SIGNS = {REGRESSION: "\u274c", INCONCLUSIVE: "\u26a0\ufe0f", NOT_MEASURED: "\u26a0\ufe0f", PASS: "\u2705"}


def render_markdown(report: ComparisonReport, max_bytes: int = MAX_BYTES) -> str:
    """Headline, what failed, a table for each network on each board, and folded states and runs."""
    parts = [_head(report), *map(_comparison, report.comparisons), _tail(report)]
    size = sum(len(part.encode("utf-8")) + 1 for part in parts)
    if size > max_bytes:
        parts = _shortened(report, parts, max_bytes)
    return "\n".join(parts).rstrip() + "\n"


def _head(report: ComparisonReport) -> str:
    lines = [f"## {_sign(report.verdict)}{_text(headline(report))}", ""]
    lines += [f"Baseline: {_text(report.baseline)}. New: {_text('; '.join(report.sides))}.", ""]
    failed = [
        f"- {_sign(judgement.verdict)}**{judgement.verdict}** {_text(one.board)}, {_text(one.network)}: "
        f"{_text(figure.kind.label)}: {_text(judgement.reason)}"
        for one, figure, judgement in report.judged()
        if judgement.verdict == REGRESSION
    ]
    failed += [
        f"- {_sign(REGRESSION)}**{REGRESSION}** {_text(one.board)}, {_text(one.network)}: {_text(one.outputs.reason)}"
        for one in report.comparisons
        if one.outputs is not None
    ]
    failed += [f"- {_sign(INCONCLUSIVE)}{_text(f'{one.what}: {one.reason}')}" for one in report.missing if one.blocks]
    return "\n".join([*lines, *failed, ""] if failed else lines)


def _comparison(one: Compared) -> str:
    lines = [f"### {_text(one.board)}: {_text(one.network)}", ""]
    label = "Refused" if one.refused else "Forced, though not comparable"
    lines += [f"**{label}:** {_text('; '.join(one.reasons))}", ""] if one.reasons else []
    if not one.refused:
        lines += [f"| {' | '.join(COLUMNS)} |", f"| --- |{' ---: |' * (len(COLUMNS) - 2)} --- |"]
        for figure, judgement in zip(one.figures, one.judgements, strict=True):
            *texts, verdict = cells(figure, judgement)
            sign = "" if judgement is None else _sign(judgement.verdict)
            lines.append(f"| {' | '.join(map(_text, texts))} | {sign}{_text(verdict)} |")
    reasons = [
        (figure.kind.label, why(figure, judgement))
        for figure, judgement in zip(one.figures, one.judgements, strict=True)
    ]
    lines += ["", "<details>", "<summary>Board state, runs and reasons</summary>", ""]
    for name, side in (("Baseline", one.baseline), ("New", one.new)):
        lines.append(
            f"- {name}: {_text(side.name)} ({_text(side.role)}), id {_text(side.id[:12])}, {_text(side.board_state)}"
        )
        lines.append(f"- {name}, {_text(runs_line(side.files, side.num_samples))}")
    if not one.refused:
        lines += [f"- {_text(label)}: {_text(text)}" for label, text in reasons if text]
    lines += [f"- {_text(text)}" for text in one.caveats]
    return "\n".join([*lines, "", "</details>", ""])


def _tail(report: ComparisonReport) -> str:
    lines = [f"- Left out: {_text(text)}" for text in report.left_out]
    lines += [f"- {_text(f'{one.what}: {one.reason}')}" for one in report.missing if not one.blocks]
    return "\n".join([*lines, *(f"\n{_text(note)}." for note in report.notes()), ""])


def _shortened(report: ComparisonReport, parts: list[str], max_bytes: int) -> list[str]:
    """What did not pass first, as much as fits; what is left out is said."""
    head = parts[0].encode("utf-8")[: max_bytes // 2].decode("utf-8", "ignore")
    tail = parts[-1].encode("utf-8")[: max_bytes // 4].decode("utf-8", "ignore")
    order = sorted(
        range(len(report.comparisons)), key=lambda place: set(report.comparisons[place].verdicts()) <= {PASS}
    )
    room = max_bytes - len(head.encode("utf-8")) - len(tail.encode("utf-8")) - 200
    kept = []
    for place in order:
        room -= len(parts[1 + place].encode("utf-8")) + 1
        if room < 0:
            break
        kept.append(parts[1 + place])
    left = len(order) - len(kept)
    return [head, *kept, f"{left:,} comparisons do not fit into a summary: see the JUnit file or `--json`.", tail]


def _sign(verdict: str | None) -> str:
    return f"{_SIGNS[verdict]} " if verdict is not None else ""


def _text(text: str) -> str:
    return escape(typographic(text))
