"""The manifest of a bundle: what it must hold, and which names its files may have.

README.md beside this file describes the format; whoever reads a bundle without this package finds all of it there.
"""

import hashlib
import math
from typing import Any, Dict, Iterable, List, Tuple

from edge_bench.atomic import canonical_json, parse_json
from edge_bench.errors import BundleError

SCHEMA = "edge-dendrite.bundle"
VERSION = 1
MANIFEST = "manifest.json"
MANIFEST_DIGEST = "manifest.sha256"
# Five times what a thousand reference cases need; a hostile one costs 200 MB at most while it is parsed.
MAX_MANIFEST_BYTES = 2 << 20
MAX_FILES = 4096
# An ONNX file holds 2 GiB at most (protobuf).
MAX_BUNDLE_BYTES = 4 << 30
# numpy before 2.0 has no arrays of more dimensions.
MAX_DIMENSIONS = 32
# The types of numbers that tensors have: the code of the array module for one, and its bytes in a file.
DTYPES = {"float32": ("f", 4), "int64": ("q", 8), "int32": ("i", 4), "bool": ("B", 1)}
# Channels that a colour order has; any number where the order is that of the data.
COLOURS = {"grey": 1, "RGB": 3, "unspecified": None}

_REQUIRED_KEYS = {
    "schema": str,
    "version": int,
    "name": str,
    "role": str,
    "files": dict,
    "model": dict,
    "reference": dict,
    "labels": list,
    "preprocessing": dict,
    "stats": dict,
    "tools": dict,
}


def parse_manifest(path: str, manifest_bytes: bytes, digest_bytes: bytes) -> Tuple[Dict[str, Any], str]:
    """Check the manifest's digest, its schema and its form; returns (manifest, bundle id). Raises BundleError."""
    bundle_id = hashlib.sha256(manifest_bytes).hexdigest()
    if digest_bytes != digest_line(bundle_id):
        raise BundleError(
            "bundle %s: manifest.json does not match manifest.sha256 (it hashes to %s); "
            "the bundle was changed or damaged: copy or export it again" % (path, bundle_id)
        )
    try:
        manifest = parse_json(manifest_bytes, "ascii")
    except ValueError as error:
        raise BundleError("bundle %s: manifest.json is not JSON: %s" % (path, error)) from error
    problem = _manifest_problem(manifest)
    if not problem and canonical_json(manifest) != manifest_bytes:
        # Two readers could otherwise understand two things by the same bytes.
        problem = "is not in canonical form: sorted keys, an indent of 1, ASCII; write it with `edge-dendrite export`"
    if problem:
        raise BundleError("bundle %s: manifest.json: %s" % (path, problem))
    return manifest, bundle_id


def digest_line(bundle_id: str) -> bytes:
    """The content of manifest.sha256, in the form that `sha256sum -c` reads; also what a signature signs."""
    return ("%s  %s\n" % (bundle_id, MANIFEST)).encode("ascii")


def is_safe_name(name: Any) -> bool:
    """Whether a name stays inside the bundle everywhere: relative, plain ASCII, no '..', no backslash."""
    return not name_problem(name)


def name_problem(name: Any) -> str:
    """What keeps a name from being that of a file of a bundle, in words; empty when nothing does."""
    if not isinstance(name, str) or not name:
        return "is no name"
    if len(name) > 100:
        return "is longer than 100 characters"
    if not all(" " <= char <= "~" for char in name):
        return "has characters that are not printable ASCII"
    if "\\" in name or ":" in name:
        return "has a backslash or a colon"
    if name.startswith("/"):
        return "is an absolute path"
    parts = name.split("/")
    if ".." in parts:
        return "leads out by '..'"
    return "has an empty part or '.'" if "" in parts or "." in parts else ""


def _manifest_problem(manifest: Any) -> str:
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        return "schema is not %r: this is not a bundle of edge-dendrite" % SCHEMA
    if type(manifest.get("version")) is not int or manifest["version"] != VERSION:
        return "bundle version %r; this edge-bench reads version %d: use the agent that came with the bundle" % (
            manifest.get("version"),
            VERSION,
        )
    for key, kind in sorted(_REQUIRED_KEYS.items()):
        if not isinstance(manifest.get(key), kind):
            return "%r is missing or not a %s" % (key, kind.__name__)
    if not all(isinstance(label, str) for label in manifest["labels"]):
        return "'labels' holds something that is no text"
    return (
        _files_problem(manifest["files"])
        or _model_problem(manifest)
        or _reference_problem(manifest)
        or _preprocessing_problem(manifest)
    )


def _files_problem(files: Dict[str, Any]) -> str:
    if len(files) > MAX_FILES:
        return "more than %d files" % MAX_FILES
    for name, entry in sorted(files.items()):
        problem = name_problem(name)
        if problem:
            return "file name %r leaves the bundle or is not plain: it %s" % (name[:120], problem)
        if name in (MANIFEST, MANIFEST_DIGEST):
            return "lists %s, which stands for itself" % name
        if not isinstance(entry, dict) or not _is_digest(entry.get("sha256")):
            return "file %r has no sha256 (64 lower-case hexadecimal digits)" % name
        if type(entry.get("num_bytes")) is not int or entry["num_bytes"] < 0:
            return "file %r has no num_bytes" % name
    num_bytes = sum(entry["num_bytes"] for entry in files.values())
    if num_bytes > MAX_BUNDLE_BYTES:
        return "claims files of %d bytes together, more than %d: too large for a bundle" % (num_bytes, MAX_BUNDLE_BYTES)
    return _collision([MANIFEST, MANIFEST_DIGEST] + sorted(files))


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and all(char in "0123456789abcdef" for char in value)


def _collision(names: Iterable[str]) -> str:
    """Names of which some system makes one: they differ in case only, or one is a file and a folder."""
    seen = {}  # type: Dict[str, Tuple[str, bool]]
    for name in names:
        parts = name.split("/")
        for depth in range(1, len(parts) + 1):
            here = ("/".join(parts[:depth]), depth == len(parts))
            before = seen.setdefault(here[0].lower(), here)
            if before != here:
                return "%r and %r cannot lie in one folder everywhere; rename one" % (before[0], here[0])
    return ""


def _model_problem(manifest: Dict[str, Any]) -> str:
    model = manifest["model"]
    if not isinstance(model.get("path"), str) or model["path"] not in manifest["files"]:
        return "model path %r is not among its files" % (model.get("path"),)
    for direction in ("inputs", "outputs"):
        tensors = model.get(direction)
        if not isinstance(tensors, list) or not tensors:
            return "model.%s is missing or empty" % direction
        for tensor in tensors:
            shape = tensor.get("shape") if isinstance(tensor, dict) else None  # type: Any
            plain = isinstance(shape, list) and len(shape) <= MAX_DIMENSIONS
            plain = plain and all(type(size) is int and 0 < size < 1 << 31 for size in shape)
            texts = plain and all(isinstance(tensor.get(key), str) for key in ("name", "dtype"))
            if not texts or tensor["dtype"] not in DTYPES:
                known = ", ".join(sorted(DTYPES))
                return "model.%s: each needs a name, a dtype (%s) and a shape of positive whole numbers" % (
                    direction,
                    known,
                )
    return ""


def _reference_problem(manifest: Dict[str, Any]) -> str:
    reference, model = manifest["reference"], manifest["model"]
    for key in ("atol", "rtol"):
        value = reference.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e3:
            return "reference.%s is not a tolerance" % key
    cases = reference.get("cases")
    if not isinstance(cases, list) or not cases:
        return "reference.cases is missing or empty"
    for case in cases:
        for direction in ("inputs", "outputs"):
            names = case.get(direction) if isinstance(case, dict) else None  # type: Any
            if not isinstance(names, list) or len(names) != len(model[direction]):
                return "a reference case does not have one file for each of the model's %s" % direction
            for name, tensor in zip(names, model[direction]):
                num_bytes = DTYPES[tensor["dtype"]][1]
                for size in tensor["shape"]:
                    num_bytes *= size
                entry = manifest["files"].get(name) if isinstance(name, str) else None
                if entry is None or entry["num_bytes"] != num_bytes:
                    return "reference file %r is missing or not of shape %s" % (name, tensor["shape"])
    return ""


def _preprocessing_problem(manifest: Dict[str, Any]) -> str:
    """Empty for a complete description, and for none: then the model takes tensors that nobody prepares."""
    rules, shape = manifest["preprocessing"], manifest["model"]["inputs"][0]["shape"]
    if not rules:
        return ""
    if rules.get("layout") != "NCHW":
        return "preprocessing.layout is not 'NCHW'"
    sizes = [rules.get(key) for key in ("channels", "height", "width")]
    if not all(type(size) is int for size in sizes) or sizes != shape[1:]:
        return "preprocessing: channels, height and width %s are not those of the model's input %s" % (sizes, shape)
    if rules.get("resize") != "bilinear" or rules.get("antialias") is not True:
        return "preprocessing: resize is not 'bilinear' with antialias, the one method that is defined"
    colour = rules.get("colour")
    if not isinstance(colour, str) or COLOURS.get(colour, 0) not in (None, sizes[0]):
        return "preprocessing.colour %r is not that of %d channel(s)" % (colour, sizes[0])
    if not _are_positive([rules.get("scale")]):
        return "preprocessing.scale is not a positive number"
    for key, allowed in (("mean", _are_finite), ("std", _are_positive)):
        values = rules.get(key)
        if not isinstance(values, list) or len(values) != sizes[0] or not allowed(values):
            return "preprocessing.%s is not one number for each of %s channel(s)" % (key, sizes[0])
    return ""


def _are_finite(values: List[Any]) -> bool:
    return all(type(value) in (int, float) and math.isfinite(value) for value in values)


def _are_positive(values: List[Any]) -> bool:
    return _are_finite(values) and all(value > 0 for value in values)
