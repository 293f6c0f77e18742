"""What people see on a terminal: progress and messages on stderr, tables on stdout."""

from __future__ import annotations

import contextlib
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from edge_dendrite.report.format import compact_count, count, file_size, joules, percent, rate, seconds
from edge_dendrite.report.rows import Report, Row

if TYPE_CHECKING:
    from edge_dendrite.compress.comparison import Comparison
    from edge_dendrite.compress.plan import Plan
    from edge_dendrite.paired import Interval

# A state dict that does not fit is told by torch in hundreds of names.
_MAX_LINE = 1500
# The table of a report: what each part of it shows, and from how many columns of a terminal on all fit into one.
_SIZES = ("accuracy", "parameters", "non-zero", "MACs", "ONNX")
_TIMES = ("median", "p90", "p99", "throughput")
_USES = ("peak memory", "gross energy", "net energy")
_WIDE = 160
_MAX_KEPT = 20
_AGENT_PROGRESS = re.compile(r"edge-bench: (?P<phase>[a-z ]+?) +(?P<percent>\d+) %$")


class _DoneColumn(MofNCompleteColumn):
    """So many of so many; of a file that is copied, in bytes."""

    def render(self, task: Task) -> Text:
        """The cell of a task."""
        if not task.description.startswith("copying "):
            return super().render(task)
        return Text(f"{file_size(int(task.completed))} of {file_size(int(task.total or 0))}")


class TerminalProgress:
    """Bars on a terminal; elsewhere a line when a piece of work begins. Implements edge_dendrite.progress.Progress."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, emoji=False)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _DoneColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._prints = contextlib.ExitStack()
        self._tasks: dict[str, TaskID] = {}
        self._agent_task: TaskID | None = None
        self._measuring = ""

    def __enter__(self) -> TerminalProgress:
        # A network that prints must not print into our results, which a program may read as JSON.
        self._prints.enter_context(contextlib.redirect_stdout(sys.stderr))
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        self._prints.close()

    def __call__(self, description: str, done: int, total: int, /) -> None:
        if description not in self._tasks:
            self._tasks[description] = self._bars.add_task(description, total=total)
            if not self._console.is_terminal:
                self._console.print(f"{description} ...", markup=False)
        self._bars.update(self._tasks[description], completed=done, total=total)

    def agent_line(self, line: str) -> None:
        """A line of the agent's stderr, or of ours about it: its progress becomes a bar, the rest is shown."""
        progress = agent_progress(line)
        if progress:
            self._show_agent(f"{self._measuring}: {progress[0]}", progress[1])
        elif line.startswith("measuring ") and self._console.is_terminal:
            self._measuring = line.partition(", on ")[0]
        else:
            self._console.print(line, markup=False, soft_wrap=True)

    def _show_agent(self, description: str, percent_done: int) -> None:
        """One bar for all runs of the agent: a demo makes a dozen of them."""
        if self._agent_task is None:
            self._agent_task = self._bars.add_task(description, total=100)
        self._bars.update(self._agent_task, description=description, completed=percent_done)


def agent_progress(line: str) -> tuple[str, int] | None:
    """Phase and percentage, where a line of the agent says only how far it is."""
    found = _AGENT_PROGRESS.match(line)
    return (found["phase"], int(found["percent"])) if found else None


def say(message: str) -> None:
    """One line for people, on stderr; what steers a terminal, or breaks the line, is taken out."""
    line = "".join(char if char.isprintable() else "?" for char in " ".join(message.split()))
    Console(stderr=True, highlight=False, emoji=False, soft_wrap=True).print(line[:_MAX_LINE], markup=False)


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], num_text_columns: int = 1) -> None:
    """A table on stdout; all but the first columns are right-aligned numbers."""
    table = Table(title=Text(title), title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < num_text_columns else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    # Wide enough for every column when stdout is a file.
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 160).print(table)


def print_plan(plan: Plan) -> None:
    """The layers of a plan: units before and after, the share of their score that goes, what it saves."""
    rows = [
        [
            one.layer,
            f"{one.before:,}",
            f"{one.after:,}",
            f"{one.removed_score / one.total_score:.2%}" if one.total_score else "-",
            f"{one.parameters_saved:,}",
            f"{one.macs_saved:,}",
        ]
        for one in plan.layers
    ]
    columns = ["layer", "units before", "after", "score removed", "parameters saved*", "MACs saved*"]
    print_table("plan (* by this layer alone; cuts of neighbours overlap)", columns, rows)


def print_kept(kept: Mapping[str, str]) -> None:
    """The first layers that stay whole, with the reason, and how many more there are."""
    if not kept:
        return
    rows = list(kept.items())
    print_table("layers that stay whole", ["layer", "reason"], rows[:_MAX_KEPT], num_text_columns=2)
    if len(rows) > _MAX_KEPT:
        say(f"and {len(rows) - _MAX_KEPT} more layers that stay whole; --json names all")


def print_report(report: Report) -> None:
    """The rows of a report: on a wide terminal in one table, else sizes, times and the rest below each other."""
    roles = Counter(row.role for row in report.rows)
    names = [row.role.removeprefix("control:") if roles[row.role] == 1 else row.name for row in report.rows]
    rows = [(name, _sizes(row), _times(row), _uses(row)) for name, row in zip(names, report.rows, strict=True)]
    where = report.condition.sentence() if report.condition else "no run was valid"
    if _width() >= _WIDE:
        cells = [[name, *sizes, *times, *uses] for name, sizes, times, uses in rows]
        print_table(report.title, ["network", *_SIZES, *_TIMES, *_USES], cells)
    else:
        for title, columns, part in ((report.title, _SIZES, 1), ("latency", _TIMES, 2), ("memory, energy", _USES, 3)):
            cells = [[row[0], *row[part]] for row in rows]
            print_table(title, ["network", *columns], cells)
    say(f"measured on {where}" if report.condition else where)
    reasons = dict.fromkeys(row.missing["energy"] for row in report.rows if "energy" in row.missing)
    for reason in list(reasons)[:3]:
        say(f"no energy: {reason}")
    left_out = report.left_out()
    if left_out:
        # One reason of each kind: twelve runs on a busy machine differ in the figure only.
        kinds = {re.sub(r"[0-9.]+", "", reason): reason for run in left_out for reason in run.reasons}
        say(f"{len(left_out)} of {len(report.runs)} runs were left out: {'; '.join(kinds.values())}")
        say("the same command measures runs that are not valid again")


def _width() -> int:
    """Columns to print in; a file has room for all."""
    return Console(file=sys.stdout).width if sys.stdout.isatty() else _WIDE


def _sizes(row: Row) -> list[str]:
    accuracy = row.accuracy
    nonzero = "-" if row.num_nonzero is None else compact_count(row.num_nonzero)
    return [
        "-" if accuracy is None else percent(accuracy.value, 2) if accuracy.interval else f"{accuracy.value:.4g}",
        "-" if row.num_parameters is None else count(row.num_parameters),
        "all" if row.num_nonzero is not None and row.num_nonzero == row.num_parameters else nonzero,
        "-" if row.num_macs is None else compact_count(row.num_macs),
        "-" if row.onnx_bytes is None else file_size(row.onnx_bytes),
    ]


def _times(row: Row) -> list[str]:
    latency = row.latency
    if latency is None:
        return ["-"] * len(_TIMES)
    known = [seconds(value) if value is not None else "-" for value in (latency.median_s, latency.p90_s, latency.p99_s)]
    return [*known, rate(latency.throughput_per_s)]


def _uses(row: Row) -> list[str]:
    memory = "-" if row.peak_memory_bytes is None else file_size(row.peak_memory_bytes)
    if row.energy is None:
        return [memory, "-", "-"]
    return [memory, joules(row.energy.gross_j), joules(row.energy.net_j)]


def print_precisions(measured: Mapping[str, Any], metric: str) -> None:
    """Each precision as it was measured, the layers that stay in float, and the recommendation in words."""
    rows = []
    for one in measured["table"]:
        ratio, drop = one["ratio_to_fp32"], one["drop_points"]
        bounds = "" if not ratio or ratio["low"] is None else f" ({ratio['low']:.2f} to {ratio['high']:.2f})"
        rows.append(
            [
                one["precision"] + (" (written)" if one["precision"] == measured["written"] else ""),
                "-" if one["metric"] is None else f"{one['metric']:.4f}",
                "-" if drop is None else f"{drop:.2f}",
                "-" if one["num_bytes"] is None else file_size(one["num_bytes"]),
                "-" if one["median_s"] is None else seconds(one["median_s"]),
                "-" if not ratio else f"{ratio['value']:.2f}{bounds}",
            ]
        )
    columns = ["precision", f"validation {metric}", "points lost", "file", "median here", "time over fp32 (95 %)"]
    print_table("precisions", columns, rows)
    for one in measured["table"]:
        layers = one.get("sweep", {}).get("sensitivities", [])
        kept = one.get("sweep", {}).get("kept_float", [])
        if layers:
            cells = [
                [
                    row["layer"],
                    f"{row['drop_points']:.3g}",
                    f"{row['output_error']:.3g}",
                    "float" if row["layer"] in kept else one["precision"],
                ]
                for row in layers
            ]
            print_table(
                "layers alone in int8, worst first", ["layer", "points lost", "output error", "in the file"], cells
            )
        if one.get("left_in_float"):
            left = ", ".join(f"{number} {kind}" for kind, number in one["left_in_float"].items())
            say(f"nodes that stay in float in {one['precision']}: {left}")
    for sentence in measured["words"]:
        say(sentence)


def print_steps(steps: Sequence[Mapping[str, Any]], metric: str) -> None:
    """What each step of the recipe did and gained, and the candidates that were tried."""
    rows = []
    before: float | None = None
    for one in steps:
        gain = "-" if before is None else f"{one['metric'] - before:+.4f}"
        rows.append([one["method"], f"{one['num_parameters']:,}", f"{one['epochs']:.3g}", f"{one['metric']:.4f}", gain])
        before = one["metric"]
    print_table("what each step gained", ["step", "parameters", "epochs", f"validation {metric}", "gained"], rows)
    trials = {method: value for one in steps for method, value in one["trials"].items()}
    tried = sorted((loss, method) for method, loss in trials.items() if isinstance(loss, float))
    if tried:
        words = [[method, f"{loss:.4f}"] for loss, method in tried]
        print_table("trials, best first", ["candidate", "loss on validation data"], words)
    for method, reason in trials.items():
        if isinstance(reason, str):
            say(f"without a result: {method}: {reason}")


def print_comparison(comparison: Comparison) -> None:
    """The networks on test data, and the compressed ones against each of the others."""
    roles = list(dict.fromkeys(one.role for one in comparison.tested))
    of_role = {role: [one for one in comparison.tested if one.role == role] for role in roles}
    rows = [
        [
            role,
            str(len(found)),
            _range([one.num_parameters for one in found]),
            f"{fmean(one.metric for one in found):.4f}",
            f"{stdev(one.metric for one in found):.4f}" if len(found) > 1 else "-",
        ]
        for role, found in of_role.items()
    ]
    print_table("test data", ["network", "seeds", "parameters", comparison.metric, "spread"], rows)
    against = [
        [
            one.role,
            f"{one.difference.value:+.4f}",
            _bounds(one.difference),
            one.words,
            ", ".join(f"{test.p_value:.2g}" for test in one.tests) or "-",
        ]
        for one in comparison.against
    ]
    columns = ["compressed against", "difference", "95 % interval", "", "McNemar's p by seed"]
    print_table("what was gained", columns, against)


def _range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _bounds(interval: Interval) -> str:
    if interval.low is None or interval.high is None:
        return "none from these seeds"
    return f"{interval.low:+.4f} to {interval.high:+.4f}"
