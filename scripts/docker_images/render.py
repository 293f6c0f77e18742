"""What the script says: progress on stderr, the result on stdout, as a table or as JSON."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from scripts.docker_images.build import Built


class Progress:
    """A line for each step, with the time since the start."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()

    def __call__(self, step: str) -> None:
        print(f"docker-images: {time.monotonic() - self._start_s:5.0f} s  {step}", file=sys.stderr, flush=True)


def as_json(command: str, findings: list[str] | None, images: list[Built]) -> str:
    """The result for a machine."""
    result: dict[str, Any] = {"schema": "edge-dendrite.docker-images", "version": 1, "command": command}
    if findings is not None:
        result["lint"] = findings
    result["images"] = [
        {
            "name": built.recipe.name,
            "architecture": built.recipe.architecture,
            "note": built.recipe.replaced or None,
            "digests": built.digests,
            "same": built.same,
            "differences": built.differences,
            "build_s": built.build_s,
            "num_bytes": built.num_bytes,
            "num_layers": built.num_layers,
            "checks": {name: problem or None for name, problem in built.checks.items()},
            "passed": built.passed,
        }
        for built in images
    ]
    return json.dumps(result, indent=2)


def as_text(findings: list[str] | None, images: list[Built]) -> str:
    """The result for a person."""
    lines = []
    if findings is not None:
        lines += [f"hadolint: {one}" for one in findings] or ["hadolint: nothing to say"]
    for built in images:
        times = ", ".join(f"{one:.0f} s" for one in built.build_s)
        lines.append(
            f"{built.recipe.name:<11} {built.digests[0][:19]}  {built.num_bytes / 1e6:7.1f} MB in {built.num_layers}"
            f" layers, built in {times}: {'same digest' if built.same else 'DIGESTS DIFFER'}"
        )
        lines += [f"  differs {one}" for one in built.differences]
        lines += [
            f"  {'failed' if problem else 'ok':<7} {name}{_after(problem)}" for name, problem in built.checks.items()
        ]
        if built.recipe.replaced:
            lines.append(f"  note    {built.recipe.replaced}")
    return "\n".join(lines)


def _after(problem: str) -> str:
    return f": {problem}" if problem else ""
