"""Small tables for notebooks: a fragment of HTML with its style inside of it, and every text escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

_CELL = "padding: 4px 10px; border-bottom: 1px solid #88888855; text-align: "
_MAX_ROWS, _MAX_TEXT = 100, 200


def table_html(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with its title; the first column is text, the others are numbers. At most 100 rows, the rest counted."""
    rows = list(rows)
    head = "".join(_cell("th", text, at) for at, text in enumerate(columns))
    body = "".join(
        f"<tr>{''.join(_cell('td', text, at) for at, text in enumerate(row))}</tr>" for row in rows[:_MAX_ROWS]
    )
    more = f"<p>{len(rows) - _MAX_ROWS:,} more</p>" if len(rows) > _MAX_ROWS else ""
    return (
        f'<div><p style="margin: 4px 0"><b>{_text(title)}</b></p><table style="border-collapse: collapse; '
        f'font-variant-numeric: tabular-nums"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}</div>'
    )


def _cell(tag: str, text: str, at: int) -> str:
    return f'<{tag} style="{_CELL}{"right" if at else "left"}">{_text(text)}</{tag}>'


def _text(text: str) -> str:
    """On one line, with nothing in it that would turn the direction of what follows."""
    shown = "".join(char if char.isprintable() else " " for char in str(text)[:_MAX_TEXT])
    return html.escape(shown, quote=True)
