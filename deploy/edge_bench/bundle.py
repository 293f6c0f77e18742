"""Reading and verifying a bundle: a folder or a canonical tar of a model, its reference and a manifest.

The manifest names every file with its size and sha256; `manifest.sha256` holds the manifest's own digest, which
is the bundle's id. Nothing of a bundle is used before all of it was checked. The tar has one valid serialisation
per content (USTAR, sorted names, no times, owners or links), so each of its bytes is covered, padding included.

A hash protects against damage, not against an author who lies: it says that the bundle is whole, not who made
it.
"""

import hashlib
import io
import os
import stat
import struct
from typing import Any, BinaryIO, Dict, List, Set, Tuple

from edge_bench.atomic import parse_json
from edge_bench.errors import BundleError

SCHEMA = "edge-dendrite.bundle"
VERSION = 1
MANIFEST = "manifest.json"
MANIFEST_DIGEST = "manifest.sha256"
MAX_MANIFEST_BYTES = 4 << 20
MAX_FILES = 4096
# numpy before 2.0 has no arrays of more dimensions.
MAX_DIMENSIONS = 32
_BLOCK = 512
_CHUNK = 1 << 20
# name, mode, uid, gid, size, mtime, checksum, type, link name, magic, user, group, device (2), prefix
_USTAR = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")

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


class Bundle:
    """A verified bundle. `id` is the sha256 of its manifest; `read(name)` gives the bytes of a file of it."""

    def __init__(self, path: str, manifest: Dict[str, Any], bundle_id: str, places: Dict[str, Tuple[str, int, int]]):
        self.path = path
        self.manifest = manifest
        self.id = bundle_id
        self._places = places
        line = digest_line(bundle_id)
        self._entries = dict(manifest["files"])  # type: Dict[str, Dict[str, Any]]
        self._entries[MANIFEST] = {"num_bytes": places[MANIFEST][2], "sha256": bundle_id}
        self._entries[MANIFEST_DIGEST] = {"num_bytes": len(line), "sha256": hashlib.sha256(line).hexdigest()}

    def read(self, name: str) -> bytes:
        """The bytes of a file of the bundle, hashed again as they are read: it may have changed since it was
        opened.

        Raises BundleError for a name that the manifest does not list, and when the bytes are no longer those.
        """
        if name not in self._places:
            raise BundleError("bundle %s: no file %r in its manifest" % (self.path, name))
        path, offset, num_bytes = self._places[name]
        try:
            with open(path, "rb") as stream:
                stream.seek(offset)
                data = stream.read(num_bytes)
        except OSError as error:
            raise BundleError("bundle %s: %s cannot be read any more: %s" % (self.path, name, error)) from error
        _check_digest(self.path, name, self._entries[name], len(data), hashlib.sha256(data).hexdigest())
        return data


def open_bundle(path: str) -> Bundle:
    """Open a folder or a tar and verify all of it.

    Raises BundleError naming the file and what is wrong with it: a missing, unlisted, changed or oversized file,
    a link or device, a name that leaves the bundle, a tar that is not in canonical form, a manifest of another
    schema.
    """
    try:
        if os.path.isdir(path):
            return _open_folder(path)
        if os.path.isfile(path):
            return _open_tar(path)
    except OSError as error:
        raise BundleError("bundle %s: cannot be read: %s" % (path, error)) from error
    raise BundleError("bundle %s: no such file or folder; give the folder or the .tar that `export` wrote" % path)


def _open_folder(path: str) -> Bundle:
    sizes = _list_folder(path)
    for name in (MANIFEST, MANIFEST_DIGEST):
        if name not in sizes:
            raise BundleError("bundle %s: %s is missing; export the model again" % (path, name))
    if max(sizes[MANIFEST], sizes[MANIFEST_DIGEST]) > MAX_MANIFEST_BYTES:
        raise BundleError("bundle %s: its manifest is larger than %d bytes" % (path, MAX_MANIFEST_BYTES))
    manifest_bytes = _read_file(os.path.join(path, MANIFEST), MAX_MANIFEST_BYTES)
    digest_bytes = _read_file(os.path.join(path, MANIFEST_DIGEST), MAX_MANIFEST_BYTES)
    manifest, bundle_id = parse_manifest(path, manifest_bytes, digest_bytes)
    _check_names(path, manifest, set(sizes))
    places = {name: (os.path.join(path, *name.split("/")), 0, size) for name, size in sizes.items()}
    for name, entry in manifest["files"].items():
        with open(places[name][0], "rb") as stream:
            num_bytes, digest = _hash_stream(stream, entry["num_bytes"] + 1)
        _check_digest(path, name, entry, num_bytes, digest)
    return Bundle(path, manifest, bundle_id, places)


def _list_folder(path: str) -> Dict[str, int]:
    """Names (with '/') and sizes of the regular files; what is neither file nor folder is refused."""
    sizes = {}  # type: Dict[str, int]
    pending = [""]
    while pending:
        folder = pending.pop()
        for entry in sorted(os.listdir(os.path.join(path, folder))):
            name = folder + "/" + entry if folder else entry
            status = os.lstat(os.path.join(path, name))
            if stat.S_ISDIR(status.st_mode):
                pending.append(name)
            elif stat.S_ISREG(status.st_mode):
                sizes[name] = status.st_size
            else:
                raise BundleError("bundle %s: %r is a link or a device; only plain files are allowed" % (path, name))
            if len(sizes) + len(pending) > MAX_FILES:
                raise BundleError("bundle %s: more than %d files" % (path, MAX_FILES))
    return sizes


def _open_tar(path: str) -> Bundle:
    with open(path, "rb") as stream:
        places, digests = _walk_tar(path, stream)
        small = {}
        for name in (MANIFEST, MANIFEST_DIGEST):
            if name not in places:
                raise BundleError("bundle %s: %s is missing; export the model again" % (path, name))
            offset, size = places[name]
            if size > MAX_MANIFEST_BYTES:
                raise BundleError("bundle %s: its manifest is larger than %d bytes" % (path, MAX_MANIFEST_BYTES))
            stream.seek(offset)
            small[name] = stream.read(size)
    manifest, bundle_id = parse_manifest(path, small[MANIFEST], small[MANIFEST_DIGEST])
    _check_names(path, manifest, set(places))
    if list(places) != tar_order(list(places)):
        raise BundleError("bundle %s: its files are not in canonical order" % path)
    for name, entry in manifest["files"].items():
        _check_digest(path, name, entry, places[name][1], digests[name])
    return Bundle(path, manifest, bundle_id, {name: (path, at, size) for name, (at, size) in places.items()})


def _walk_tar(path: str, stream: BinaryIO) -> Tuple[Dict[str, Tuple[int, int]], Dict[str, str]]:
    """Offsets, sizes and digests of the members; each byte outside the contents must be the canonical one."""
    places = {}  # type: Dict[str, Tuple[int, int]]
    digests = {}  # type: Dict[str, str]
    while True:
        header = stream.read(_BLOCK)
        if header == bytes(_BLOCK):
            break
        if len(header) != _BLOCK:
            raise BundleError("bundle %s: not a bundle tar, or cut short" % path)
        name, size = header[:100].rstrip(b"\0").decode("ascii", "replace"), 0
        try:
            size = int(header[124:135], 8)
            canonical = tar_header(name, size)
        except ValueError:
            canonical = b""
        if header != canonical or not is_safe_name(name):
            raise BundleError(
                "bundle %s: member %r is not a plain file in canonical form; "
                "write the tar with `edge-dendrite export`" % (path, name)
            )
        if name in places or len(places) >= MAX_FILES:
            raise BundleError("bundle %s: member %r comes twice, or there are too many" % (path, name))
        places[name] = (stream.tell(), size)
        num_bytes, digests[name] = _hash_stream(stream, size)
        padding = stream.read(-size % _BLOCK)
        if num_bytes != size or padding != bytes(-size % _BLOCK):
            raise BundleError("bundle %s: cut short or damaged at member %r" % (path, name))
    if stream.read(2 * _BLOCK) != bytes(_BLOCK):
        raise BundleError("bundle %s: damaged or padded at its end" % path)
    return places, digests


def tar_header(name: str, num_bytes: int) -> bytes:
    """The one header block that a member of this name and size may have.

    Not written by tarfile: newer releases of Python leave the device fields empty, older ones fill them with
    zeros. Raises ValueError on a name or size that USTAR cannot hold.
    """
    if len(name) > 100 or not 0 <= num_bytes < 8**11:
        raise ValueError("a tar cannot hold %d bytes under the name %r" % (num_bytes, name))
    zeros, size = b"0000000", b"%011o" % num_bytes
    fields = [name.encode("ascii"), b"0000644", zeros, zeros, size, b"0" * 11, b" " * 8, b"0", b""]
    fields += [b"ustar\x0000", b"", b"", zeros, zeros, b""]
    fields[6] = b"%06o\0 " % sum(_USTAR.pack(*fields))
    return _USTAR.pack(*fields)


def tar_order(names: List[str]) -> List[str]:
    """Manifest first, so that a reader of a stream can stop early; the rest sorted."""
    first = [MANIFEST, MANIFEST_DIGEST]
    return first + sorted(set(names) - set(first))


def write_tar(bundle: Bundle, stream: BinaryIO) -> None:
    """Serialise a verified bundle: the same bundle gives the same bytes on every machine."""
    names = tar_order([MANIFEST, MANIFEST_DIGEST] + list(bundle.manifest["files"]))
    for name in names:
        data = bundle.read(name)
        stream.write(tar_header(name, len(data)))
        stream.write(data)
        stream.write(bytes(-len(data) % _BLOCK))
    stream.write(bytes(2 * _BLOCK))


def parse_manifest(path: str, manifest_bytes: bytes, digest_bytes: bytes) -> Tuple[Dict[str, Any], str]:
    """Check the manifest's digest, then its schema; returns (manifest, bundle id). Raises BundleError."""
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
    if problem:
        raise BundleError("bundle %s: manifest.json: %s" % (path, problem))
    return manifest, bundle_id


def digest_line(bundle_id: str) -> bytes:
    """The content of manifest.sha256, in the form that `sha256sum -c` reads."""
    return ("%s  %s\n" % (bundle_id, MANIFEST)).encode("ascii")


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
    for name, entry in manifest["files"].items():
        if not is_safe_name(name):
            return "file name %r leaves the bundle or is not plain" % name
        if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), str):
            return "file %r has no sha256" % name
        num_bytes = entry.get("num_bytes")
        if not isinstance(num_bytes, int) or isinstance(num_bytes, bool) or num_bytes < 0:
            return "file %r has no num_bytes" % name
    return _model_problem(manifest) or _reference_problem(manifest)


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
            if not plain or not isinstance(tensor.get("name"), str) or tensor.get("dtype") != "float32":
                return "model.%s: each needs a name, dtype float32 and a shape of positive whole numbers" % direction
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
                num_bytes = 4
                for size in tensor["shape"]:
                    num_bytes *= size
                entry = manifest["files"].get(name) if isinstance(name, str) else None
                if entry is None or entry["num_bytes"] != num_bytes:
                    return "reference file %r is missing or not of shape %s" % (name, tensor["shape"])
    return ""


def is_safe_name(name: str) -> bool:
    """Whether a name stays inside the bundle everywhere: relative, plain ASCII, no '..', no backslash."""
    if not isinstance(name, str) or not name or len(name) > 100 or not name.isprintable():
        return False
    if any(ord(char) > 126 for char in name) or "\\" in name or ":" in name:
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def _check_names(path: str, manifest: Dict[str, Any], present: Set[str]) -> None:
    listed = set(manifest["files"]) | {MANIFEST, MANIFEST_DIGEST}
    for name in sorted(listed - present):
        raise BundleError("bundle %s: %s is missing; copy or export it again" % (path, name))
    for name in sorted(present - listed):
        raise BundleError("bundle %s: %r is not in its manifest; a bundle holds nothing else" % (path, name))


def _check_digest(path: str, name: str, entry: Dict[str, Any], num_bytes: int, digest: str) -> None:
    if num_bytes != entry["num_bytes"] or digest != entry["sha256"]:
        raise BundleError(
            "bundle %s: %s was changed or damaged: expected %d bytes with sha256 %s, found %d with %s; "
            "copy or export it again" % (path, name, entry["num_bytes"], entry["sha256"], num_bytes, digest)
        )


def _hash_stream(stream: BinaryIO, limit: int) -> Tuple[int, str]:
    """Hash at most `limit` bytes; returns (bytes read, sha256)."""
    digest = hashlib.sha256()
    num_bytes = 0
    while num_bytes < limit:
        chunk = stream.read(min(_CHUNK, limit - num_bytes))
        if not chunk:
            break
        digest.update(chunk)
        num_bytes += len(chunk)
    return num_bytes, digest.hexdigest()


def _read_file(path: str, limit: int) -> bytes:
    with io.open(path, "rb") as stream:
        return stream.read(limit)
