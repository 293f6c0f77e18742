"""A bundle as files: written, read, verified, packed and signed. Its reader is the agent's: one format, one verifier.

The format is described in deploy/edge_bench/README.md. Nothing here needs torch or ONNX.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_bench import bundle as reader
from edge_bench.atomic import canonical_json, replacing, write_bytes
from edge_bench.errors import EdgeBenchError
from edge_bench.manifest import MANIFEST, MANIFEST_DIGEST, SCHEMA, VERSION, digest_line, parse_manifest
from edge_bench.signature import signature_path, verify_signature
from edge_dendrite.errors import ConfigError, ExportError


@dataclass(frozen=True)
class Bundle:
    """A verified bundle on disk, a folder or a .tar; `id` is the sha256 of its manifest, the same for both."""

    path: Path
    id: str
    manifest: dict[str, Any]
    _verified: reader.Bundle = field(repr=False, compare=False)

    @classmethod
    def read(cls, path: str | Path) -> Bundle:
        """Open a folder or .tar and verify all of it, before anything of it is used.

        Raises ExportError naming the file and what is wrong with it.
        """
        with _as_export_error():
            found = reader.open_bundle(str(path))
        return cls(Path(path), found.id, found.manifest, found)

    @classmethod
    def verify(
        cls,
        path: str | Path,
        *,
        signature: str | Path | None = None,
        allowed_signers: str | Path | None = None,
        signer: str | None = None,
    ) -> Bundle:
        """As `read`; with `allowed_signers` and `signer` also that this signer signed it.

        signature: by default NAME.sig beside the folder NAME or NAME.tar. allowed_signers: a file as ssh-keygen(1)
        describes it, a line for each signer: name and public key. Raises ExportError when the bundle is not whole or
        not signed so, ConfigError when only a part of these is given.
        """
        if (signature or allowed_signers or signer) and not (allowed_signers and signer):
            raise ConfigError("a signature is checked with both allowed signers (a file) and the signer's name")
        bundle = cls.read(path)
        if allowed_signers and signer:
            place = str(signature or signature_path(str(path)))
            with _as_export_error():
                verify_signature(bundle._verified, place, str(allowed_signers), signer)
        return bundle

    @classmethod
    def write(cls, path: str | Path, files: Mapping[str, bytes], manifest: Mapping[str, Any]) -> Bundle:
        """Write a bundle of `files` (bytes by name): a .tar where the path ends so, else a folder.

        `manifest` has all keys but schema, version and files, which are made here. The same input gives the same bytes
        and the same id, everywhere. The bundle is verified as a board will and appears whole or not at all. Raises
        ExportError when it would be refused or something is at `path` already, OSError when it cannot be written.
        """
        path = Path(path)
        check_free(path)
        complete = {
            **manifest,
            "schema": SCHEMA,
            "version": VERSION,
            "files": {
                name: {"num_bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                for name, data in files.items()
            },
        }
        try:
            manifest_bytes = canonical_json(complete)
        except (TypeError, ValueError) as error:
            raise ExportError(f"{path}: its manifest cannot be written as JSON ({error})") from error
        digest = digest_line(hashlib.sha256(manifest_bytes).hexdigest())
        with _as_export_error():
            parse_manifest(str(path), manifest_bytes, digest)  # also: no name leads out of the folder
        path.parent.mkdir(parents=True, exist_ok=True)
        content = path.parent / f".exporting-{secrets.token_hex(8)}"  # named before it is made, to be found at its end
        try:
            _write_files(content, {**files, MANIFEST: manifest_bytes, MANIFEST_DIGEST: digest})
            checked = cls.read(content)  # what is not accepted here must not reach a board
            if path.suffix == ".tar":
                checked.write_tar(path)
            else:
                content.rename(path)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error  # the temporary's name helps nobody
        finally:
            _remove(content)
        return cls.read(path)

    def read_bytes(self, name: str) -> bytes:
        """The content of one of its files, hashed again as it is read. Raises ExportError when it has changed."""
        with _as_export_error():
            return self._verified.read(name)

    def write_tar(self, path: str | Path) -> Path:
        """The bundle as one file: the same bundle gives the same bytes. Raises ExportError when it was changed."""
        with _as_export_error(), replacing(str(path)) as stream:
            reader.write_tar(reader.open_bundle(str(self.path)), stream)
        return Path(path)


def check_free(path: str | Path) -> None:
    """Raise ExportError when something is at the place of a bundle: asked before the work, and when it is written."""
    if Path(path).exists() or Path(path).is_symlink():
        raise ExportError(f"{path}: exists already; give another place or delete it")


def _remove(folder: Path) -> None:
    """Remove what is there of a folder, also when an interrupt comes meanwhile."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(str(place), data)
    for place in (folder, *folder.rglob("*")):  # whatever the umask: others have to read it too
        if place.is_dir():
            place.chmod(0o755)


@contextmanager
def _as_export_error() -> Iterator[None]:
    try:
        yield
    except EdgeBenchError as error:
        raise ExportError(str(error)) from error
