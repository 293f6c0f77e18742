"""The agent as one file, `edge-bench.pyz`: the same sources give the same bytes, wherever zlib is the same.

Comments and docstrings stay at home: a board compiles the file anew at each start, and it has to fit through a slow
link. Lines keep their numbers, so a traceback leads to the sources. `python -m edge_dendrite.ship.agent
dist/edge-bench.pyz` writes it; standard library only.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import edge_bench
from edge_bench.atomic import write_bytes

_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = b"import sys\n\nfrom edge_bench.cli import main\n\nsys.exit(main())\n"

# Texts are matched only to pass over them. As Python before 3.12 reads them: no f-string holds its own quotes.
_TEXT = r"""\"{3}(?:\\.|[^\\])*?\"{3}|'{3}(?:\\.|[^\\])*?'{3}|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""
_TEXT_OR_COMMENT = re.compile(rf"(?P<text>{_TEXT})|[ \t]*\#[^\n]*", re.DOTALL)


@functools.cache
def agent_bytes() -> bytes:
    """The content of edge-bench.pyz: sorted, with one fixed date, deflated: a third of what it is otherwise."""
    folder = Path(edge_bench.__file__).parent
    entries = {path.relative_to(folder.parent).as_posix(): bare(path.read_bytes()) for path in folder.rglob("*.py")}
    entries["__main__.py"] = _MAIN
    stream = io.BytesIO()
    stream.write(_SHEBANG)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3  # unix, also when built elsewhere
            info.external_attr = 0o644 << 16
            archive.writestr(info, entries[name])
    return stream.getvalue()


def bare(content: bytes) -> bytes:
    """Python source without comments and docstrings; every statement keeps its line.

    Docstrings are found by the parser, comments by the form of texts: a `#` inside of one stays. Where a docstring is
    all that a block has, `...` takes its place.
    """
    lines = _TEXT_OR_COMMENT.sub(_without_comment, content.decode("utf-8")).splitlines()
    for node in _statements(ast.parse(content)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) or ast.get_docstring(node) is None:
            continue
        text = node.body[0]
        assert text.end_lineno is not None
        indent = "" if len(node.body) > 1 or isinstance(node, ast.Module) else " " * text.col_offset + "..."
        lines[text.lineno - 1 : text.end_lineno] = [indent] + [""] * (text.end_lineno - text.lineno)
    return ("\n".join(lines).rstrip() + "\n").encode()


def _without_comment(found: re.Match[str]) -> str:
    return found.group() if found.group("text") else ""


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """The node and all statements in it; expressions, which hold no docstrings, are most of a tree."""
    yield node
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for child in getattr(node, name, ()):
            yield from _statements(child)


def build_agent(path: str | Path) -> str:
    """Write the agent to `path`, atomically; returns its sha256."""
    content = agent_bytes()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(str(path), content)
    path.chmod(0o755)
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    sys.stdout.write(f"{build_agent(sys.argv[1])}  {sys.argv[1]}\n")
