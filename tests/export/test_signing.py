"""Signing with real keys: one for folder and tar, nothing left where it fails, passphrases are OpenSSH's."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from edge_dendrite.errors import ConfigError, ExportError
from edge_dendrite.export.bundle_files import Bundle
from edge_dendrite.export.signing import finish_bundle, sign_bundle

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
ANNA = "anna@example.org"


def make_key(path, kind="ed25519", passphrase=""):
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", path.name, "-f", path], check=True)
    return path


@pytest.fixture
def key(tmp_path):
    return make_key(tmp_path / "anna")


@pytest.fixture
def allowed(key):
    path = key.with_name("allowed")
    path.write_text(f"{ANNA} {key.with_name('anna.pub').read_text()}")
    return path


@pytest.fixture
def bundle(bundle13, tmp_path):
    """A bundle of its own in a folder of its own, where a signature may lie beside it."""
    shutil.copytree(bundle13.path, tmp_path / "bundles" / "small")
    return Bundle.read(tmp_path / "bundles" / "small")


def test_folder_and_tar_have_one_signature(bundle, key, allowed):
    packed = bundle.write_tar(bundle.path.with_name("small.tar"))
    assert sign_bundle(bundle, key) == bundle.path.with_name("small.sig")
    for path in (bundle.path, packed):
        assert Bundle.verify(path, allowed_signers=allowed, signer=ANNA).id == bundle.id
        with pytest.raises(ExportError, match="no such key of 'bert@example.org'"):
            Bundle.verify(path, allowed_signers=allowed, signer="bert@example.org")
    # By hand, as the page says.
    command = ["ssh-keygen", "-Y", "verify", "-f", allowed, "-I", ANNA, "-n", "edge-dendrite-bundle", "-s", "small.sig"]
    with (bundle.path / "manifest.sha256").open("rb") as line:
        subprocess.run(command, stdin=line, cwd=bundle.path.parent, check=True, capture_output=True)


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_other_kinds_of_keys(bundle, tmp_path, kind):
    key = make_key(tmp_path / kind, kind)
    sign_bundle(bundle, key)
    signers = tmp_path / "signers"
    signers.write_text(f"{ANNA} {key.with_name(kind + '.pub').read_text()}")
    Bundle.verify(bundle.path, allowed_signers=signers, signer=ANNA)


def test_another_bundle_has_another_signature(bundle, key, allowed):
    signature = sign_bundle(bundle, key)
    files = {name: bundle.read_bytes(name) for name in bundle.manifest["files"]}
    manifest = {key: value for key, value in bundle.manifest.items() if key not in ("schema", "version", "files")}
    # Whole, and its hashes are right: only the signature says that somebody else made it.
    forged = Bundle.write(bundle.path.with_name("forged"), files, {**manifest, "name": "forged"})
    with pytest.raises(ExportError, match="incorrect signature"):
        Bundle.verify(forged.path, signature=signature, allowed_signers=allowed, signer=ANNA)
    with pytest.raises(ExportError, match=r"no signature at .*forged.sig"):
        Bundle.verify(forged.path, allowed_signers=allowed, signer=ANNA)


def test_a_signature_that_is_there_is_not_replaced(bundle, key):
    signature = sign_bundle(bundle, key)
    content = signature.read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        sign_bundle(bundle, key)
    assert signature.read_bytes() == content


def test_what_is_no_key_is_said_and_leaves_nothing(bundle, tmp_path):
    (tmp_path / "garbage").write_text("no key")
    (tmp_path / "garbage").chmod(0o600)
    with pytest.raises(ExportError, match="did not sign"):
        sign_bundle(bundle, tmp_path / "garbage")
    with pytest.raises(ConfigError, match="no such key"):
        sign_bundle(bundle, tmp_path / "absent")
    assert [path.name for path in bundle.path.parent.iterdir()] == ["small"]


def test_a_passphrase_is_never_guessed(bundle, tmp_path, monkeypatch):
    """Without a terminal, and with a program for asking that refuses, ssh-keygen cannot sign: no hang, and said how."""
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    with pytest.raises(ExportError, match=r"passphrase.*terminal to ask on, or ssh-agent"):
        sign_bundle(bundle, make_key(tmp_path / "locked", passphrase="correct horse"))


def test_a_passphrase_is_asked_for_by_ssh_keygen_itself(bundle, tmp_path, monkeypatch):
    """Here by the program that it calls where there is no terminal; ours sees nothing of it."""
    ask = tmp_path / "ask"
    ask.write_text("#!/bin/sh\necho 'correct horse'\n")
    ask.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS", str(ask))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    key = make_key(tmp_path / "locked", passphrase="correct horse")
    assert sign_bundle(bundle, key).read_text().startswith("-----BEGIN SSH SIGNATURE-----")


def test_a_key_in_the_agent_signs_by_its_public_half(bundle, key, allowed, tmp_path, monkeypatch):
    socket = tmp_path / "s"
    started = subprocess.run(["ssh-agent", "-s", "-a", socket], capture_output=True, text=True, check=True).stdout
    number = started.partition("SSH_AGENT_PID=")[2].partition(";")[0]
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    try:
        subprocess.run(["ssh-add", "-q", key], check=True, capture_output=True)
        key.unlink()
        sign_bundle(bundle, key.with_name("anna.pub"))
    finally:
        os.kill(int(number), 15)
    Bundle.verify(bundle.path, allowed_signers=allowed, signer=ANNA)


def test_a_bundle_whose_signing_fails_is_taken_back(bundle, tmp_path):
    (tmp_path / "garbage").write_text("no key")
    with pytest.raises(ExportError, match="did not sign"):
        finish_bundle(bundle, bundle.path.with_name("small.tar"), tmp_path / "garbage")
    assert list(bundle.path.parent.iterdir()) == []
