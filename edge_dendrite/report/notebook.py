"""A report inside of a notebook: the whole page in a frame that can neither run nor reach anything of the notebook."""

from __future__ import annotations

import html

from edge_dendrite.report.boards import BoardsReport
from edge_dendrite.report.html import render_boards_html, render_html
from edge_dendrite.report.rows import Report

_HEIGHT = 720


def framed(report: Report | BoardsReport) -> str:
    """An <iframe> that holds the page of the report. Its sandbox lets the page's own script run, for tabs and
    tooltips, as a page without an origin: no cookies, no storage, no access to the notebook around it.
    """
    page = render_boards_html(report) if isinstance(report, BoardsReport) else render_html(report)
    title = html.escape(report.title, quote=True)
    return (
        f'<iframe sandbox="allow-scripts" title="{title}" srcdoc="{html.escape(page, quote=True)}" '
        f'style="width: 100%; height: {_HEIGHT}px; border: 1px solid #88888866; border-radius: 8px"></iframe>'
    )
