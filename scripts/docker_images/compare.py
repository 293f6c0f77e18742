"""What differs between two builds of an image, file by file: the first thing that one asks when digests differ."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scripts.docker_images.store import Store

_MOST = 8


def differences(store: Store, first: str, second: str) -> list[str]:
    """A line for each of the first few files, and parts of the configuration, that two images do not share."""
    found = [f"config: {key}" for key in _config_differences(store, first, second)]
    with _mounted(store, first) as one, _mounted(store, second) as other:
        found += what_differs(describe(one), describe(other))
    if len(found) > _MOST:
        found[_MOST:] = [f"and {len(found) - _MOST} more"]
    return found


@contextlib.contextmanager
def _mounted(store: Store, image: str) -> Iterator[Path]:
    what = f"comparing {image}"
    container = store.buildah(what, "from", "--pull-never", image).strip()
    try:
        yield Path(store.buildah(what, "mount", container).strip())
    finally:
        store.buildah_code("rm", container)


def what_differs(left: dict[str, tuple[Any, ...]], right: dict[str, tuple[Any, ...]]) -> list[str]:
    """A line for each file of two trees that is not the same in both."""
    names = [name for name in sorted(left.keys() | right.keys()) if left.get(name) != right.get(name)]
    return [f"/{name}: {_what(left.get(name), right.get(name))}" for name in names]


def describe(tree: Path) -> dict[str, tuple[Any, ...]]:
    """Of each file: kind and rights, owner, date, content."""
    result: dict[str, tuple[Any, ...]] = {}
    for folder, folders, names in os.walk(tree):
        for name in folders + names:
            path = Path(folder, name)
            info = path.lstat()
            if path.is_symlink():
                content = str(path.readlink())
            elif stat.S_ISREG(info.st_mode):
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                content = ""
            date = info.st_mtime if stat.S_ISREG(info.st_mode) else 0
            result[str(path.relative_to(tree))] = (oct(info.st_mode), (info.st_uid, info.st_gid), date, content)
    return result


def _what(left: tuple[Any, ...] | None, right: tuple[Any, ...] | None) -> str:
    if left is None or right is None:
        return "only in one of them"
    names = ("rights", "owner", "date", "content")
    return ", ".join(name for name, one, other in zip(names, left, right, strict=True) if one != other)


def _config_differences(store: Store, first: str, second: str) -> list[str]:
    what = "comparing configurations"
    one, other = (
        json.loads(store.buildah(what, "inspect", "--type", "image", image))["OCIv1"] for image in (first, second)
    )
    # The layers are what is compared file by file.
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key) and key != "rootfs")
