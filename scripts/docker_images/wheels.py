"""Wheels: which ones images get (docker/requirements-*.txt, each with its sha256), and fetching exactly those.

Builds are then given the folder and no network: the way of a closed network is the way that is tested.
"""

from __future__ import annotations

import ast
import hashlib
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from scripts.docker_images.errors import ImageError
from scripts.docker_images.programs import check
from scripts.docker_images.recipes import DOCKER, ROOT
from scripts.docker_images.store import Store

_CONSTRAINTS = ROOT / "scripts" / "constraints.txt"
_PYTHON = "3.11"
# The newest release that also runs under Debian 12's qemu, so that what the image holds is what was tried: from 1.28.0
# on, importing it there ends in a segmentation fault.
_ON_BOARDS = ("onnxruntime==1.26.0", "numpy==2.4.6")


@dataclass(frozen=True)
class Lock:
    """One list of wheels: for what machine, and of which packages the rest follows."""

    file_name: str
    machine: str
    packages: tuple[str, ...]
    # A file of versions that pip has to keep to.
    constraints: Path | None = None


def locks() -> tuple[Lock, Lock]:
    """Of the boards, what runs networks; of the workstation, what pyproject.toml asks for and what builds it."""
    boards = Lock("requirements-arm64.txt", "aarch64", _ON_BOARDS)
    return boards, Lock("requirements-host.txt", "x86_64", (*_dependencies(), "setuptools"), _CONSTRAINTS)


def fetch(store: Store, file_name: str) -> Path:
    """The folder with exactly the wheels of a list; what is there already is not fetched again."""
    wanted = hashlib.sha256((DOCKER / file_name).read_bytes()).hexdigest()[:16]
    folder = store.wheels / f"{Path(file_name).stem}-{wanted}"
    if not folder.exists():
        part = store.work / folder.name
        machine = next(lock.machine for lock in locks() if lock.file_name == file_name)
        options = ("--require-hashes", "--no-deps", "--requirement", str(DOCKER / file_name))
        _download(store, part, machine, options)
        part.rename(folder)
    return folder


def write_lock(store: Store, lock: Lock) -> int:
    """Choose versions anew and write the list; the number of wheels."""
    folder = store.work / f"lock-{lock.machine}"
    constraints = ("--constraint", str(lock.constraints)) if lock.constraints else ()
    _download(store, folder, lock.machine, (*constraints, *lock.packages))
    wheels = sorted(folder.glob("*.whl"), key=lambda wheel: wheel.name.lower())
    lines = [_line(wheel) for wheel in wheels]
    torch = next((line for line in lines if line.startswith("torch==")), "torch==0+cpu ")
    if "+cpu " not in torch:
        raise ImageError(
            f"pip found {torch.split()[0]}, a build of several gigabytes with CUDA; show it the builds for the "
            "processor alone with PIP_EXTRA_INDEX_URL or PIP_FIND_LINKS"
        )
    head = [
        f"# Every wheel for Python {_PYTHON} on Linux {lock.machine}, with its sha256; pip takes no other bytes.",
        "# Written by scripts/docker-images lock; the rest follows from:",
        *(f"#   {package}" for package in lock.packages),
    ]
    path = DOCKER / lock.file_name
    part = path.with_suffix(".part")
    part.write_text("\n".join([*head, *lines]) + "\n")
    part.rename(path)
    shutil.rmtree(folder)
    return len(wheels)


def _line(wheel: Path) -> str:
    name, version = wheel.name.split("-")[:2]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name.replace('_', '-').lower()}=={version} --hash=sha256:{digest}"


def _download(store: Store, folder: Path, machine: str, arguments: tuple[str, ...]) -> None:
    # Newest first; a wheel names the oldest C library that it runs with.
    glibc = ("2_28", "2_27", "2_26", "2_24", "2_17", "2014")
    platforms = [f"manylinux{'' if one == '2014' else '_'}{one}_{machine}" for one in glibc]
    target = [word for one in platforms for word in ("--platform", one)]
    python = ("--python-version", _PYTHON, "--implementation", "cp")
    abis = ("--abi", "cp311", "--abi", "abi3", "--abi", "none")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--only-binary=:all:", "--no-input")
    command = [*pip, "--dest", str(folder), *target, *python, *abis, *arguments]
    check(f"fetching wheels for {machine}", command, store.logs / f"wheels-{machine}.log")


def _dependencies() -> tuple[str, ...]:
    """The names in pyproject.toml; Python 3.10 cannot read TOML, and a list of texts is written as in Python.

    The images have Python 3.11, so what only older ones need (the one kind of condition there) is left out.
    """
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    found = re.search(r"^dependencies = (\[.*?^\])", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    asked = [one for one in ast.literal_eval(found.group(1)) if "python_version <" not in one]
    names = [re.match(r"[\w.-]+", one) for one in asked]
    return tuple(name.group() for name in names if name is not None)
