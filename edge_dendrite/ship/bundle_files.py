"""The files of a bundle as they travel: name, size, hash, and where their bytes lie here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from edge_bench.bundle import Bundle
from edge_bench.manifest import MANIFEST, MANIFEST_DIGEST, digest_line
from edge_dendrite.errors import DeployError

_CHUNK = 1 << 18


@dataclass(frozen=True)
class ShippedFile:
    """A file to be copied: its bytes are `num_bytes` at `offset` of the file `path` here, or `content` itself."""

    name: str
    num_bytes: int
    sha256: str
    path: str = ""
    offset: int = 0
    content: bytes = b""

    def prefix_sha256(self, num_bytes: int) -> str:
        """sha256 of its first bytes."""
        digest = hashlib.sha256()
        for chunk in self._chunks(0, num_bytes):
            digest.update(chunk)
        return digest.hexdigest()

    def chunks(self, start: int) -> Iterator[bytes]:
        """Its bytes from `start` on, piece by piece: a bundle need not fit into memory."""
        return self._chunks(start, self.num_bytes)

    def _chunks(self, start: int, end: int) -> Iterator[bytes]:
        if not self.path:
            yield self.content[start:end]
            return
        with open(self.path, "rb") as stream:  # noqa: PTH123 - bundles are opened by name, as the reader does
            stream.seek(self.offset + start)
            while start < end:
                chunk = stream.read(min(_CHUNK, end - start))
                if not chunk:
                    raise DeployError(f"{self.path}: became shorter while it was copied; export the bundle again")
                start += len(chunk)
                yield chunk


def agent_file(content: bytes) -> ShippedFile:
    """The agent as a file to be copied."""
    return ShippedFile("edge-bench.pyz", len(content), hashlib.sha256(content).hexdigest(), content=content)


def files_of(bundle: Bundle) -> list[ShippedFile]:
    """All files of a verified bundle, the manifest last: what is there without it is nobody's bundle yet."""
    line = digest_line(bundle.id)
    hashes = {name: entry["sha256"] for name, entry in bundle.manifest["files"].items()}
    hashes.update({MANIFEST_DIGEST: hashlib.sha256(line).hexdigest(), MANIFEST: bundle.id})
    found = []
    for name, sha256 in hashes.items():
        path, offset, num_bytes = bundle.locate(name)
        found.append(ShippedFile(name, num_bytes, sha256, path, offset))
    return found
