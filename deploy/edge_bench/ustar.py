"""The one tar that a list of files has: POSIX.1-1988 (USTAR), fixed owner, mode and time, nothing after the end.

Not by tarfile: newer releases of Python leave the device fields empty, older ones fill them with zeros, and what a
reader accepts beside the canonical form (links, devices, extensions, sparse files) is what attacks are made of.
"""

import os
import struct
from typing import BinaryIO, Dict, List, Tuple

from edge_bench import manifest
from edge_bench.errors import BundleError

BLOCK = 512
# name, mode, uid, gid, size, mtime, checksum, type, link name, magic, user, group, device (2), prefix
_USTAR = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "a folder",
    b"6": "a fifo",
    b"g": "a pax extension",
    b"x": "a pax extension",
    b"K": "a GNU long name",
    b"L": "a GNU long name",
    b"S": "a sparse file",
}


def list_members(path: str, stream: BinaryIO) -> Dict[str, Tuple[int, int]]:
    """Offset and size of each member, in order; each byte outside of the contents has to be the canonical one.

    Contents are skipped, so that a false size costs nothing. Raises BundleError naming the member.
    """
    places = {}  # type: Dict[str, Tuple[int, int]]
    end = os.fstat(stream.fileno()).st_size
    while True:
        header = stream.read(BLOCK)
        if header == bytes(BLOCK):
            break
        if len(header) != BLOCK:
            raise BundleError("bundle %s: not a bundle tar, or cut short" % path)
        name, size = _read_header(path, header)
        if name in places or len(places) >= manifest.MAX_FILES + 2:
            raise BundleError("bundle %s: member %r comes twice, or there are too many" % (path, name))
        offset = stream.tell()
        places[name] = (offset, size)
        if offset + size + -size % BLOCK > end:
            raise BundleError("bundle %s: cut short at member %r, which claims %d bytes" % (path, name, size))
        stream.seek(offset + size)
        if stream.read(-size % BLOCK) != bytes(-size % BLOCK):
            raise BundleError("bundle %s: damaged in the padding of member %r" % (path, name))
    if stream.read(2 * BLOCK) != bytes(BLOCK):
        raise BundleError("bundle %s: damaged or padded at its end" % path)
    return places


def _read_header(path: str, header: bytes) -> Tuple[str, int]:
    name, size = header[:100].split(b"\0")[0].decode("ascii", "replace"), 0
    try:
        size = int(header[124:135], 8)
        canonical = tar_header(name, size)
    except ValueError:
        canonical = b""
    problem = manifest.name_problem(name)
    if header != canonical or problem:
        if header[156:157] in _KINDS:
            problem = "it is " + _KINDS[header[156:157]]
        elif problem:
            problem = "its name " + problem
        else:
            problem = "its header has another size, mode, owner, time or padding"
        raise BundleError(
            "bundle %s: member %r is not a plain file in canonical form: %s; "
            "write the tar with `edge-dendrite export`" % (path, name, problem)
        )
    return name, size


def tar_header(name: str, num_bytes: int) -> bytes:
    """The one header block that a member of this name and size may have.

    Raises ValueError on a name or size that USTAR cannot hold.
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
    first = [manifest.MANIFEST, manifest.MANIFEST_DIGEST]
    return first + sorted(set(names) - set(first))
