"""The board's system, made once and kept: an arm64 tree of Debian, and a layer with what runs networks.

Each is a folder named by what it is made from. It is made beside its place and moved there when it is whole, so what
is in its place can be trusted; what a killed run left is removed by the next one. They are lower layers of overlays:
no board ever writes into them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.virtual_board.errors import BoardError

Log = Callable[[str], None]
# Counts up when the way in which a tree is made changes.
_RECIPE = "1"
_PACKAGES = (
    "base-files,base-passwd,dash,bash,coreutils,sed,grep,mawk,findutils,procps,hostname,libc-bin,tar,gzip,mount,"
    "python3,libpython3-stdlib,openssh-server,openssh-client,openssh-sftp-server,libstdc++6,libgomp1"
)
# Twice what system and runtime take: they are made beside their place.
_MIN_FREE_BYTES = 600 << 20
_MERGED_USR = "/usr/share/mmdebstrap/hooks/merged-usr"
_PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux2014", "manylinux_2_17")


def system_tree(cache: Path, suite: str, mirror: str | None, log: Log) -> Path:
    """The folder of the system. Raises BoardError when it cannot be made."""
    key = _key(_RECIPE, suite, _PACKAGES, mirror or "")

    def make(folder: Path) -> None:
        log(f"the arm64 system of {suite}: downloading and unpacking it, only this first time")
        _run_mmdebstrap(folder, suite, mirror)
        _compile_library(folder, log)

    return _kept(cache / "systems" / f"{suite}-{key}", make)


def runtime_layer(cache: Path, system: Path, log: Log) -> Path:
    """The folder of numpy and onnxruntime for the system's Python. Raises BoardError when it cannot be made."""
    python = python_of(system)
    requirements = Path(__file__).parent / f"requirements-{python}.txt"
    if not requirements.exists():
        raise BoardError(f"{requirements.name} is missing: nobody has pinned wheels for the board's {python}")
    key = _key(_RECIPE, requirements.read_text("utf-8"))

    def make(folder: Path) -> None:
        log(f"onnxruntime for arm64 and {python}: downloading it, only this first time")
        _install_wheels(folder / "usr/local/lib" / python / "dist-packages", requirements, python)

    return _kept(cache / "runtimes" / f"{python}-{key}", make)


def python_of(system: Path) -> str:
    """The name of the tree's Python: python3.11."""
    return str((system / "usr/bin/python3").readlink())


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _kept(place: Path, make: Callable[[Path], None]) -> Path:
    if place.exists():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    with locked(place.with_name(f"{place.name}.lock")):
        if not place.exists():  # another run may have made it while we waited
            for left in place.parent.glob(f"{place.name}.*.part"):  # by a run that was killed
                shutil.rmtree(left, ignore_errors=True)
            free_bytes = shutil.disk_usage(place.parent).free
            if free_bytes < _MIN_FREE_BYTES:
                need = f"{_MIN_FREE_BYTES >> 20} MiB are needed once, {free_bytes >> 20} are free"
                raise BoardError(f"{place.parent}: {need}; make room or give another --cache")
            # A name of its own: what a killed run has started may still be writing into its.
            part = place.with_name(f"{place.name}.{secrets.token_hex(4)}.part")
            try:
                make(part)
                part.rename(place)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return place


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """One process at a time; the kernel lets go when it ends, however it ends."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _run_mmdebstrap(folder: Path, suite: str, mirror: str | None) -> None:
    command = ["mmdebstrap", "--mode=root", "--architectures=arm64", "--variant=extract", "--format=directory"]
    command += [f"--include={_PACKAGES}", suite, str(folder)]
    if Path(_MERGED_USR).is_dir():
        command.insert(1, f"--hook-dir={_MERGED_USR}")
    _run([*command, "-"], f"making the system of {suite}", _sources(suite, mirror))
    if not (folder / "usr/sbin/sshd").exists():
        raise BoardError(f"the system of {suite} came without sshd: look at what mmdebstrap says when run by hand")


def _sources(suite: str, mirror: str | None) -> str:
    """Lines for apt: the mirrors from which this machine itself installs, unless one is named."""
    if mirror is not None:
        return f"deb {mirror} {suite} main\n"
    form = "$(SITE) $(RELEASE) $(COMPONENT)"
    listed = _run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"], "asking apt for its sources")
    suites = (suite, f"{suite}-updates", f"{suite}-security")
    lines = {line for line in listed.splitlines() if line.endswith(" main") and line.split()[1] in suites}
    if not any(line.split()[1] == suite for line in lines):
        raise BoardError(f"apt has no source for {suite} here: give one with --mirror URL")
    return "".join(f"deb {line}\n" for line in sorted(lines))


def _compile_library(system: Path, log: Log) -> None:
    """Python's library as bytecode: no package script ran, and under emulation every start would compile it anew."""
    python = python_of(system)
    library = system / "usr/lib" / python
    here = shutil.which(python)
    if here is None and f"python{sys.version_info[0]}.{sys.version_info[1]}" == python:
        here = sys.executable
    if here is not None:
        _run(
            [here, "-m", "compileall", "-q", "-s", str(system), "-p", "/", str(library)], "compiling its library", "", 1
        )
        return
    log("compiling its Python library under emulation, which takes its time")
    _run(
        ["chroot", str(system), f"/usr/bin/{python}", "-m", "compileall", "-q", f"/usr/lib/{python}"],
        "compiling",
        "",
        1,
    )


def _install_wheels(folder: Path, requirements: Path, python: str) -> None:
    version = python.removeprefix("python")
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--target",
        str(folder),
    ]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", "--python-version", version]
    command += ["--implementation", "cp", "--abi", f"cp{version.replace('.', '')}", "--abi", "abi3", "--abi", "none"]
    for platform in _PLATFORMS:
        command += ["--platform", f"{platform}_aarch64"]
    _run([*command, "-r", str(requirements)], "installing wheels")


def _run(command: list[str], what: str, words: str = "", most_code: int = 0) -> str:
    """stdout of a program. Raises BoardError with the end of what it said when it fails."""
    began = time.monotonic()
    ended = subprocess.run(command, input=words, capture_output=True, text=True, check=False)
    if ended.returncode > most_code or ended.returncode < 0:
        said = [line for line in (ended.stderr + ended.stdout).splitlines() if line.strip()][-4:]
        reason = " | ".join(said) or f"exit code {ended.returncode}"
        raise BoardError(f"{what} failed after {time.monotonic() - began:.0f} s: {command[0]}: {reason}")
    return ended.stdout
