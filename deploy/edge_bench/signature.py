"""Who made a bundle: a detached signature of OpenSSH over its digest line, which is the same for folder and tar.

`ssh-keygen -Y verify` checks it (OpenSSH 8.1 and newer; the format is its PROTOCOL.sshsig). A board may be older: then
it says so, and the workstation verifies before it ships.
"""

import os
import re
import shutil
import subprocess

from edge_bench.bundle import Bundle
from edge_bench.errors import BundleError
from edge_bench.manifest import digest_line

# A signature made for something else, a commit or a mail, is none for a bundle.
NAMESPACE = "edge-dendrite-bundle"
_MAX_SIGNATURE_BYTES = 64 << 10
_LIMIT_S = 60


def signature_path(bundle_path: str) -> str:
    """Where the signature lies: NAME.sig, beside the folder NAME and NAME.tar, which have one id."""
    path = os.path.abspath(bundle_path)
    return (path[: -len(".tar")] if path.endswith(".tar") else path) + ".sig"


def verify_signature(bundle: Bundle, signature: str, allowed_signers: str, signer: str) -> None:
    """Check that `signer` signed this bundle, by a key that the file `allowed_signers` (ssh-keygen(1)) gives him.

    Raises BundleError when it is a signature of another bundle, by another signer or key, for another purpose, or when
    it cannot be checked here.
    """
    _check_file(bundle, signature, "signature", _MAX_SIGNATURE_BYTES)
    _check_file(bundle, allowed_signers, "list of allowed signers", 1 << 20)
    command = ["-Y", "verify", "-f", allowed_signers, "-I", signer, "-n", NAMESPACE, "-s", signature]
    try:
        result = subprocess.run(
            [find_ssh_keygen()] + command,
            input=digest_line(bundle.id),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(os.environ, LC_ALL="C"),
            timeout=_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BundleError("bundle %s: its signature cannot be checked: %s" % (bundle.path, error)) from error
    if result.returncode != 0:
        reason = explain(result.stderr) or "%s has no such key of %r" % (allowed_signers, signer)
        raise BundleError(
            "bundle %s: %s is no signature of it by %r: %s; use the bundle only if you trust where it came from"
            % (bundle.path, signature, signer, reason)
        )


def find_ssh_keygen() -> str:
    """The program's path. Raises BundleError when it is not on this machine."""
    program = shutil.which("ssh-keygen")
    if program is None:
        raise BundleError(
            "ssh-keygen is not on this machine, so signatures cannot be made or checked; install openssh-client, or "
            "verify on the workstation before you ship"
        )
    return program


def explain(errors: bytes) -> str:
    """The reason in what ssh-keygen wrote to stderr. Raises BundleError when it is too old to know signatures."""
    text = errors.decode("utf-8", "replace")
    if re.search(r"(unknown|invalid|illegal) option -- '?Y", text):
        raise BundleError(
            "ssh-keygen here is older than OpenSSH 8.1 and knows no signatures; verify on the workstation before you "
            "ship, or bring a newer OpenSSH"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else ""


def _check_file(bundle: Bundle, path: str, what: str, limit: int) -> None:
    if not os.path.isfile(path):
        raise BundleError("bundle %s: no %s at %s" % (bundle.path, what, path))
    if os.path.getsize(path) > limit:
        raise BundleError("bundle %s: %s is too large for a %s" % (bundle.path, path, what))
