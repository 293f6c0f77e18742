"""Reading and verifying a bundle: a folder or a canonical tar of a model, its reference and a manifest.

The manifest names every file with its size and sha256; `manifest.sha256` holds the manifest's own digest, which
is the bundle's id. Nothing of a bundle is used before all of it was checked: first the manifest, then names, kinds and
sizes, then contents. The tar has one valid serialisation per content (ustar.py), so each of its bytes is covered,
padding included.

A hash protects against damage, not against an author who lies: it says that the bundle is whole, not who made
it. That says a signature (signature.py).
"""

import hashlib
import os
import stat
from typing import Any, BinaryIO, Dict, Set, Tuple

from edge_bench import manifest as manifests
from edge_bench.errors import BundleError
from edge_bench.manifest import MANIFEST, MANIFEST_DIGEST, digest_line, parse_manifest
from edge_bench.ustar import BLOCK, list_members, tar_header, tar_order

_CHUNK = 1 << 20
# Without O_NONBLOCK, opening a fifo waits until something writes to it.
_PLAIN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_KINDS = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a fifo"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)


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

    def locate(self, name: str) -> Tuple[str, int, int]:
        """(path, offset, num_bytes) of a file of the bundle, for who reads it piece by piece and hashes it anew."""
        return self._places[name]

    def read(self, name: str) -> bytes:
        """The bytes of a file of the bundle, hashed again as they are read: it may have changed since it was
        opened.

        Raises BundleError for a name that the manifest does not list, and when the bytes are no longer those.
        """
        if name not in self._places:
            raise BundleError("bundle %s: no file %r in its manifest" % (self.path, name))
        path, offset, num_bytes = self._places[name]
        with _open_plain(self.path, name, path, path != self.path) as stream:
            try:
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
    small = {}
    for name in (MANIFEST, MANIFEST_DIGEST):
        with _open_plain(path, name, os.path.join(path, name), True) as stream:
            small[name] = stream.read(manifests.MAX_MANIFEST_BYTES + 1)
    manifest, bundle_id = _parse(path, small)
    sizes = {name: len(data) for name, data in small.items()}
    sizes.update((name, entry["num_bytes"]) for name, entry in manifest["files"].items())
    _check_names(path, set(sizes), _check_folder(path, sizes))
    places = {name: (os.path.join(path, *name.split("/")), 0, size) for name, size in sizes.items()}
    for name, entry in sorted(manifest["files"].items()):
        with _open_plain(path, name, places[name][0], True) as stream:
            num_bytes, digest = _hash_stream(stream, entry["num_bytes"] + 1)
        _check_digest(path, name, entry, num_bytes, digest)
    return Bundle(path, manifest, bundle_id, places)


def _check_folder(path: str, sizes: Dict[str, int]) -> Set[str]:
    """Which of the files of these names are there, and plain; the first thing that is not one of them is refused.

    Only folders of listed files are entered, and entries are read one by one: a huge tree costs nothing.
    """
    parts = [name.split("/") for name in sizes]
    folders = {"/".join(names[:depth]) for names in parts for depth in range(len(names))}
    found, entered = set(), {""}
    for folder in sorted(folders):
        if folder not in entered:
            continue  # its files are missing
        with os.scandir(os.path.join(path, folder)) as entries:
            for entry in entries:
                name = folder + "/" + entry.name if folder else entry.name
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode) and name in folders:
                    entered.add(name)
                elif not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
                    raise _not_plain(path, name, status.st_mode)
                elif name not in sizes:
                    raise _unlisted(path, name)
                elif stat.S_ISREG(status.st_mode):
                    found.add(name)
                    _check_size(path, name, sizes[name], status.st_size)
    return found


def _open_tar(path: str) -> Bundle:
    with _open_plain(path, "the tar", path, False) as stream:
        places = list_members(path, stream)
        small = {}
        for name in (MANIFEST, MANIFEST_DIGEST):
            if name not in places:
                raise BundleError("bundle %s: %s is missing; export the model again" % (path, name))
            stream.seek(places[name][0])
            small[name] = stream.read(min(places[name][1], manifests.MAX_MANIFEST_BYTES + 1))
        manifest, bundle_id = _parse(path, small)
        _check_names(path, set(manifest["files"]) | set(small), set(places))
        if list(places) != tar_order(list(places)):
            raise BundleError("bundle %s: its files are not in canonical order" % path)
        for name, entry in manifest["files"].items():
            _check_size(path, name, entry["num_bytes"], places[name][1])
        for name, entry in sorted(manifest["files"].items()):
            stream.seek(places[name][0])
            num_bytes, digest = _hash_stream(stream, entry["num_bytes"])
            _check_digest(path, name, entry, num_bytes, digest)
    return Bundle(path, manifest, bundle_id, {name: (path, at, size) for name, (at, size) in places.items()})


def write_tar(bundle: Bundle, stream: BinaryIO) -> None:
    """Serialise a verified bundle: the same bundle gives the same bytes on every machine."""
    names = tar_order([MANIFEST, MANIFEST_DIGEST] + list(bundle.manifest["files"]))
    for name in names:
        data = bundle.read(name)
        stream.write(tar_header(name, len(data)))
        stream.write(data)
        stream.write(bytes(-len(data) % BLOCK))
    stream.write(bytes(2 * BLOCK))


def _parse(path: str, small: Dict[str, bytes]) -> Tuple[Dict[str, Any], str]:
    for name, data in small.items():
        if len(data) > manifests.MAX_MANIFEST_BYTES:
            raise BundleError("bundle %s: %s is larger than %d bytes" % (path, name, manifests.MAX_MANIFEST_BYTES))
    return parse_manifest(path, small[MANIFEST], small[MANIFEST_DIGEST])


def _check_names(path: str, listed: Set[str], present: Set[str]) -> None:
    for name in sorted(listed - present):
        raise BundleError("bundle %s: %s is missing; copy or export it again" % (path, name))
    for name in sorted(present - listed):
        raise _unlisted(path, name)


def _unlisted(path: str, name: str) -> BundleError:
    return BundleError("bundle %s: %r is not in its manifest; a bundle holds nothing else" % (path, name))


def _check_size(path: str, name: str, expected: int, found: int) -> None:
    if found != expected:
        raise BundleError(
            "bundle %s: %s was changed or damaged: expected %d bytes, found %d; copy or export it again"
            % (path, name, expected, found)
        )


def _check_digest(path: str, name: str, entry: Dict[str, Any], num_bytes: int, digest: str) -> None:
    _check_size(path, name, entry["num_bytes"], num_bytes)
    if digest != entry["sha256"]:
        raise BundleError(
            "bundle %s: %s was changed or damaged: expected sha256 %s, found %s; copy or export it again"
            % (path, name, entry["sha256"], digest)
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


def _open_plain(bundle: str, name: str, path: str, refuse_link: bool) -> BinaryIO:
    """Open a plain file to read. Raises BundleError, at once, when something else is there by now, or nothing."""
    try:
        if refuse_link and not stat.S_ISREG(os.lstat(path).st_mode):
            raise _not_plain(bundle, name, os.lstat(path).st_mode)  # not even opened: a device may act on that
        descriptor = os.open(path, _PLAIN | _NO_LINK if refuse_link else _PLAIN)
    except FileNotFoundError as error:
        raise BundleError("bundle %s: %s is missing; copy or export it again" % (bundle, name)) from error
    except OSError as error:
        raise BundleError("bundle %s: %s cannot be read: %s" % (bundle, name, error)) from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise _not_plain(bundle, name, mode)
    return os.fdopen(descriptor, "rb")


def _not_plain(bundle: str, name: str, mode: int) -> BundleError:
    kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "a device")
    return BundleError("bundle %s: %r is %s; only plain files are allowed" % (bundle, name, kind))
