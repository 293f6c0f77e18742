"""Where the results of `edge-bench classify` go: a live view, lines of text or JSON, and a file."""

import argparse
import contextlib
import json
import os
import shutil
import sys
import time
from typing import Any, Callable, Dict, Optional, TextIO

from edge_bench import __version__, render
from edge_bench.commands import output
from edge_bench.errors import EdgeBenchError
from edge_bench.images.classifier import Classifier, Result
from edge_bench.images.source import Item
from edge_bench.images.tally import Tally
from edge_bench.images.view import View, parts_of
from edge_bench.measure.source import Source

SCHEMA = "edge-dendrite.classification"
VERSION = 1
# Drawing takes time from the next image; nobody reads faster.
_DRAW_EVERY_S = 0.1
_HIDE_CURSOR, _SHOW_CURSOR, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[?25l", "\x1b[?25h", "\x1b[K", "\x1b[J"


class Results:
    """Takes each result as it comes. As a context: the terminal and the file are left in order, whatever happens.

    num_dropped: gives the frames of a camera that nobody looked at; None for other sources. error: what ended it.
    """

    def __init__(self, given: argparse.Namespace, source: Source, classifier: Classifier, tally: Tally):
        self.num_dropped: Callable[[], Optional[int]] = lambda: None
        self.error: Optional[str] = None
        self._as_json = given.json
        self._classifier = classifier
        self._tally = tally
        self._source = source
        backend = classifier.backend
        self._backend = {
            "name": backend.name,
            "version": backend.version,
            "providers": backend.providers,
            "num_threads": backend.num_threads,
        }
        is_live = not given.json and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        title = "edge-bench  %s  %s" % (source.summary["name"], self._runtime())
        self._view = View(title, classifier.label, tally, not given.no_preview) if is_live else None
        self._num_drawn = 0
        self._drawn_s = 0.0
        self._last: Optional[Result] = None
        self._file = self._open_file(given.save, source.path) if given.save else None
        self._path = given.save

    def __enter__(self) -> "Results":
        if self._view:
            output.write_text(_HIDE_CURSOR)
        return self

    def __exit__(self, *_error: Any) -> None:
        try:
            if self._view:
                output.write_text(_SHOW_CURSOR)
        finally:
            self._close_file()

    def add(self, result: Result) -> None:
        """Show it."""
        self._last = result
        if self._as_json or self._file:
            self._write_json(self._record(result))
        if self._view:
            if time.perf_counter() - self._drawn_s >= _DRAW_EVERY_S:
                self._draw(result)
        elif not self._as_json:
            output.write_text(render.to_ascii(self._line(result)) + "\n")

    def add_failure(self, item: Item, error: Exception) -> None:
        """Say which image could not be read, and why."""
        if self._as_json or self._file:
            self._write_json({"kind": "failure", "image": item.name, "error": str(error)})
        self.note("skipped: %s" % error)

    def note(self, text: str) -> None:
        """Say it on stderr; the view goes on under it."""
        self._num_drawn = 0
        output.say(text)

    def finish(self, more: Dict[str, Any]) -> None:
        """Show the summary, with what else belongs to it."""
        summary = {
            "kind": "summary",
            "schema": SCHEMA,
            "version": VERSION,
            "bundle": {"id": self._source.summary["id"], "name": self._source.summary["name"]},
            "agent": {"version": __version__, "python": sys.version.split()[0]},
            "backend": self._backend,
            "check": self._classifier.check,
            "error": self.error,
        }  # type: Dict[str, Any]
        summary.update(self._tally.summary(self.num_dropped()))
        summary.update(more)
        if self._as_json or self._file:
            self._write_json(summary)
        if self._view and self._last and not self.error:
            self._draw(self._last)
        if not self._as_json:
            output.write_text(render_summary(summary) + "\n")

    def _record(self, result: Result) -> Dict[str, Any]:
        label = self._classifier.label
        record = {
            "kind": "image",
            "image": result.name,
            "label": label(result.top[0][0]),
            "confidence": result.top[0][1],
            "top": [{"class": number, "label": label(number), "confidence": share} for number, share in result.top],
            "missed": self._tally.has_missed(result) if self._tally.deadline_s is not None else None,
            "true_label": None if result.truth is None else label(result.truth),
            "correct": result.is_correct,
        }  # type: Dict[str, Any]
        record.update(result.times_s)
        return record

    def _line(self, result: Result) -> str:
        label = self._classifier.label
        tops = ", ".join("%s %.1f %%" % (label(number), 100 * share) for number, share in result.top)
        total = render.format_seconds(result.times_s["total_s"])
        line = "%s: %s  %s (%s)" % (result.name, tops, total, ", ".join(parts_of(result.times_s)))
        if self._tally.has_missed(result):
            line += "  MISSED the deadline"
        if result.truth is not None:
            line += "  correct" if result.is_correct else "  WRONG: " + label(result.truth)
        return line

    def _draw(self, result: Result) -> None:
        assert self._view is not None
        size = shutil.get_terminal_size()
        lines = self._view.draw(result, self.num_dropped(), size.columns, size.lines)
        back = "\x1b[%dA\r" % self._num_drawn if self._num_drawn else ""
        output.write_text(back + "".join(line + _CLEAR_LINE + "\n" for line in lines) + _CLEAR_BELOW)
        self._num_drawn = len(lines)
        self._drawn_s = time.perf_counter()

    def _write_json(self, record: Dict[str, Any]) -> None:
        text = json.dumps(record, sort_keys=True) + "\n"
        if self._file:
            try:
                self._file.write(text)
                self._file.flush()  # what is there after a crash is whole lines
            except OSError as error:
                self._close_file()  # the summary would fail like this line
                raise EdgeBenchError(
                    "cannot write %s (%s); make room or give another path with --save" % (self._path, error.strerror)
                ) from error
        if self._as_json:
            output.write_text(text)

    def _close_file(self) -> None:
        file, self._file = self._file, None
        if file:
            with contextlib.suppress(OSError):  # of a full disk: said already, and closed all the same
                file.close()

    def _runtime(self) -> str:
        names = (self._backend["name"], self._backend["version"], ", ".join(self._classifier.backend.providers))
        return "%s %s, %s" % names

    def _open_file(self, path: str, bundle: str) -> TextIO:
        output.refuse_inside("--save", path, bundle)
        try:
            if os.path.isfile(path) and os.path.getsize(path):
                with open(path, "rb") as stream:
                    if not stream.read(9).startswith(b"{"):
                        raise EdgeBenchError("--save %s: a file of another kind is there; give another path" % path)
            return open(path, "w", encoding="utf-8")  # noqa: SIM115 - closed at the end of the context
        except OSError as error:
            raise EdgeBenchError(
                "cannot write %s (%s); give another path with --save" % (path, error.strerror)
            ) from error


def render_summary(summary: Dict[str, Any]) -> str:
    """The summary for a person."""
    rows = [("images", "%d classified, %d could not be read" % (summary["num_images"], summary["num_failed"]))]
    if summary["num_dropped"] is not None:
        rows.append(("dropped", "%d older frames, for the newest" % summary["num_dropped"]))
    if summary["num_images"]:
        rows.append(("rate", "%.1f images/s over %s" % (summary["images_per_s"], _time(summary["elapsed_s"]))))
    if summary["num_late"]:
        rows.append(("late", "%d images did not come at the rate that --fps asked for" % summary["num_late"]))
    for name, title in (
        ("total", "latency"),
        ("decode", "decode"),
        ("preprocess", "preprocess"),
        ("inference", "inference"),
    ):
        if name in summary["times"]:
            rows.append((title, _times_line(summary["times"][name])))
    if summary["deadline_s"] is not None and summary["num_images"]:
        missed = "%d of %d (%.2f %%)" % (summary["num_missed"], summary["num_images"], 100 * summary["miss_ratio"])
        rows.append(("deadline", "%s, missed by %s" % (_time(summary["deadline_s"]), missed)))
    if summary["accuracy"] is not None:
        counts = (100 * summary["accuracy"], summary["num_correct"], summary["num_labelled"])
        rows.append(("accuracy", "%.2f %% (%d of %d)" % counts))
    backend = summary["backend"]
    runtime = "%s %s, %s" % (backend["name"], backend["version"], ", ".join(backend["providers"]))
    if backend["num_threads"] is not None:
        runtime += ", %d thread(s)" % backend["num_threads"]
    rows.append(("runtime", runtime + ", outputs match the reference"))
    rows.append(("board", _board_line(summary["board"], summary["state_after"])))
    if summary["interrupted"]:
        rows.append(("interrupted", "these are the images until then"))
    lines = ["%-12s %s" % row for row in rows] + ["CHANGED      %s" % change for change in summary["invalid"]]
    return "\n".join(render.to_ascii(line) for line in lines)


def _time(seconds: Optional[float]) -> str:
    return render.format_seconds(seconds)


def _times_line(times: Dict[str, Any]) -> str:
    parts = [("median", "median_s"), ("p90", "p90_s"), ("p99", "p99_s"), ("max", "max_s")]
    return ", ".join("%s %s" % (title, _time(times[key])) for title, key in parts)


def _board_line(board: Dict[str, Any], state: Dict[str, Any]) -> str:
    names = (board["model"] or "unknown model", board["cpu"] or "unknown CPU", render.state_line(state))
    return "%s, %s, %s" % names
