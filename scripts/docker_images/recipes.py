"""The images: which Dockerfile, for what processor, and what goes into it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
# The date of every file in every image; the same as in the Dockerfiles (2026-01-01).
SOURCE_DATE_EPOCH = 1767225600


@dataclass(frozen=True)
class Recipe:
    """One image of docker/."""

    name: str
    architecture: str
    # A list of wheels of docker/, or "" where none is installed.
    requirements: str = ""
    # Whether it copies dist/payload, which the image `cross` makes.
    takes_payload: bool = False
    # Why it is not what a user gets, when it is built on our base; "" where the base has what the default one has.
    replaced: str = ""
    # Minutes, so only when asked for.
    slow: bool = False

    @property
    def dockerfile(self) -> Path:
        return DOCKER / f"{self.name}.Dockerfile"

    def healthcheck(self) -> list[str]:
        """The command of HEALTHCHECK, without a shell; empty where there is none."""
        found = re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", self.dockerfile.read_text("utf-8"), re.MULTILINE)
        return list(json.loads(found.group(1))) if found else []


_JETSON = "NVIDIA's base is replaced by Debian with Python 3.11: our files are tested, its TensorRT and Python are not"

RECIPES = (
    Recipe("cross", "amd64", requirements="requirements-arm64.txt"),
    Recipe("arm64", "arm64", takes_payload=True),
    Recipe("jetson-r32", "arm64", takes_payload=True, replaced=_JETSON),
    Recipe("jetson-r35", "arm64", takes_payload=True, replaced=_JETSON),
    Recipe("jetson-r36", "arm64", takes_payload=True, replaced=_JETSON),
    Recipe("host", "amd64", requirements="requirements-host.txt", slow=True),
)


def choose(names: list[str], *, slow: bool) -> list[Recipe]:
    """The recipes with these names, else all (the slow ones only with `slow`), in the order in which they build."""
    if names:
        return [recipe for recipe in RECIPES if recipe.name in names]
    return [recipe for recipe in RECIPES if slow or not recipe.slow]
