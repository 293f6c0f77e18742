"""Building an image twice from clean, out of two different copies of the sources, and comparing what came out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.docker_images.bases import ensure_base
from scripts.docker_images.compare import differences
from scripts.docker_images.errors import ImageError
from scripts.docker_images.recipes import DOCKER, ROOT, SOURCE_DATE_EPOCH, Recipe
from scripts.docker_images.store import Store
from scripts.docker_images.wheels import fetch

# What .dockerignore lets through, so that a build sees nothing else of the checkout.
SOURCES = (
    *(".dockerignore", "pyproject.toml", "README.md", "LICENSE", "scripts/build-agent"),
    *("docker", "deploy/edge_bench", "profiles", "edge_dendrite"),
)
_CACHES = shutil.ignore_patterns("__pycache__")


@dataclass
class Built:
    """One image: its digest in both builds, and what checks inside of it said."""

    recipe: Recipe
    image: str
    digests: list[str] = field(default_factory=list)
    build_s: list[float] = field(default_factory=list)
    num_bytes: int = 0
    num_layers: int = 0
    # Where the digests are not the same: what is not.
    differences: list[str] = field(default_factory=list)
    # What was looked at inside, and what was wrong with it; "" where it was as it should be.
    checks: dict[str, str] = field(default_factory=dict)

    @property
    def same(self) -> bool:
        return len(set(self.digests)) == 1

    @property
    def passed(self) -> bool:
        return self.same and not any(self.checks.values())


def build_twice(store: Store, recipe: Recipe, bundle: Path | None) -> Built:
    """Build a recipe two times; the digests in the result say whether they are the same."""
    base = ensure_base(store, recipe.architecture)
    wheels = fetch(store, recipe.requirements) if recipe.requirements else None
    name = f"localhost/edge-dendrite-{recipe.name}"
    # The second is what is tried, and what the board images take their files from.
    built = Built(recipe, f"{name}:build2")
    # Both before the first build, or what is edited meanwhile would be in one of them.
    contexts = [stage_context(store, recipe, bundle, turn) for turn in (1, 2)]
    for turn, context in enumerate(contexts, 1):
        start_s = time.monotonic()
        _build(store, recipe, f"{name}:build{turn}", base, wheels, context, bundled=bundle is not None)
        built.build_s.append(round(time.monotonic() - start_s, 1))
        config = image_config(store, f"{name}:build{turn}")
        built.digests.append(config["FromImageDigest"])
        shutil.rmtree(context)
    if not built.same:
        built.differences = differences(store, f"{name}:build1", built.image)
    layers = json.loads(config["Manifest"])["layers"]
    built.num_layers = len(layers)
    built.num_bytes = sum(layer["size"] for layer in layers)
    return built


def image_config(store: Store, image: str) -> dict[str, Any]:
    return dict(json.loads(store.buildah(f"reading {image}", "inspect", "--type", "image", image)))


def payload_folder(store: Store) -> Path:
    """What the image `cross` holds, which the board images copy."""
    return store.folder / "payload"


def export_payload(store: Store, image: str) -> None:
    """Take the files out of the image `cross`, and check every sum in them."""
    what = f"taking the payload out of {image}"
    container = store.buildah(what, "from", "--pull-never", image).strip()
    tree = Path(store.buildah(what, "mount", container).strip())
    part = store.work / "payload"
    shutil.copytree(tree, part, symlinks=True)
    store.buildah(what, "umount", container)
    store.buildah(what, "rm", container)
    for line in (part / "SHA256SUMS").read_text("utf-8").splitlines():
        digest, _, name = line.partition("  ")
        if file_sha256(part / name) != digest:
            raise ImageError(f"payload: {name} is not what SHA256SUMS says; the image {image} is damaged")
    target = payload_folder(store)
    if target.exists():
        shutil.rmtree(target)
    part.rename(target)


def file_sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stage_context(store: Store, recipe: Recipe, bundle: Path | None, turn: int) -> Path:
    """A copy of the sources for one build; the second has other dates and is readable by its owner only, as a checkout
    under another umask is."""
    context = store.work / f"context-{recipe.name}-{turn}"
    for name in SOURCES:
        source, target = ROOT / name, context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=_CACHES)
        else:
            shutil.copy(source, target)
    if turn == 2:
        for path in sorted(context.rglob("*")):
            path.chmod(0o700 if path.is_dir() or os.access(path, os.X_OK) and path.stat().st_mode & 0o100 else 0o600)
            os.utime(path, (1_500_000_000, 1_500_000_000))
    if recipe.takes_payload:
        if not payload_folder(store).exists():
            raise ImageError(f"{recipe.name} needs the payload; build `cross` first (or give no IMAGE)")
        shutil.copytree(payload_folder(store), context / "dist" / "payload")
    if bundle is not None:
        (context / "dist").mkdir(exist_ok=True)
        shutil.copyfile(bundle, context / "dist" / "bundle.tar")
    return context


def _build(
    store: Store, recipe: Recipe, image: str, base: str, wheels: Path | None, context: Path, *, bundled: bool
) -> None:
    options = ["--arch", recipe.architecture, "--os", "linux", "--pull-never", "--no-cache", "--layers=false"]
    # buildah writes a host name of its own into what it makes in docker's format, so those are never the same. In the
    # one of OCI HEALTHCHECK has no place; the command is tried all the same.
    options += ["--format", "oci", "--timestamp", str(SOURCE_DATE_EPOCH), "--tag", image]
    options += ["--file", str(context / DOCKER.name / recipe.dockerfile.name), "--build-arg", f"BASE={base}"]
    if recipe.name == "cross":
        options += ["--target", "shipment" if bundled else "payload"]
    if recipe.takes_payload:
        agent = file_sha256(payload_folder(store) / "edge-bench.pyz")
        options += ["--build-arg", f"AGENT_SHA256={agent}"]
    if wheels is not None:
        options += ["--volume", f"{wheels}:/wheels:ro"]
        options += ["--build-arg", "PIP_FIND_LINKS=/wheels", "--build-arg", "PIP_NO_INDEX=1"]
    store.buildah(f"building {recipe.name}", "bud", *options, str(context), log=f"build-{recipe.name}")
