"""System parts that tests use, and where they are on this machine."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

from scripts.virtual_board.host import missing_parts
from scripts.virtual_board.host import which as host_program

ROOT = Path(__file__).parent.parent.parent
AGENT_PYTHONS = ("3.8", "3.10", "3.12", "3.13")
ARM_EMULATOR = "ARM emulator"
MOUNT_NAMESPACES = "mount namespaces"
PARTS = (
    "sshd",
    "fish",
    "tcsh",
    "chromium",
    "python3.6 + onnxruntime 1.10",
    *(f"python{version}" for version in AGENT_PYTHONS),
    ARM_EMULATOR,
    MOUNT_NAMESPACES,
)


@functools.cache
def find_part(part: str) -> Path | None:
    """The program behind a part, or None when it is missing or does not run."""
    if part == "sshd":
        # Not on the PATH of ordinary users.
        found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        return Path(found) if found and shutil.which("ssh") and shutil.which("ssh-keygen") else None
    if part in ("fish", "tcsh"):  # login shells that are no POSIX shells
        shell = shutil.which(part)
        return Path(shell) if shell else None
    if part == "chromium":
        found = shutil.which("chromium")
        return Path(found) if found and shutil.which("chromedriver") else None
    if part.startswith("python3.6"):
        python = ROOT / ".venv36" / "bin" / "python"
        return python if python.exists() else None
    if part == ARM_EMULATOR:
        return None if missing_parts() else Path(host_program("qemu-aarch64-static") or "/")
    if part == MOUNT_NAMESPACES:
        unshare = shutil.which("unshare")
        can = unshare is not None and subprocess.run([unshare, "--mount", "true"], capture_output=True).returncode == 0
        return Path(unshare) if unshare and can else None
    return _find_python(part.removeprefix("python"))


def why_missing(part: str) -> str:
    """Why a part that is missing cannot be used, and what to do."""
    if part == ARM_EMULATOR:
        return "; ".join(missing_parts())
    if part == MOUNT_NAMESPACES:
        return "mounts of its own: this takes root, and a kernel or container that allows them"
    return f"{part} is not on this machine (README: what the tests use)"


def _find_python(version: str) -> Path | None:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))]
    for candidate in filter(None, candidates):
        # pyenv's shims exist for versions that are not chosen, so it has to run to count.
        program = "import sys; print('%d.%d' % sys.version_info[:2])"
        result = subprocess.run([candidate, "-c", program], capture_output=True, text=True, check=False)
        if result.stdout.strip() == version:
            return Path(candidate)
    return None
