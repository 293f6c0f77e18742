"""The agent as one file, `edge-bench.pyz`: the same sources give the same bytes on every machine.

`python -m edge_dendrite.ship.agent dist/edge-bench.pyz` writes it; standard library only.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from pathlib import Path

import edge_bench
from edge_bench.atomic import write_bytes

_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = b"import sys\n\nfrom edge_bench.cli import main\n\nsys.exit(main())\n"


def agent_bytes() -> bytes:
    """The content of edge-bench.pyz: stored, not deflated (zlib versions differ), sorted, with one fixed date."""
    folder = Path(edge_bench.__file__).parent
    entries = {path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in folder.rglob("*.py")}
    entries["__main__.py"] = _MAIN
    stream = io.BytesIO()
    stream.write(_SHEBANG)
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_STORED) as archive:
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # unix, also when built elsewhere
            info.external_attr = 0o644 << 16
            archive.writestr(info, entries[name])
    return stream.getvalue()


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
