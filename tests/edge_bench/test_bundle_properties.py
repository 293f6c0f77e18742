"""Properties of the readers under generated input. On the host only: Hypothesis does not run under Python 3.6."""

import array
import hashlib
import io
import json
import math
import os
import tarfile
import tempfile

import pytest

from edge_bench import atomic, render, schema, stats
from edge_bench import manifest as manifests
from edge_bench.backends.tensors import to_numbers
from edge_bench.bundle import open_bundle, write_tar
from edge_bench.errors import BundleError, MeasurementError
from edge_bench.manifest import parse_manifest
from edge_bench.measure.check import compare_outputs
from edge_bench.ustar import tar_header

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

# No deadline: how long an example takes says something about the machine only. Fixtures are read, never changed.
limits = hypothesis.settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
names = st.text(st.characters(min_codepoint=32, max_codepoint=127), min_size=1, max_size=30)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def outcome(path):
    """The bundle, or None when it was refused; any other exception goes through."""
    try:
        return open_bundle(path)
    except BundleError:
        return None


@pytest.fixture
def tar(maker):
    path = maker.tar()
    with open(path, "rb") as stream:
        return path, stream.read()


@limits
@hypothesis.given(st.data())
def test_a_spliced_tar_is_refused(maker, tar, data):
    """Any piece cut out, doubled, moved, overwritten or put in: only the very same bytes are a bundle."""
    path, intact = tar
    place = st.integers(0, len(intact))
    first, last = sorted([data.draw(place), data.draw(place)])
    piece = data.draw(st.sampled_from([b"", intact[first:last] * 2, intact[first:last][::-1]]) | st.binary(max_size=40))
    spliced = intact[:first] + piece + intact[last:]
    maker.write(path, spliced)
    assert (outcome(path) is not None) == (spliced == intact)


@limits
@hypothesis.given(st.binary(max_size=3000), st.booleans())
def test_arbitrary_bytes_are_no_bundle(maker, content, with_header):
    header = tar_header("manifest.json", len(content)) if with_header else b""
    path = maker.write(maker.path("noise.tar"), header + content + bytes(-len(content) % 512 + 1024))
    assert outcome(path) is None
    os.unlink(path)


@limits
@hypothesis.given(st.binary(max_size=500))
def test_arbitrary_bytes_are_no_manifest(content):
    with pytest.raises(BundleError):
        parse_manifest("path", content, manifests.digest_line(hashlib.sha256(content).hexdigest()))


@limits
@hypothesis.given(st.data(), json_values)
def test_any_value_anywhere_in_the_manifest_is_refused_or_usable(maker, replaced, data, value):
    valid = maker.manifest(maker.files())
    keys, place = [], valid
    while isinstance(place, (dict, list)) and place and (not keys or data.draw(st.booleans())):
        keys.append(data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))))
        place = place[keys[-1]]
    # Python's json writes NaN and infinity as words that JSON does not have: the reader must not take them.
    manifest = json.dumps(replaced(valid, tuple(keys), value)).encode("ascii")
    digest = hashlib.sha256(manifest).hexdigest()
    try:
        parsed, identity = parse_manifest("path", manifest, manifests.digest_line(digest))
    except BundleError:
        return
    assert identity == digest
    atomic.canonical_json(schema.bundle_summary(identity, parsed))


# Beside the tiny model's own files, and not in the place of one of them or of their folder.
safe_files = st.dictionaries(
    names.map("extra-{}".format).filter(manifests.is_safe_name).filter(lambda name: "/" not in name),
    st.binary(max_size=1500),
    max_size=5,
)


@limits
@hypothesis.given(safe_files)
def test_any_files_survive_packing_byte_for_byte(maker, extra):
    with tempfile.TemporaryDirectory() as scratch:
        builder = type(maker)(scratch)
        files = dict(extra, **builder.files())
        folder = builder.folder(files)
        packed = builder.tar(folder)
        from_folder, from_tar = open_bundle(folder), open_bundle(packed)
        assert from_folder.id == from_tar.id
        for name, data in files.items():
            assert from_folder.read(name) == from_tar.read(name) == data
        again = io.BytesIO()
        write_tar(from_tar, again)
        with open(packed, "rb") as stream:
            assert stream.read() == again.getvalue()


@limits
@hypothesis.given(st.text(max_size=120))
def test_a_safe_name_stays_below_its_folder(name):
    if manifests.is_safe_name(name):
        joined = os.path.normpath(os.path.join("/bundle", *name.split("/")))
        assert joined == "/bundle/" + name
        assert tar_header(name, 0)[:100].rstrip(b"\0") == name.encode("ascii")


@limits
@hypothesis.given(names, st.integers(0, 8**11 - 1))
def test_a_header_says_what_went_in(name, num_bytes):
    hypothesis.assume(not name.endswith("/"))
    info = tarfile.TarInfo.frombuf(tar_header(name, num_bytes), "ascii", "strict")
    assert (info.name, info.size, info.isreg()) == (name, num_bytes, True)


@limits
@hypothesis.given(json_values)
def test_what_the_reader_lets_in_the_writer_can_write(value):
    try:
        parsed = atomic.parse_json(json.dumps(value).encode("ascii"))
    except ValueError:
        return
    written = atomic.canonical_json(parsed)
    assert atomic.parse_json(written) == parsed
    assert atomic.canonical_json(atomic.parse_json(written)) == written


@limits
@hypothesis.given(st.data(), json_values)
def test_any_value_anywhere_in_a_measurement_is_refused_or_shown(measurement, replaced, data, value):
    keys, place = [], measurement
    while isinstance(place, (dict, list)) and place and (not keys or data.draw(st.booleans())):
        keys.append(data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place)))))
        place = place[keys[-1]]
    document = json.dumps(replaced(measurement, tuple(keys), value)).encode("ascii")
    try:
        accepted = schema.parse_measurement(document, "origin")
    except MeasurementError:
        return
    assert render.render_measurement(accepted).isascii()
    atomic.canonical_json(accepted)


@limits
@hypothesis.given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=800))
def test_a_summary_lies_within_its_samples(samples):
    summary = stats.summarise(samples)
    assert summary["min_s"] <= summary["median_s"] <= summary["max_s"]
    assert summary["min_s"] <= summary["mean_s"] * (1 + 1e-12) and summary["mean_s"] <= summary["max_s"] * (1 + 1e-12)
    assert 0 <= summary["mad_s"] <= summary["max_s"] - summary["min_s"]
    for key in ("p90_s", "p99_s"):
        assert summary[key] is None or summary[key] in samples
    assert stats.summarise(samples[::-1]) == summary


floats32 = st.floats(width=32)


@limits
@hypothesis.given(st.lists(st.tuples(floats32, floats32), max_size=20), st.floats(0, 10), st.floats(0, 1))
def test_outputs_are_close_only_if_each_of_them_is(pairs, atol, rtol):
    packed = array.array("f", [wanted for _value, wanted in pairs])
    _largest, close = compare_outputs(
        [value for value, _wanted in pairs], to_numbers(packed.tobytes(), "float32"), atol, rtol
    )
    finite = all(math.isfinite(value) and math.isfinite(wanted) for value, wanted in pairs)
    assert close == (finite and all(abs(value - wanted) <= atol + rtol * abs(wanted) for value, wanted in pairs))
