"""Bundle.write, read, verify: the same bytes everywhere, whole or not at all."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

import edge_dendrite as ed
from edge_dendrite.errors import ConfigError, ExportError
from edge_dendrite.export.bundle_files import Bundle


@pytest.fixture
def parts(bundle13):
    """(files, manifest) that Bundle.write takes, as a user has them who read a bundle."""
    files = {name: bundle13.read_bytes(name) for name in bundle13.manifest["files"]}
    made_here = ("schema", "version", "files")
    return files, {key: value for key, value in bundle13.manifest.items() if key not in made_here}


def test_what_was_read_is_written_again_as_the_same_bundle(bundle13, parts, tmp_path):
    assert ed.Bundle is Bundle
    folder, packed = ed.Bundle.write(tmp_path / "b", *parts), ed.Bundle.write(tmp_path / "c.tar", *parts)
    assert folder.id == packed.id == bundle13.id
    assert packed.path.is_file() and packed.path.read_bytes() == folder.write_tar(tmp_path / "d.tar").read_bytes()
    for name, data in parts[0].items():
        assert folder.read_bytes(name) == packed.read_bytes(name) == data
    assert ed.Bundle.read(packed.path) == packed and ed.Bundle.verify(folder.path) == folder
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "c.tar", "d.tar"]


def test_files_and_manifest_must_belong_together(parts, tmp_path):
    files, manifest = parts
    for changed, message in (
        ({**files, "../escape": b"x"}, "leads out by '..'"),
        ({**files, str(tmp_path / "absolute"): b"x"}, "absolute path"),
        ({**files, "Model.onnx": b"x"}, "cannot lie in one folder"),
        ({name: data for name, data in files.items() if name != "model.onnx"}, "not among its files"),
        ({**files, "reference/0_input.bin": b"1234"}, "reference/0_input.bin"),
    ):
        for name in ("b", "b.tar"):
            with pytest.raises(ExportError, match=message):
                Bundle.write(tmp_path / name, changed, manifest)
    for wrong in ({"name": float("nan")}, {"name": object()}, {"labels": "abc"}, {"preprocessing": {"layout": "NCHW"}}):
        with pytest.raises(ExportError):
            Bundle.write(tmp_path / "b", files, {**manifest, **wrong})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["b", "b.tar"])
def test_nothing_that_is_there_is_replaced(parts, tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(ExportError, match="exists already"):
        Bundle.write(tmp_path / name, *parts)
    (tmp_path / "target").mkdir()
    (tmp_path / f"link-{name}").symlink_to("target")
    with pytest.raises(ExportError, match="exists already"):
        Bundle.write(tmp_path / f"link-{name}", *parts)
    assert (tmp_path / name).read_text() == "precious" and list((tmp_path / "target").iterdir()) == []


def test_a_bundle_that_changed_is_not_read_or_packed(parts, tmp_path):
    bundle = Bundle.write(tmp_path / "b", *parts)
    (bundle.path / "model.onnx").write_bytes(b"x" * len(parts[0]["model.onnx"]))
    with pytest.raises(ExportError, match="model.onnx was changed"):
        bundle.read_bytes("model.onnx")
    with pytest.raises(ExportError, match="model.onnx was changed"):
        bundle.write_tar(tmp_path / "b.tar")
    with pytest.raises(ExportError, match="model.onnx was changed"):
        Bundle.verify(bundle.path)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_signature_is_asked_for_with_all_that_it_needs(bundle13):
    for some in (
        {"signature": "s"},
        {"signer": "anna"},
        {"allowed_signers": "f"},
        {"signature": "s", "signer": "anna"},
    ):
        with pytest.raises(ConfigError, match="both allowed signers"):
            Bundle.verify(bundle13.path, **some)


# --- the same bytes everywhere

EXPORT = """
import sys, torch
from edge_dendrite.compress.model import CompressedModel
from edge_dendrite.config import ExportConfig
from edge_dendrite.data.digits import read_digits
from edge_dendrite.export.bundle import export_bundle
from edge_dendrite.models.convnets import DigitsCNN
torch.manual_seed(0)
model = CompressedModel.describe(DigitsCNN().eval(), read_digits(), name="n", source="digits-cnn", role="baseline")
bundle = export_bundle(model, sys.argv[1], ExportConfig(opset=13), data=read_digits())
bundle.write_tar(sys.argv[1] + ".tar")
"""


def test_an_export_is_the_same_bytes_whatever_the_process(tmp_path):
    """Hash seed, time zone, locale, umask, working folder: none of it goes into a bundle."""
    settings = [
        ({"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C"}, 0o022),
        ({"PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", "LC_ALL": "C.UTF-8"}, 0o077),
    ]
    running = []
    for number, (environment, umask) in enumerate(settings):
        folder = tmp_path / str(number)
        folder.mkdir()
        options = {"cwd": folder, "env": {**os.environ, **environment}, "umask": umask}
        running.append(subprocess.Popen([sys.executable, "-c", EXPORT, "b"], **options))
    assert [one.wait(timeout=300) for one in running] == [0, 0]
    first, second = (tmp_path / name / "b.tar" for name in "01")
    assert first.read_bytes() == second.read_bytes()
    assert Bundle.read(tmp_path / "0" / "b").id == Bundle.read(tmp_path / "1" / "b").id
    for path in (tmp_path / "1").rglob("*"):  # others can read it, whatever the umask was
        assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644), path


# --- whole or not at all


@pytest.mark.parametrize("name", ["b", "b.tar"])
@pytest.mark.parametrize("limit", [100, 3000, 30_000, 60_000])
def test_a_full_disk_leaves_nothing(parts, tmp_path, name, limit):
    """By a limit on the size of files: which write fails depends on the limit."""
    assert max(len(data) for data in parts[0].values()) > 50_000
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    written = None
    try:
        written = Bundle.write(tmp_path / name, *parts)
    except OSError as error:
        assert (error.strerror, error.filename) == ("File too large", str(tmp_path / name))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    left = [path.name for path in tmp_path.iterdir()]
    # The whole tar is larger than each of its files, so that it may fail where the folder does not.
    assert left == ([name] if written else [])
    assert (written is not None) == (limit == 60_000 and name == "b")


WRITE = """
import json, sys
from edge_dendrite.export.bundle_files import Bundle
source = Bundle.read(sys.argv[1])
files = {name: source.read_bytes(name) for name in source.manifest["files"]}
manifest = {key: value for key, value in source.manifest.items() if key not in ("schema", "version", "files")}
print("ready", flush=True)
for number in range(10**6):
    Bundle.write(f"{sys.argv[2]}/{number}" + (".tar" if number % 2 else ""), files, manifest)
"""


def test_an_interrupt_at_any_moment_leaves_only_whole_bundles(bundle13, tmp_path):
    num_whole = 0
    for attempt in range(12):
        place = tmp_path / str(attempt)
        place.mkdir()
        command = [sys.executable, "-c", WRITE, str(bundle13.path), str(place)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.05 + 0.0137 * attempt)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert b"KeyboardInterrupt" in errors
        for path in place.iterdir():
            assert not path.name.startswith("."), path
            assert Bundle.read(path).id == bundle13.id
            num_whole += 1
    assert num_whole > 0


def test_a_manifest_is_readable_text(bundle13):
    text = bundle13.read_bytes("manifest.json").decode("ascii")
    assert json.dumps(json.loads(text), sort_keys=True, indent=1) + "\n" == text
