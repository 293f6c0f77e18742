"""What a manifest may say, apart from damage: names that collide, two meanings of one text, preprocessing, labels."""

import hashlib
import json

import pytest

from edge_bench import manifest as manifests
from edge_bench.atomic import canonical_json
from edge_bench.bundle import open_bundle
from edge_bench.errors import BundleError


@pytest.fixture
def refusal(maker):
    """The message with which a manifest, a dict or bytes with a right digest, is refused."""

    def call(manifest):
        content = manifest if isinstance(manifest, bytes) else canonical_json(manifest)
        line = manifests.digest_line(hashlib.sha256(content).hexdigest())
        with pytest.raises(BundleError) as caught:
            manifests.parse_manifest("b", content, line)
        assert str(caught.value).startswith("bundle b: manifest.json")
        return str(caught.value)

    return call


@pytest.fixture
def valid(maker):
    return maker.manifest(maker.files())


def test_the_valid_one_is_accepted(valid):
    content = canonical_json(valid)
    digest = hashlib.sha256(content).hexdigest()
    assert manifests.parse_manifest("b", content, manifests.digest_line(digest)) == (valid, digest)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text[:-1],
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.replace(": ", ":"),
        lambda text: text.replace('"atol": 1e-05', '"atol": 0.00001'),
        lambda text: text.replace('"atol": 1e-05', '"atol": 1.0e-05'),
        lambda text: text.replace('"tiny"', '"\\u0074iny"'),
        lambda text: text.replace('"role"', '"r\\u006fle"'),
        lambda text: json.dumps(json.loads(text)),
        lambda text: json.dumps(dict(reversed(list(json.loads(text).items()))), indent=1) + "\n",
    ],
)
def test_another_text_of_the_same_content_is_refused(valid, refusal, change):
    """One content, one text, one id: no reader finds another meaning, and no id is made anew by a blank."""
    text = canonical_json(valid).decode("ascii")
    changed = change(text)
    assert changed != text and json.loads(changed) == valid
    assert "canonical form" in refusal(changed.encode("ascii"))


@pytest.mark.parametrize("key", ['"version": 1', '"path": "model.onnx"', '"num_bytes": 40'])
def test_a_key_that_comes_twice_is_refused(valid, refusal, key):
    text = canonical_json(valid).decode("ascii")
    assert key in text
    assert "comes twice" in refusal(text.replace(key, "%s,\n%s" % (key, key)).encode("ascii"))


@pytest.mark.parametrize("number", [1 << 63, -(1 << 64), 10**400])
def test_whole_numbers_of_more_than_64_bits_are_refused(valid, refusal, number):
    valid["stats"]["num_parameters"] = number
    assert "64 bits" in refusal(valid)


def test_a_whole_number_of_a_million_digits_is_refused_unread(valid, refusal):
    text = canonical_json(valid).decode("ascii").replace('"num_parameters": 1490', '"num_parameters": ' + "9" * 10**6)
    assert "64 bits" in refusal(text.encode("ascii"))


@pytest.mark.parametrize(
    "digest",
    [
        lambda text: text.upper(),
        lambda text: text[:-1],
        lambda text: text + "0",
        lambda text: "g" * 64,
        lambda text: "",
    ],
)
def test_a_digest_is_64_lower_case_digits(valid, refusal, digest):
    entry = valid["files"]["model.onnx"]
    entry["sha256"] = digest("abcdef" + entry["sha256"][6:])
    assert "'model.onnx' has no sha256 (64 lower-case" in refusal(valid)


@pytest.mark.parametrize(
    "name", ["Model.onnx", "MANIFEST.JSON", "manifest.SHA256", "Reference/input2.bin", "model.onnx/inside", "reference"]
)
def test_names_that_are_one_somewhere_are_refused(maker, valid, refusal, name):
    """Twins by Unicode normalisation need letters beyond ASCII, which no name may have."""
    valid["files"][name] = maker.entry(b"")
    said = refusal(valid)
    assert "cannot lie in one folder" in said and repr(name.split("/inside")[0].split("/input2")[0]) in said


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256"])
def test_the_manifest_does_not_list_itself(maker, valid, refusal, name):
    valid["files"][name] = maker.entry(b"")
    assert "lists %s" % name in refusal(valid)


@pytest.mark.parametrize(
    "name, problem",
    [
        ("\u00e4.bin", "not printable ASCII"),
        ("a\u0308.bin", "not printable ASCII"),
        ("/etc/passwd", "absolute path"),
        ("../x", "leads out by '..'"),
        ("x" * 101, "longer than 100"),
    ],
)
def test_a_bad_name_is_named_with_its_reason(maker, valid, refusal, name, problem):
    valid["files"][name] = maker.entry(b"")
    said = refusal(valid)
    assert problem in said and repr(name)[:90] in said


def test_petabytes_are_refused_by_what_they_claim(valid, refusal):
    for num_bytes in (1 << 50, manifests.MAX_BUNDLE_BYTES):
        valid["files"]["model.onnx"]["num_bytes"] = num_bytes
        assert "too large for a bundle" in refusal(valid)


def test_too_many_files_are_refused(maker, valid, refusal):
    for number in range(manifests.MAX_FILES):
        valid["files"]["f%04d" % number] = maker.entry(b"")
    assert "more than 4096 files" in refusal(valid)


@pytest.mark.parametrize("labels", [[1], [None], ["a", ["b"]], [{}]])
def test_labels_are_texts(valid, refusal, labels):
    valid["labels"] = labels
    assert "'labels'" in refusal(valid)


@pytest.mark.parametrize(
    "key, values",
    [
        ("layout", [..., None, "", "NHWC", 1, []]),
        ("channels", [..., None, 0, 3, True, 1.0, "1"]),
        ("height", [..., None, 0, 9, 8.0, "8"]),
        ("width", [..., 7, [8]]),
        ("resize", [..., None, "", "nearest", 1]),
        ("antialias", [..., False, None, 1, "true"]),
        ("colour", [..., None, "", "RGB", "BGR", 1, []]),
        ("scale", [..., None, 0, -1.0, True, "1", []]),
        ("mean", [..., None, [], [0.1, 0.2], ["0"], [True], [None], 0.5, {}]),
        ("std", [..., None, [], [0.0], [-1], [0.1, 0.2], ["1"], 0.5]),
    ],
)
def test_preprocessing_is_complete_and_fits_the_model(valid, replaced, refusal, key, values):
    for value in values:
        assert "preprocessing" in refusal(replaced(valid, ("preprocessing", key), value))


def test_a_model_of_plain_tensors_has_no_preprocessing(maker, valid):
    valid["preprocessing"], valid["labels"] = {}, []
    assert open_bundle(maker.folder(maker.files(), valid)).manifest["preprocessing"] == {}


def test_colours_that_fit(maker, valid):
    valid["preprocessing"]["colour"] = "unspecified"
    assert open_bundle(maker.folder(maker.files(), valid)).manifest["preprocessing"]["colour"] == "unspecified"
