"""Bases that stand for the ones of a registry: small trees of Debian, made from the machine's own mirror and kept."""

from __future__ import annotations

import hashlib
import json
import os

from scripts.docker_images.machine import SUITE, mirror
from scripts.docker_images.programs import check
from scripts.docker_images.recipes import SOURCE_DATE_EPOCH
from scripts.docker_images.store import Store

_PACKAGES = (
    *("base-files", "base-passwd", "dash", "bash", "coreutils", "sed", "grep", "findutils", "libc-bin", "tar", "gzip"),
    *("python3", "python3-venv", "libpython3-stdlib", "ca-certificates", "libstdc++6", "openssh-client"),
)
# Packages are only unpacked: their scripts would run under emulation for minutes. What is needed of them is two files.
_OPTIONS = (
    "--mode=root",
    "--variant=extract",
    "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
    '--customize-hook=cp "$1/usr/share/base-passwd/passwd.master" "$1/etc/passwd"',
    '--customize-hook=cp "$1/usr/share/base-passwd/group.master" "$1/etc/group"',
    f"--include={','.join(_PACKAGES)}",
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def ensure_base(store: Store, architecture: str) -> str:
    """The name of an image with Debian and Python 3.11; made when it is not kept yet."""
    site = mirror()
    key = hashlib.sha256(json.dumps([SUITE, architecture, site, _OPTIONS]).encode()).hexdigest()[:16]
    name = f"localhost/edge-base-{architecture}:{key}"
    if store.buildah_code("inspect", "--type", "image", name)[0] == 0:
        return name
    tree = store.trees / f"{architecture}-{key}.tar"
    if not tree.exists():
        # Beside the final name and moved there when whole. mmdebstrap tells the format by the ending.
        part = store.work / f"{architecture}.tar"
        command = ["mmdebstrap", *_OPTIONS, f"--architectures={architecture}", SUITE, str(part), site]
        env = dict(os.environ, SOURCE_DATE_EPOCH=str(SOURCE_DATE_EPOCH), TMPDIR=str(store.work))
        check(f"making the {architecture} base", command, store.logs / f"base-{architecture}.log", env=env)
        part.rename(tree)
    what = f"importing the {architecture} base"
    container = store.buildah(what, "from", "--arch", architecture, "scratch").strip()
    store.buildah(what, "add", "--quiet", container, str(tree), "/")
    config = ("--arch", architecture, "--os", "linux", "--env", f"PATH={_PATH}", "--cmd", "/bin/bash")
    store.buildah(what, "config", *config, container)
    options = ("--quiet", "--rm", "--format", "oci", "--timestamp", str(SOURCE_DATE_EPOCH))
    store.buildah(what, "commit", *options, container, name)
    return name
