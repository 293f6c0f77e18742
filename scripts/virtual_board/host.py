"""What this machine must have before a virtual board can run on it, and how it gets that."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
from pathlib import Path

from scripts.virtual_board.errors import BoardError, CannotRun

PACKAGES = ("qemu-user-static", "binfmt-support", "mmdebstrap", "iproute2", "util-linux", "openssh-client")
INSTALL = "sudo ./scripts/virtual-board install"
_PROGRAMS = {"mmdebstrap": "mmdebstrap", "ip": "iproute2", "unshare": "util-linux", "mount": "mount"}
_PROGRAMS |= {"ssh": "openssh-client", "ssh-keygen": "openssh-client", "scp": "openssh-client"}
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000


def missing_parts() -> list[str]:
    """What keeps boards from running here, each with what to do; empty when nothing does. Changes nothing."""
    if platform.system() != "Linux":
        return [f"virtual boards need Linux; this is {platform.system()}"]
    if os.geteuid() != 0:
        return ["not root: namespaces and mounts need it; run with sudo"]
    found = [
        f"{name} is missing: {INSTALL} (package {package})" for name, package in _PROGRAMS.items() if not which(name)
    ]
    if _needs_emulation():
        if not which("qemu-aarch64-static"):
            found.append(f"qemu-aarch64-static is missing: {INSTALL} (package qemu-user-static)")
        elif not _is_registered() and not which("update-binfmts"):
            found.append(f"the kernel does not run arm64 programs (binfmt_misc): {INSTALL}")
    if "overlay" not in Path("/proc/filesystems").read_text():
        found.append("the kernel has no overlayfs: sudo modprobe overlay")
    if not _can_make_namespaces():
        found.append("the kernel refuses new mount and network namespaces; in a container run it with --privileged")
    return found


def require_parts() -> None:
    """Raises CannotRun with all that is missing, in one line. Registers arm64 with the kernel where that is all."""
    missing = missing_parts()
    if missing:
        raise CannotRun("; ".join(missing))
    if _needs_emulation() and not _is_registered():
        enable_emulation()
        if not _is_registered():
            raise CannotRun(
                "the kernel does not take arm64 programs: see what `update-binfmts --enable qemu-aarch64` says"
            )


def which(program: str) -> str | None:
    """The path of a program, also from folders that are not on the PATH of ordinary users."""
    return shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def install_parts() -> None:
    """Install Debian's packages and register arm64. Raises BoardError when that fails."""
    if os.geteuid() != 0:
        raise CannotRun("installing packages needs root: run with sudo")
    if which("apt-get") is None:
        raise CannotRun(f"there is no apt-get here; install by hand: {', '.join(PACKAGES)}")
    command = ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.call(command, env=environment) != 0:
        raise BoardError("apt-get could not install them: run sudo apt-get update, then this again")
    enable_emulation()
    require_parts()


def enable_emulation() -> None:
    """Mount binfmt_misc where it is not, and register qemu-aarch64 as Debian's package describes it."""
    if not _needs_emulation():
        return
    if not (_BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(_BINFMT)], check=False, capture_output=True)
    tool = which("update-binfmts")
    if tool is not None:
        subprocess.run([tool, "--enable", "qemu-aarch64"], check=False, capture_output=True)


def _needs_emulation() -> bool:
    return platform.machine() != "aarch64"


def _is_registered() -> bool:
    """Enabled, and with the interpreter held open (F): inside of the board it is not to be found."""
    try:
        lines = (_BINFMT / "qemu-aarch64").read_text().splitlines()
    except OSError:
        return False
    flags = [line.partition(":")[2] for line in lines if line.startswith("flags")]
    return "enabled" in lines and any("F" in word for word in flags)


def _can_make_namespaces() -> bool:
    """Tried in a child, which ends with them."""
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(0 if libc.unshare(_CLONE_NEWNS | _CLONE_NEWNET) == 0 else 1)
    return os.waitpid(child, 0)[1] == 0
