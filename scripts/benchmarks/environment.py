"""With what a row was made."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import edge_dendrite
from edge_bench.board.describe import describe_board

PACKAGES = ("torch", "numpy", "onnx", "onnxruntime", "torch-pruning")


def environment() -> dict[str, Any]:
    """Versions, processor, threads, and the sources of edge_dendrite that did the work."""
    board = describe_board()
    return {
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "cpu": board["cpu"],
        "num_cpus": board["num_cpus"],
        "num_threads": torch.get_num_threads(),
        "source": source(),
    }


def source() -> dict[str, Any]:
    """sha256 over the sources of the imported edge_dendrite, and the commit if they are those of one."""
    folder = Path(edge_dendrite.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return {"sha256": digest.hexdigest(), "commit": _commit(folder)}


def _commit(folder: Path) -> str | None:
    """None where git is missing, knows nothing of the folder, or sees changes in it."""

    def git(*arguments: str) -> str | None:
        try:
            result = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False)
        except OSError:
            return None
        return result.stdout.strip() if result.returncode == 0 else None

    return git("rev-parse", "HEAD") if git("status", "--porcelain", "--", ".") == "" else None
