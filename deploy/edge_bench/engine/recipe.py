"""The `engine_recipe` of a bundle's manifest: what a board needs to know to build its engine."""

import re
from typing import Any, Dict, Optional, Tuple

from edge_bench.engine.build import EngineSettings
from edge_bench.engine.sidecar import release_numbers
from edge_bench.errors import BackendError, BundleError

VERSION = 1
PRECISIONS = ("fp32", "fp16", "int8")
_RELEASE = re.compile(r"(\d{1,4})\.(\d{1,4})")


def settings_of(recipe: Any) -> EngineSettings:
    """The settings of a recipe. Raises BundleError naming the key that is not what it should be."""
    problem = _problem(recipe)
    if problem:
        raise BundleError("engine_recipe: %s; export the model again" % problem)
    return EngineSettings(
        precision=recipe["precision"],
        workspace_bytes=recipe["workspace_bytes"],
        batch=_batch(recipe["batch"]),
        version_compatible=recipe["version_compatible"],
        allow_tf32=recipe["allow_tf32"],
    )


def check_release(recipe: Dict[str, Any], release: str) -> None:
    """Raise BackendError, saying what for, when this TensorRT is older than the network needs, or none can read it."""
    if recipe["unsupported"]:
        raise BackendError(
            "no TensorRT can build this network: it has %s; onnxruntime runs it" % ", ".join(recipe["unsupported"])
        )
    if release_numbers(release) < release_numbers(recipe["min_tensorrt"]):
        reasons = sorted(
            what for what, least in recipe["needs"].items() if release_numbers(release) < release_numbers(least)
        )
        raise BackendError(
            "the network needs TensorRT %s (%s), this board has %s; export it for this board with `--target`, or run "
            "it with onnxruntime" % (recipe["min_tensorrt"], ", ".join(reasons), release)
        )


def _problem(recipe: Any) -> str:
    if not isinstance(recipe, dict) or type(recipe.get("version")) is not int or recipe["version"] != VERSION:
        return "version is not %d" % VERSION
    if recipe.get("precision") not in PRECISIONS:
        return "precision is %r" % (recipe.get("precision"),)
    workspace = recipe.get("workspace_bytes", 0)
    if workspace is not None and (type(workspace) is not int or not 0 < workspace < 1 << 62):
        return "workspace_bytes is %r" % (workspace,)
    if _batch(recipe.get("batch")) is None and recipe.get("batch", 0) is not None:
        return "batch is %r" % (recipe.get("batch"),)
    for key in ("version_compatible", "allow_tf32", "timing_cache"):
        if type(recipe.get(key)) is not bool:
            return "%s is not true or false" % key
    needs, unsupported = recipe.get("needs"), recipe.get("unsupported")
    releases = list(needs.values()) if isinstance(needs, dict) else [None]
    if not all(isinstance(one, str) and _RELEASE.match(one) for one in releases + [recipe.get("min_tensorrt")]):
        return "min_tensorrt or needs is no release"
    if not isinstance(unsupported, list) or not all(isinstance(one, str) for one in unsupported):
        return "unsupported is no list of operators"
    return ""


def _batch(value: Any) -> Optional[Tuple[int, int, int]]:
    if not isinstance(value, list) or len(value) != 3 or not all(type(size) is int for size in value):
        return None
    return (value[0], value[1], value[2]) if 1 <= value[0] <= value[1] <= value[2] < 1 << 31 else None
