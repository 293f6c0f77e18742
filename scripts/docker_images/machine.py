"""What this machine has to have; without it the script says so in one line and ends with a code of its own."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

from scripts.docker_images.errors import CannotRun

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_PACKAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "apt-get": "apt"}
SUITE = "bookworm"


def require_builder() -> None:
    """Raises CannotRun unless images can be built here."""
    if platform.machine() != "x86_64":
        raise CannotRun(f"this machine is {platform.machine()}; bases are made for builds on x86_64")
    if os.geteuid() != 0:
        raise CannotRun(
            "not root; making bases and running inside of images needs it: sudo ./scripts/docker-images ..."
        )
    missing = [package for program, package in _PACKAGES.items() if shutil.which(program) is None]
    if missing:
        raise CannotRun(
            f"{', '.join(missing)} not installed: apt-get install --no-install-recommends {' '.join(missing)}"
        )


def require_emulation() -> None:
    """Raises CannotRun unless programs of 64-bit ARM run here; mounts binfmt_misc and enables qemu if it can."""
    advice = "apt-get install --no-install-recommends qemu-user-static binfmt-support"
    if not (_BINFMT / "register").exists():
        _quietly("mount", "-t", "binfmt_misc", "binfmt_misc", str(_BINFMT))
    if not (_BINFMT / "qemu-aarch64").exists():
        _quietly("update-binfmts", "--enable", "qemu-aarch64")
    entry = _BINFMT / "qemu-aarch64"
    if not entry.exists():
        raise CannotRun(f"programs of aarch64 do not run here (no binfmt handler); {advice}")
    # F: the kernel holds the interpreter open, so it need not be inside of the images.
    if not any(line.startswith("flags:") and "F" in line for line in entry.read_text("utf-8").splitlines()):
        raise CannotRun(f"the binfmt handler of aarch64 lacks the flag F, which images need; {advice}")


def mirror() -> str:
    """Where this machine's apt finds the suite of the bases. Raises CannotRun."""
    command = ["apt-get", "indextargets", "--format", "$(SITE)|$(RELEASE)|$(COMPONENT)", "Created-By: Packages"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60)
    for line in result.stdout.splitlines():
        site, _, rest = line.rpartition("|")[0].partition("|")
        if rest == SUITE and line.endswith("|main"):
            return site
    raise CannotRun(f"apt has no source of Debian {SUITE} here, from which the bases are made")


def _quietly(*command: str) -> None:
    if shutil.which(command[0]):
        subprocess.run(command, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=60)
