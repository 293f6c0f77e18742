"""hadolint on every Dockerfile."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.docker_images.errors import CannotRun, ImageError
from scripts.docker_images.recipes import DOCKER


def find_hadolint() -> Path | None:
    """The program beside this Python (it is among the project's dev packages), else on the PATH."""
    beside = Path(sys.executable).with_name("hadolint")
    found = str(beside) if beside.exists() else shutil.which("hadolint")
    return Path(found) if found else None


def lint() -> list[str]:
    """What hadolint has to say, a line each; empty where it is content. Raises CannotRun without it."""
    program = find_hadolint()
    if program is None:
        raise CannotRun("hadolint was not found; install the project's dev packages: ./scripts/environment dev")
    files = sorted(map(str, DOCKER.glob("*.Dockerfile")))
    command = [str(program), "--no-fail", "--format", "json", "--config", str(DOCKER / ".hadolint.yaml"), *files]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    try:
        findings: list[dict[str, Any]] = json.loads(result.stdout)
    except ValueError as error:
        raise ImageError(f"hadolint ended with {result.returncode}: {result.stderr.strip()[:500]}") from error
    return [f"docker/{Path(one['file']).name}:{one['line']} {one['code']}: {one['message']}" for one in findings]
