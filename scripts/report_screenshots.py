"""Pictures of report pages, to be looked at: `python -m scripts.report_screenshots FOLDER [--html PAGE ...]`.

Each page at 390 and 1280 pixels, light and dark: what the window shows at first, then the whole with each of its tabs.
Without --html the pages are those of tests/support/full_study.py: one board, two boards.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from browsing import (  # type: ignore[import-not-found]
    complaints,
    missing_program,
    open_page,
    screenshot,
    set_media,
    set_width,
    start_browser,
)
from edge_dendrite.report.boards import build_boards_report
from edge_dendrite.report.html import render_boards_html, render_html
from edge_dendrite.report.rows import build_report
from full_study import make_full_study, make_history  # type: ignore[import-not-found]

WIDTHS = (390, 1280)
THEMES = ("light", "dark")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--html", type=Path, nargs="+", default=[], help="pages to take instead of made-up ones")
    options = parser.parse_args()
    if missing_program():
        raise SystemExit(f"{missing_program()}: install chromium and chromium-driver")
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        pages = [path.resolve() for path in options.html] or make_pages(Path(name))
        browser = start_browser(Path(name) / "profile")
        try:
            for path in pages:
                for width in WIDTHS:
                    for theme in THEMES:
                        take(browser, path, width, theme, options.folder)
        finally:
            browser.quit()


def make_pages(folder: Path) -> list[Path]:
    """The page of one board with a run left out, and that of two boards."""
    study = make_full_study()
    study[3]["invalid"] = ["throttled during the run: cooling device fan went from 0 to 1; cool it"]
    provenance = {"edge-dendrite": "0.1.0", "seed": "0"}
    report = build_report(study, title="Keyword spotting", history=make_history(), provenance=provenance)
    groups = {board: make_full_study(3, board=board) for board in ("Testboard 2", "Testboard 3")}
    boards = build_boards_report(groups, title="Keyword spotting on two boards")
    paths = [folder / "report.html", folder / "boards.html"]
    paths[0].write_text(render_html(report), "utf-8")
    paths[1].write_text(render_boards_html(boards), "utf-8")
    return paths


def take(browser: Any, path: Path, width: int, theme: str, folder: Path) -> None:
    """The pictures of a page at one width in one theme; what the console says is printed."""
    set_width(browser, width)
    set_media(browser, theme)
    open_page(browser, path.as_uri())
    stem = f"{path.stem}-{width}-{theme}"
    files = [folder / f"{stem}.png"]
    screenshot(browser, files[0], whole=False)
    panels = [one.get_attribute("aria-controls") for one in browser.find_elements("css selector", "[role=tab]")]
    for panel in panels or [""]:
        open_page(browser, f"{path.as_uri()}#{panel}")
        files.append(folder / f"{stem}-{panel or 'whole'}.png")
        screenshot(browser, files[-1])
    print(*files, *complaints(browser), sep="\n")


if __name__ == "__main__":
    main()
