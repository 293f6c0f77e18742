"""What people see while a fleet works: on a terminal a line for each board, elsewhere lines with its name first."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from edge_dendrite.report.format import shorten
from edge_dendrite.ship.fleet_file import RUNNING, BoardResult
from edge_dendrite.terminal import agent_progress

# One line a board: what does not fit is in the table at the end.
_MAX_WORDS = 60


class FleetProgress:
    """A context manager; `line` and `state` may be called from any thread."""

    def __init__(self, names: Sequence[str]) -> None:
        self._console = Console(stderr=True, highlight=False, emoji=False)
        self._bars = Progress(
            TextColumn("{task.fields[board]}", markup=False),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        width = max(len(name) for name in names)
        add = self._bars.add_task
        self._tasks = {name: add("waiting", start=False, total=100, board=f"{name:{width}}") for name in names}
        self._latest: dict[str, BoardResult] = {}
        self._lock = threading.Lock()
        self._prints = contextlib.ExitStack()

    def __enter__(self) -> FleetProgress:
        self._prints.enter_context(contextlib.redirect_stdout(sys.stderr))
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """The lines stay as they are, and stdout is free for results."""
        self._bars.stop()
        self._prints.close()

    def results(self, unknown: Sequence[BoardResult]) -> list[BoardResult]:
        """The latest of each board, and what is given for those that were never heard of."""
        with self._lock:
            return [self._latest.get(result.name, result) for result in unknown]

    def state(self, result: BoardResult) -> None:
        """A board began, or is done."""
        with self._lock:
            self._latest[result.name] = result
        if result.state == RUNNING:
            self._bars.start_task(self._tasks[result.name])
            return
        words = f"{result.state}: {result.short_reason}" if result.reason else result.state
        self._bars.update(self._tasks[result.name], completed=100, description=shorten(words, _MAX_WORDS))
        self._bars.stop_task(self._tasks[result.name])
        if not self._console.is_terminal:
            self._print(f"{result.name}: {words}")

    def line(self, name: str, line: str) -> None:
        """A line of a board's work; without a name one that is of all."""
        progress = agent_progress(line)
        if name and self._console.is_terminal:
            words, percent = progress or (line.partition(", on ")[0], 0)
            self._bars.update(self._tasks[name], completed=percent, description=shorten(words, _MAX_WORDS))
        elif not progress:  # how far each of many boards is would bury what happens to them
            self._print(f"{name}: {line}" if name else line)

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)
