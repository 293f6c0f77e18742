"""How large is the page of a report with many samples, and how long do making and opening it take?

    scripts/benchmarks/report_page [--rounds 7] [--runs 5] [--samples 100000]

Four networks (tests/support/full_study.py: made up, with power samples and watched clocks), each run so often with so
many latency samples. Making: what of it is pooling, matplotlib's charts, and the rest of the page. Opening: headless
Chromium, from the address to the end of `load` and to the first picture on the screen, a new page each time.
Results: scripts/results/report-page.json and .md. Exits with 1 when an aim is missed.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from browsing import open_page, set_width, start_browser  # type: ignore[import-not-found]
from edge_bench.atomic import canonical_json, write_bytes
from edge_bench.board.describe import describe_board
from edge_bench.stats import median
from edge_dendrite.report.html import render_html
from edge_dendrite.report.pictures import draw_pictures
from edge_dendrite.report.rows import build_report
from full_study import make_full_study, make_history  # type: ignore[import-not-found]
from scripts.benchmarks.environment import source

RESULTS = Path(__file__).parent.parent / "results"
MAX_BYTES, MAX_OPEN_S = 2_000_000, 2.0
WIDTHS = {"desktop": 1280, "phone": 390}
TIMES = """
const [load] = performance.getEntriesByType('navigation');
const paint = performance.getEntriesByName('first-contentful-paint')[0];
return {load_s: load.loadEventEnd / 1e3, first_paint_s: paint ? paint.startTime / 1e3 : null}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="of everything that is timed; default 7")
    parser.add_argument("--runs", type=int, default=5, help="of each of the four networks; default 5")
    parser.add_argument("--samples", type=int, default=100_000, help="of each run; default 100,000")
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    study, history = make_full_study(options.runs, options.samples), make_history()
    making, page = _make(study, history, options.rounds)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.html"
        path.write_text(page, "utf-8")
        opening = {name: _open(path, width, options.rounds) for name, width in WIDTHS.items()}
    described = describe_board()
    result = {
        "num_networks": len({one["bundle"]["id"] for one in study}),
        "num_runs": len(study),
        "num_samples_per_run": options.samples,
        "num_rounds": options.rounds,
        "page_bytes": len(page.encode()),
        "num_pictures": page.count("<figure "),
        "making": making,
        "opening": opening,
        "environment": {
            "cpu": described["cpu"],
            "num_cpus": described["num_cpus"],
            "load_before": load_before,
            "load_after": os.getloadavg()[0],
            "source": source(),
        },
    }
    write_bytes(str(RESULTS / "report-page.json"), canonical_json(result))
    write_bytes(str(RESULTS / "report-page.md"), _table(result).encode())
    print(_table(result))
    missed = _missed(result)
    if missed:
        raise SystemExit(f"not reached: {', '.join(missed)}")


def _make(study: list[dict[str, Any]], history: list[dict[str, Any]], num_rounds: int) -> tuple[dict[str, Any], str]:
    """Seconds of each part, and the page."""
    times: dict[str, list[float]] = {"pooling": [], "charts": [], "whole page": []}
    page = ""
    for _ in range(num_rounds):
        began = time.perf_counter()
        report = build_report(study, title="Keyword spotting", history=history)
        pooled = time.perf_counter()
        draw_pictures(report)
        drawn = time.perf_counter()
        page = render_html(report)
        ends = (pooled - began, drawn - pooled, time.perf_counter() - drawn)
        for name, seconds in zip(times, ends, strict=True):
            times[name].append(seconds)
    return {"times_s": times, "median_s": {name: median(values) for name, values in times.items()}}, page


def _open(path: Path, width: int, num_rounds: int) -> dict[str, Any]:
    """Each load in the same browser, which has been started and has shown an empty page before."""
    with tempfile.TemporaryDirectory() as profile:
        browser = start_browser(Path(profile))
        try:
            set_width(browser, width)
            times = []
            for _ in range(num_rounds):
                open_page(browser, path.as_uri())
                # Paints are told of after the frame that they were in.
                browser.execute_async_script("requestAnimationFrame(() => setTimeout(arguments[0], 50))")
                times.append(browser.execute_script(TIMES))
        finally:
            browser.quit()
    return {
        "times": times,
        "load_s": median([one["load_s"] for one in times]),
        "first_paint_s": median([one["first_paint_s"] for one in times if one["first_paint_s"] is not None] or [0.0]),
    }


def _missed(result: dict[str, Any]) -> list[str]:
    """The aims that this result does not reach."""
    aims = {"under 2 MB": result["page_bytes"] >= MAX_BYTES}
    for name, one in result["opening"].items():
        aims[f"open in under {MAX_OPEN_S:g} s ({name})"] = max(one["load_s"], one["first_paint_s"]) >= MAX_OPEN_S
    return [name for name, is_missed in aims.items() if is_missed]


def _table(result: dict[str, Any]) -> str:
    environment, making = result["environment"], result["making"]["median_s"]
    lines = [
        f"A report's page: {result['num_networks']} networks, {result['num_runs']} runs of "
        f"{result['num_samples_per_run']:,} samples, {result['num_pictures']} pictures. Written by "
        f"`scripts/benchmarks/report_page`. {environment['cpu']}, {environment['num_cpus']} shared cores, load "
        f"{environment['load_before']:.1f} before; medians of {result['num_rounds']}.",
        "",
        "| what | measured | to reach |",
        "|---|---:|---:|",
        f"| size of the HTML file | {result['page_bytes'] / 1e6:.2f} MB | 2 MB |",
    ]
    for name, one in result["opening"].items():
        lines.append(
            f"| opened in headless Chromium, {name} ({WIDTHS[name]} px): first paint {one['first_paint_s']:.2f} s, "
            f"loaded | {one['load_s']:.2f} s | {MAX_OPEN_S:g} s |"
        )
    lines += [
        f"| pooling {result['num_runs'] * result['num_samples_per_run']:,} samples | {making['pooling']:.2f} s | |",
        f"| drawing the charts (matplotlib) | {making['charts']:.2f} s | |",
        f"| the whole page from pooled figures, charts among it | {making['whole page']:.2f} s | |",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
