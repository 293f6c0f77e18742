"""Signing a bundle with an SSH key, by ssh-keygen (OpenSSH 8.1 and newer); verifying is edge_bench.signature.

Passphrases are between ssh-keygen and its user: it asks on the terminal, or takes the key from ssh-agent when it is
given the .pub file. Nothing of a secret key passes through here.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from edge_bench.atomic import write_bytes
from edge_bench.errors import EdgeBenchError
from edge_bench.manifest import digest_line
from edge_bench.signature import NAMESPACE, explain, find_ssh_keygen, signature_path
from edge_dendrite.errors import ConfigError, ExportError
from edge_dendrite.export.bundle_files import Bundle


def check_signing(path: str | Path, key: str | Path) -> None:
    """Whether a bundle at `path` can be signed, as far as that shows before it is made. Raises ConfigError."""
    if not Path(key).is_file():
        raise ConfigError(f"{key}: no such key; make one with `ssh-keygen -t ed25519 -f FILE`")
    place = Path(signature_path(str(path)))
    if place.exists() or place.is_symlink():
        raise ConfigError(f"{place}: exists already; give another place or move it away")
    try:
        find_ssh_keygen()
    except EdgeBenchError as error:
        raise ConfigError(str(error)) from error


def sign_bundle(bundle: Bundle, key: str | Path) -> Path:
    """Write the detached signature NAME.sig beside the bundle, valid for its folder and its tar; returns its path.

    key: a secret key, or the public one of a key that ssh-agent holds. It signs the digest line, the content of
    manifest.sha256. Raises ExportError when ssh-keygen does not sign, ConfigError as `check_signing`.
    """
    check_signing(bundle.path, key)
    place = Path(signature_path(str(bundle.path)))
    with tempfile.TemporaryDirectory(prefix="edge-dendrite-signing-") as folder:
        message = Path(folder) / "digest"
        message.write_bytes(digest_line(bundle.id))
        # From a file, so that stdin stays the terminal on which ssh-keygen asks for a passphrase.
        command = [find_ssh_keygen(), "-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(message)]
        result = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        signature = message.with_name("digest.sig")
        if result.returncode != 0 or not signature.exists():
            try:
                reason = explain(result.stderr)
            except EdgeBenchError as error:
                raise ExportError(str(error)) from error
            raise ExportError(
                f"{key}: ssh-keygen did not sign with it ({reason or result.returncode}); a key with a passphrase "
                "needs a terminal to ask on, or ssh-agent and the path of its .pub file"
            )
        write_bytes(str(place), signature.read_bytes())
    return place


def finish_bundle(bundle: Bundle, tar_path: Path | None, key: Path | None) -> Path | None:
    """Pack and sign a bundle that was just made; returns where the signature lies, None without a key.

    When one of them fails everything is removed again, or the same command could not be given a second time.
    """
    try:
        if tar_path is not None:
            bundle.write_tar(tar_path)
        return sign_bundle(bundle, key) if key is not None else None
    except BaseException:
        for made in filter(None, (bundle.path, tar_path)):
            if made.is_dir():
                shutil.rmtree(made)
            else:
                made.unlink(missing_ok=True)
        raise
