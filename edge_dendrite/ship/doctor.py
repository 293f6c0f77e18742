"""What this workstation has of what edge-dendrite uses."""

from __future__ import annotations

import shutil
from typing import Any

from edge_bench.doctor.diagnose import probe_runtime

# module, what it is for, whether nothing works without it
_MODULES = (
    ("torch", "training, pruning, export", True),
    ("onnx", "export", True),
    ("onnxruntime", "parity checks, the local board", True),
    ("matplotlib", "pictures of the report", True),
    ("tensorrt", "engines for this machine's own GPU", False),
)
_PROGRAMS = (("ssh", "deploy to a board", "sudo apt-get install openssh-client"),)


def diagnose_host() -> list[dict[str, Any]]:
    """One row per part: name, works, required, state, purpose, fix. Modules are imported in a child process."""
    rows = []
    for module, purpose, required in _MODULES:
        found = probe_runtime(module, purpose, f"pip install {module}")
        state = str(found.get("version") or "works") if found["works"] else f"missing: {found['reason']}"
        fix = "-" if found["works"] or not required else "./scripts/demo makes the environment anew"
        rows.append(_row(module, found["works"], required, state, purpose, fix))
    for program, purpose, install in _PROGRAMS:
        path = shutil.which(program)
        rows.append(_row(program, path is not None, False, path or "missing", purpose, "-" if path else install))
    return rows


def _row(name: str, works: bool, required: bool, state: str, purpose: str, fix: str) -> dict[str, Any]:
    return {
        "name": name,
        "works": works,
        "required": required,
        "state": state,
        "purpose": purpose,
        "fix": fix,
    }
