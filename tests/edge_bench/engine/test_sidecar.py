"""What an engine's sidecar says, and the words for an engine that cannot load."""

import hashlib
import os

import pytest

from edge_bench import atomic
from edge_bench.engine import sidecar
from edge_bench.errors import BundleError

H200 = {"index": 0, "name": "NVIDIA H200", "compute_capability": "9.0", "memory_bytes": 1 << 37}
NANO = {"index": 0, "name": "NVIDIA Tegra X1", "compute_capability": "5.3", "memory_bytes": 1 << 32}
ENGINE = b"a plan"


@pytest.fixture
def record():
    return {
        "schema": "edge-dendrite.engine",
        "version": 1,
        "tensorrt_version": "8.6.0",
        "gpu": {"name": "NVIDIA H200", "compute_capability": "9.0", "memory_bytes": 1 << 37},
        "cuda_version": "12.6",
        "platform": sidecar.this_platform(),
        "precision": "fp32",
        "sha256": "1" * 64,
        "num_bytes": len(ENGINE),
        "onnx_sha256": "0" * 64,
        "inputs": [{"name": "input", "dtype": "float32", "shape": [-1, 4], "profile": {}}],
        "outputs": [{"name": "output", "dtype": "float32", "shape": [-1, 4]}],
        "version_compatible": False,
        "settings": {},
        "built_with": {"way": "python"},
        "notes": [],
    }


def write(folder, record, engine=ENGINE):
    record = dict(record, sha256=hashlib.sha256(ENGINE).hexdigest())
    atomic.write_json(os.path.join(str(folder), "model.engine.json"), record)
    (folder / "model.engine").write_bytes(engine)
    return record


def test_an_engine_and_its_sidecar_are_read_together(tmp_path, record):
    written = write(tmp_path, record)
    assert sidecar.open_engine(str(tmp_path)) == (written, str(tmp_path / "model.engine"))


@pytest.mark.parametrize("engine", [b"", b"a pla", b"a plan!", b"A plan"])
def test_another_engine_than_the_sidecars_is_refused(tmp_path, record, engine):
    write(tmp_path, record, engine)
    with pytest.raises(BundleError, match="not the engine that model.engine.json describes"):
        sidecar.open_engine(str(tmp_path))


@pytest.mark.parametrize("name", ["model.engine", "model.engine.json"])
def test_one_without_the_other_is_refused_by_name(tmp_path, record, name):
    write(tmp_path, record)
    (tmp_path / name).unlink()
    with pytest.raises(BundleError, match="%s: No such file" % name):
        sidecar.open_engine(str(tmp_path))


def test_whatever_a_sidecar_holds_gives_a_record_or_a_bundle_error(record, hostile_variants):
    accepted = refused = 0
    for variant in hostile_variants(record):
        try:
            data = atomic.canonical_json(variant)
        except (ValueError, UnicodeEncodeError):
            continue
        try:
            read = sidecar.parse_sidecar(data)
        except BundleError as error:
            refused += 1
            assert "build the engine again" in str(error) or "not JSON" in str(error)
            continue
        accepted += 1
        assert isinstance(sidecar.why_not_here(read, H200, "8.6.0"), str)
    assert accepted > 100 and refused > 300


def test_too_large_a_sidecar_is_not_read(tmp_path, record):
    write(tmp_path, dict(record, notes=["x" * (2 << 20)]))
    with pytest.raises(BundleError, match="not JSON"):
        sidecar.open_engine(str(tmp_path))


def test_an_engine_loads_where_it_was_built(record):
    assert sidecar.why_not_here(record, H200, "8.6.0") == ""
    # Wheels number the build too, trtexec does not.
    assert sidecar.why_not_here(record, H200, "8.6.0.12") == ""


def test_the_words_for_another_board(record):
    assert sidecar.why_not_here(record, NANO, "8.2.1") == (
        "engine built with TensorRT 8.6.0 for sm_90; this board has 8.2.1, sm_53; edge-bench will build it there"
    )


@pytest.mark.parametrize(
    "device, release, words",
    [
        (NANO, "8.6.0", "this board has 8.6.0, sm_53; edge-bench will build it there"),
        (H200, "8.6.1", "this board has 8.6.1, sm_90"),
        (None, "8.6.0", "this board has no NVIDIA GPU"),
        (H200, None, "this board has no TensorRT"),
        (None, None, "this board has no NVIDIA GPU and no TensorRT"),
    ],
)
def test_each_reason_alone(record, device, release, words):
    reason = sidecar.why_not_here(record, device, release)
    assert reason.startswith("engine built with TensorRT 8.6.0 for sm_90; ") and words in reason


def test_another_platform_comes_first(record):
    reason = sidecar.why_not_here(dict(record, platform="linux-riscv64"), H200, "8.6.0")
    assert "for sm_90 on linux-riscv64; this board is %s" % sidecar.this_platform() in reason


@pytest.mark.parametrize(
    "built, here, loads",
    [
        ("8.6.0", "8.6.1", True),
        ("8.6.0", "10.3.0", True),
        ("10.3.0", "10.13.2", True),
        ("10.3.0", "11.4.1", True),
        ("8.6.0", "11.4.1", False),  # not across two major releases
        ("8.6.1", "8.6.0", False),
        ("10.3.0", "8.6.1", False),
    ],
)
def test_version_compatible_engines_load_in_later_releases(record, built, here, loads):
    compatible = dict(record, tensorrt_version=built, version_compatible=True)
    assert (sidecar.why_not_here(compatible, H200, here) == "") is loads
    assert sidecar.why_not_here(dict(compatible, version_compatible=False), H200, here) != ""
    assert sidecar.why_not_here(compatible, NANO, here) != ""
