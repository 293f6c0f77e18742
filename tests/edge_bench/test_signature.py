"""Signatures with real keys: what is signed by whom for what, and what an old or missing ssh-keygen says."""

import os
import shutil
import subprocess

import pytest

from edge_bench.bundle import open_bundle
from edge_bench.errors import BundleError
from edge_bench.signature import NAMESPACE, signature_path, verify_signature

pytestmark = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")


def keygen(*arguments):
    done = subprocess.run(
        ["ssh-keygen"] + [str(one) for one in arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


class Signers:
    """Keys of two people, and the list in which only the first is allowed."""

    def __init__(self, folder):
        self._folder = str(folder)
        for name in ("anna", "bert"):
            keygen("-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.path(name))
        self.allowed = self.list("anna")

    def path(self, name):
        return os.path.join(self._folder, name)

    def list(self, *names, **options):
        """A file of allowed signers."""
        path = self.path("-".join(("allowed",) + names) + str(len(os.listdir(self._folder))))
        with open(path, "w") as stream:
            for name in names:
                with open(self.path(name + ".pub")) as key:
                    stream.write("%s@example.org %s%s" % (name, options.get("options", ""), key.read()))
        return path

    def sign(self, bundle, name="anna", namespace=NAMESPACE):
        """Sign the digest line as README says it is done by hand; returns the signature's path."""
        message = self.path("digest-%d" % len(os.listdir(self._folder)))
        with open(message, "wb") as stream:
            stream.write(bundle.read("manifest.sha256"))
        keygen("-Y", "sign", "-f", self.path(name), "-n", namespace, message)
        return message + ".sig"


@pytest.fixture
def signers(tmp_path):
    folder = tmp_path / "keys"
    folder.mkdir()
    return Signers(folder)


def refusal(bundle, signature, allowed, signer="anna@example.org"):
    with pytest.raises(BundleError) as caught:
        verify_signature(bundle, signature, allowed, signer)
    return str(caught.value)


def test_one_signature_holds_for_the_folder_and_its_tar(maker, signers):
    folder = maker.folder()
    signature = signers.sign(open_bundle(folder))
    for path in (folder, maker.tar(folder)):
        verify_signature(open_bundle(path), signature, signers.allowed, "anna@example.org")


def test_a_changed_manifest_has_another_signature(maker, signers):
    signature = signers.sign(open_bundle(maker.folder()))
    manifest = maker.manifest(maker.files())
    manifest["labels"][0] = "another"
    other = open_bundle(maker.folder(maker.files(), manifest))
    assert "incorrect signature" in refusal(other, signature, signers.allowed)


def test_a_signature_for_something_else_is_refused(maker, signers):
    bundle = open_bundle(maker.folder())
    for namespace in ("git", "file", NAMESPACE + "2"):
        signature = signers.sign(bundle, namespace=namespace)
        assert "namespace does not match" in refusal(bundle, signature, signers.allowed)


def test_other_signers_are_refused(maker, signers):
    bundle = open_bundle(maker.folder())
    of_anna, of_bert = signers.sign(bundle), signers.sign(bundle, "bert")
    both = signers.list("anna", "bert")
    # The key is not on the list; it is, but of somebody else; the right key under another name.
    assert "no such key" in refusal(bundle, of_bert, signers.allowed)
    assert "no such key" in refusal(bundle, of_bert, both)
    assert "no such key" in refusal(bundle, of_anna, both, "bert@example.org")
    for name in ("", "*", "anna", "-anna", "anna@example.org,bert@example.org", "anna@example.org\n"):
        refusal(bundle, of_anna, both, name)
    verify_signature(bundle, of_bert, both, "bert@example.org")


def test_limits_in_the_list_of_signers_hold(maker, signers):
    bundle = open_bundle(maker.folder())
    signature = signers.sign(bundle)
    verify_signature(
        bundle, signature, signers.list("anna", options='namespaces="%s" ' % NAMESPACE), "anna@example.org"
    )
    refusal(bundle, signature, signers.list("anna", options='namespaces="git" '))
    refusal(bundle, signature, signers.list("anna", options='valid-before="20010101" '))


def test_what_is_no_signature_is_refused(maker, signers, tmp_path):
    bundle = open_bundle(maker.folder())
    with open(signers.sign(bundle), "rb") as stream:
        intact = stream.read()
    for content in (
        b"",
        b"x",
        intact[:100],
        intact[:-40],
        intact.replace(b"U1NI", b"U1NJ"),
        b"\0" * 1000,
        intact * 500,
    ):
        refusal(bundle, maker.write(maker.path("s.sig"), content), signers.allowed)
    path = str(tmp_path / "fifo")
    os.mkfifo(path)
    for place in (path, str(tmp_path), str(tmp_path / "absent"), os.devnull):
        assert "no signature at" in refusal(bundle, place, signers.allowed)
        assert "no list of allowed signers at" in refusal(bundle, maker.write(maker.path("s"), intact), place)


def test_every_changed_character_of_a_signature_is_refused(maker, signers):
    """But for line ends and the like, which armour ignores: what is accepted decodes to the same signature."""
    bundle = open_bundle(maker.folder())
    with open(signers.sign(bundle), "rb") as stream:
        intact = stream.read()
    for offset in range(30, len(intact) - 30, 7):
        if intact[offset : offset + 1] == b"\n":
            continue
        changed = intact[:offset] + (b"A" if intact[offset : offset + 1] != b"A" else b"B") + intact[offset + 1 :]
        refusal(bundle, maker.write(maker.path("s.sig"), changed), signers.allowed)


def test_where_a_signature_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = str(tmp_path)
    for path in ("b", "b/", "b.tar", "./x/../b", here + "/b"):
        assert signature_path(path) == here + "/b.sig"
    assert signature_path("small.opset13") == here + "/small.opset13.sig"


@pytest.mark.parametrize(
    "said",
    [
        "unknown option -- Y\nusage: ssh-keygen [-q] [-b bits]",  # OpenSSH's own getopt
        "ssh-keygen: invalid option -- 'Y'\nusage: ssh-keygen",  # that of glibc
    ],
)
def test_an_old_ssh_keygen_is_told_apart_from_a_wrong_signature(maker, signers, tmp_path, monkeypatch, said):
    """The program of 2018 is not on this machine; the one that is here words an unknown option the same way."""
    bundle = open_bundle(maker.folder())
    signature = signers.sign(bundle)
    old = tmp_path / "old" / "ssh-keygen"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\ncat >&2 <<'END'\n%s\nEND\nexit 1\n" % said)
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(old.parent) + ":/usr/bin:/bin")
    assert "older than OpenSSH 8.1" in refusal(bundle, signature, signers.allowed)


def test_this_ssh_keygen_names_an_unknown_option_as_the_old_one_did():
    done = subprocess.run(
        ["ssh-keygen", "-j"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] in (b"unknown option -- j", b"ssh-keygen: invalid option -- 'j'")


def test_without_ssh_keygen_it_is_said_what_to_do(maker, signers, monkeypatch, tmp_path):
    bundle = open_bundle(maker.folder())
    signature = signers.sign(bundle)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "install openssh-client" in refusal(bundle, signature, signers.allowed)


# --- the command


def test_verify_on_the_command_line(maker, signers, agent):
    folder = maker.folder()
    bundle = open_bundle(folder)
    done = agent.run("verify", folder)
    assert done.code == 0 and done.out == "%s  %s  whole; no signature was asked for\n" % (bundle.id, folder)
    shutil.copy(signers.sign(bundle), folder + ".sig")
    who = ["--allowed-signers", signers.allowed, "--signer", "anna@example.org"]
    done = agent.run("verify", folder, *who)
    assert done.code == 0 and done.out.endswith("signed by anna@example.org\n"), done.err
    assert '"signer": "anna@example.org"' in agent.run("verify", folder, "--json", *who).out
    other = agent.run("verify", folder, *(who[:3] + ["bert@example.org"]))
    assert other.code == 1 and "no signature of it by 'bert@example.org'" in other.err and other.out == ""
    assert agent.run("verify", folder, "--signature", signers.sign(bundle, "bert"), *who).code == 1
    for some in (who[:2], who[2:], ["--signature", folder + ".sig"], ["--signer", ""]):
        done = agent.run("verify", folder, *some)
        assert done.code == 2 and "--allowed-signers FILE and --signer NAME" in done.err
    os.unlink(os.path.join(folder, "model.onnx"))
    done = agent.run("verify", folder)
    assert done.code == 1 and "model.onnx is missing" in done.err and "Traceback" not in done.err
