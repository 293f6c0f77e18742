"""The verifier against every kind of damage that we could think of: it says BundleError or gives the true bytes."""

import hashlib
import io
import json
import os
import shutil
import socket
import stat
import struct
import sys
import tarfile
import threading

import pytest

from edge_bench import atomic, schema, ustar
from edge_bench import bundle as bundles
from edge_bench import manifest as manifests
from edge_bench.bundle import open_bundle
from edge_bench.errors import BundleError

BLOCK = 512
# Of the stored tiny model's tar. Equal under every Python: a bundle packed on the host opens on the board.
TINY_TAR_SHA256 = "d7d8bb3b12180682de2d105e9b37c138faf80af95809a357f1e603778ff2c258"


def read_bytes(path):
    with open(path, "rb") as stream:
        return stream.read()


def refusal(path):
    """The text of the BundleError that opening `path` raises; anything else fails the test."""
    with pytest.raises(BundleError) as caught:
        open_bundle(path)
    return str(caught.value)


# --- what is accepted


def test_folder_and_tar_are_one_bundle(maker):
    folder = maker.folder()
    from_folder, from_tar = open_bundle(folder), open_bundle(maker.tar(folder))
    assert from_folder.id == from_tar.id == hashlib.sha256(read_bytes(folder + "/manifest.json")).hexdigest()
    assert from_folder.manifest == from_tar.manifest == maker.manifest(maker.files())
    for name, data in maker.files().items():
        assert from_folder.read(name) == from_tar.read(name) == data
    for name in ("manifest.json", "manifest.sha256"):
        assert from_folder.read(name) == from_tar.read(name) == read_bytes(os.path.join(folder, name))


def test_the_digest_file_is_what_sha256sum_reads(maker):
    folder = maker.folder()
    identity = open_bundle(folder).id
    assert read_bytes(folder + "/manifest.sha256") == ("%s  manifest.json\n" % identity).encode("ascii")


def test_packing_is_the_same_under_every_python(maker):
    assert hashlib.sha256(read_bytes(maker.tar())).hexdigest() == TINY_TAR_SHA256


def test_packing_again_gives_the_same_bytes(maker):
    first = maker.tar()
    again = io.BytesIO()
    bundles.write_tar(open_bundle(first), again)
    assert again.getvalue() == read_bytes(first)


def test_an_empty_file_and_a_block_sized_file_are_packed_right(maker):
    files = maker.files()
    files.update({"empty.txt": b"", "block.bin": bytes(BLOCK), "deep/er/file": b"x" * (BLOCK + 1)})
    packed = open_bundle(maker.tar(maker.folder(files)))
    for name, data in files.items():
        assert packed.read(name) == data


def test_other_tools_read_the_tar(maker):
    with tarfile.open(maker.tar()) as archive:
        members = archive.getmembers()
        assert [member.name for member in members] == [
            "manifest.json",
            "manifest.sha256",
            "model.onnx",
            "reference/input.bin",
            "reference/output.bin",
        ]
        assert all(member.isreg() and member.mode == 0o644 and member.mtime == 0 for member in members)
        assert archive.extractfile("model.onnx").read() == maker.files()["model.onnx"]


@pytest.mark.parametrize("name, size", [("model.onnx", 0), ("a/b-c_d.bin", 1234), ("x" * 100, 8**11 - 1)])
def test_header_is_plain_ustar(name, size):
    """Field by field from POSIX.1-1988: the reading side must not depend on how some tarfile writes it."""
    fields = [(name, 100), ("0000644", 8), ("0000000", 8), ("0000000", 8), ("%011o" % size, 12)]
    fields += [("00000000000", 12), ("        ", 8), ("0", 1), ("", 100), ("ustar\x0000", 8), ("", 32)]
    fields += [("", 32), ("0000000", 8), ("0000000", 8), ("", 155), ("", 12)]
    block = b"".join(text.encode("ascii").ljust(width, b"\0") for text, width in fields)
    assert len(block) == BLOCK
    checksum = ("%06o\0 " % sum(block)).encode("ascii")
    assert ustar.tar_header(name, size) == block[:148] + checksum + block[156:]


@pytest.mark.parametrize("name, size", [("x" * 101, 1), ("d" * 90 + "/" + "f" * 90, 1), ("a", 8**11), ("a", -1)])
def test_header_that_ustar_cannot_hold_is_an_error(name, size):
    with pytest.raises(ValueError):
        ustar.tar_header(name, size)


# --- damage


def test_every_byte_of_the_tar_is_covered(maker):
    """One flipped bit at a time, in headers, contents, padding and the end: none goes unseen."""
    path = maker.tar()
    intact = read_bytes(path)
    unseen = []
    with open(path, "r+b", buffering=0) as stream:
        for offset, byte in enumerate(intact):
            stream.seek(offset)
            stream.write(bytes([byte ^ (1 << offset % 8)]))
            try:
                open_bundle(path)
                unseen.append(offset)
            except BundleError:
                pass
            stream.seek(offset)
            stream.write(bytes([byte]))
    assert unseen == []
    assert open_bundle(path).read("model.onnx") == maker.files()["model.onnx"]


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "model.onnx", "reference/output.bin"])
def test_every_kind_of_damage_to_a_file_of_the_folder_is_seen(maker, name):
    folder = maker.folder()
    path = os.path.join(folder, *name.split("/"))
    intact = read_bytes(path)
    flipped = [
        intact[:offset] + bytes([intact[offset] ^ 0x20]) + intact[offset + 1 :]
        for offset in range(0, len(intact), max(1, len(intact) // 60))
    ]
    for damaged in flipped + [b"", intact[:-1], intact + b"\0", intact + b"\n", intact[1:], intact * 2]:
        maker.write(path, damaged)
        assert name.split("/")[-1] in refusal(folder)
    maker.write(path, intact)
    open_bundle(folder)


def test_a_truncated_tar_is_refused_at_every_length(maker):
    path = maker.tar()
    intact = read_bytes(path)
    lengths = set(range(0, len(intact), 101)) | set(range(0, len(intact), BLOCK)) | {len(intact) - 1}
    for length in sorted(lengths):
        maker.write(path, intact[:length])
        assert "bundle" in refusal(path)


def test_a_tar_with_something_after_its_end_is_refused(maker):
    path = maker.tar()
    intact = read_bytes(path)
    for tail in (b"\0", b"x", bytes(BLOCK), bytes(10240 - 1024), bytes(BLOCK) + b"more", intact):
        maker.write(path, intact + tail)
        assert "at its end" in refusal(path)


def test_a_file_that_is_no_bundle_is_refused(maker):
    for zeros in (1, BLOCK, 2 * BLOCK, 20 * BLOCK):
        refusal(maker.write(maker.path("zeros"), bytes(zeros)))
    for content in (b"", b"\x1f\x8b\x08" + bytes(600), b"\x89PNG" * 400, b"\xff" * 2 * BLOCK, b"{}" * 400):
        refusal(maker.write(maker.path("file"), content))


def test_no_such_path_and_things_that_are_no_files(maker, tmp_path):
    assert "no such" in refusal(str(tmp_path / "absent"))
    refusal(os.devnull)
    refusal(str(tmp_path))
    os.mkfifo(str(tmp_path / "fifo"))
    refusal(str(tmp_path / "fifo"))  # must not wait for a writer


# --- names


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "model.onnx", "reference/input.bin"])
def test_a_missing_file_is_named(maker, name):
    folder = maker.folder()
    os.unlink(os.path.join(folder, *name.split("/")))
    assert "%s is missing" % name in refusal(folder)
    members = [member for member in maker.members() if member[0] != name]
    assert "%s is missing" % name in refusal(maker.pack(members))


@pytest.mark.parametrize("name", ["extra.bin", ".hidden", "reference/extra.bin", "new/folder/file", "Model.onnx"])
def test_an_unlisted_file_is_named(maker, name):
    folder = maker.folder()
    maker.write(os.path.join(folder, name), b"")
    # Of an unlisted folder the first is named: it is not entered.
    assert repr(name if "/" not in name or name.startswith("reference/") else "new") in refusal(folder)
    members = maker.members()
    members = members[:2] + sorted(members[2:] + [(name, b"")])
    assert repr(name) in refusal(maker.pack(members))


def test_links_and_devices_in_the_folder_are_refused(maker, tmp_path):
    outside = maker.write(str(tmp_path / "outside.bin"), maker.files()["reference/input.bin"])
    folder = maker.folder()
    inside = os.path.join(folder, "reference", "input.bin")
    for make, kind in (
        (lambda: os.symlink(outside, inside), "symbolic link"),  # same content: only the link is wrong
        (lambda: os.symlink("output.bin", inside), "symbolic link"),
        (lambda: os.symlink("absent", inside), "symbolic link"),
        (lambda: os.symlink(inside, inside), "symbolic link"),
        (lambda: os.mkfifo(inside), "fifo"),
        (lambda: bind_socket(inside), "socket"),
    ):
        os.unlink(inside)
        make()
        assert "'reference/input.bin' is a %s" % kind in refusal(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes device nodes")
def test_device_nodes_in_the_folder_are_refused(maker):
    folder = maker.folder()
    inside = os.path.join(folder, "reference", "input.bin")
    for kind, name in ((stat.S_IFCHR, "character"), (stat.S_IFBLK, "block")):
        os.unlink(inside)
        try:
            os.mknod(inside, kind | 0o644, os.makedev(1, 5))
        except OSError as error:
            pytest.skip("no device nodes in this container: %s" % error)
        assert "is a %s device" % name in refusal(folder)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256"])
def test_the_manifest_is_a_plain_file_too(maker, name):
    folder = maker.folder()
    path = os.path.join(folder, name)
    os.rename(path, path + ".real")
    os.symlink(name + ".real", path)
    assert "%r is a symbolic link" % name in refusal(folder)
    os.unlink(path)
    os.mkfifo(path)
    assert "%r is a fifo" % name in refusal(folder)  # and does not wait for a writer
    os.unlink(path)
    os.mkdir(path)
    assert "%r is a folder" % name in refusal(folder)


def test_an_empty_folder_is_something_unlisted(maker):
    for name in ("empty", "reference/empty"):
        folder = maker.folder()
        os.mkdir(os.path.join(folder, name))
        assert repr(name) in refusal(folder)


def bind_socket(path):
    here = os.getcwd()
    os.chdir(os.path.dirname(path))  # a socket's path is short, a test's folder is not
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.basename(path))
    finally:
        os.chdir(here)


def test_a_linked_folder_in_the_folder_is_refused(maker, tmp_path):
    folder = maker.folder()
    shutil.move(os.path.join(folder, "reference"), str(tmp_path / "elsewhere"))
    os.symlink(str(tmp_path / "elsewhere"), os.path.join(folder, "reference"))
    assert "'reference' is a symbolic link" in refusal(folder)


def test_a_folder_in_the_place_of_a_file_is_refused(maker):
    folder = maker.folder()
    os.unlink(os.path.join(folder, "model.onnx"))
    os.mkdir(os.path.join(folder, "model.onnx"))
    assert "model.onnx is missing" in refusal(folder)


UNSAFE_NAMES = [
    "",
    ".",
    "..",
    "../model.onnx",
    "a/../../b",
    "a/..",
    "./a",
    "a/.",
    "/etc/passwd",
    "//a",
    "a//b",
    "a/",
    "a\\b",
    "..\\a",
    "C:a",
    "a\0b",
    "a\nb",
    "a\x1b[2J",
    "a\x7f",
    "\u00e4",
    "\ud800",
    "a" * 101,
]


@pytest.mark.parametrize("name", UNSAFE_NAMES)
def test_unsafe_names_are_refused(maker, name):
    assert not manifests.is_safe_name(name)
    files = maker.files()
    manifest = maker.manifest(files)
    manifest["files"][name] = maker.entry(b"")
    assert "leaves the bundle" in refusal(maker.folder(files, manifest))
    members = maker.members(files, manifest)
    assert "leaves the bundle" in refusal(maker.pack(members))


@pytest.mark.parametrize("name", ["..", "../a", "/etc/passwd", "a/../b", "./a", "a\\b", "a/"])
def test_an_unsafe_member_of_a_tar_is_refused_even_if_unlisted(maker, name):
    refusal(maker.pack(maker.members() + [(name, b"x")]))


@pytest.mark.parametrize("name", ["a", "a.b", "a/b/c", "...", "a..b", "-", " ", "~", "a" * 100, ".hidden"])
def test_plain_names_are_safe(name):
    assert manifests.is_safe_name(name)


@pytest.mark.parametrize("name", [None, 1, b"a", ["a"], ("a",), {}])
def test_a_name_that_is_no_text_is_unsafe(name):
    assert manifests.is_safe_name(name) is False


# --- the form of the tar


def test_members_in_another_order_are_refused(maker):
    members = maker.members()
    for order in (members[::-1], [members[1], members[0]] + members[2:], members[2:] + members[:2]):
        assert "order" in refusal(maker.pack(order))


def test_a_member_that_comes_twice_is_refused(maker):
    members = maker.members()
    for position in range(len(members)):
        assert "twice" in refusal(maker.pack(members[: position + 1] + members[position:]))


def with_field(maker, offset, field, checksum=None):
    """A tar whose member model.onnx has `field` at an offset of its header, by default with a right checksum."""

    def header(name, num_bytes):
        block = ustar.tar_header(name, num_bytes)
        if name != "model.onnx":
            return block
        block = block[:offset] + field + block[offset + len(field) :]
        blank = block[:148] + b" " * 8 + block[156:]
        return block[:148] + (checksum or b"%06o\0 ") % sum(blank) + block[156:]

    return maker.pack(maker.members(), header)


def test_the_packer_of_these_tests_is_accepted_when_it_changes_nothing(maker):
    open_bundle(maker.pack(maker.members()))
    open_bundle(with_field(maker, 0, b"model.onnx"))


@pytest.mark.parametrize("checksum", ["%07o\0", " %06o\0", "%06o \0", "0%06o ", "%06o\0\0"])
def test_a_checksum_in_another_notation_is_refused(maker, checksum):
    refusal(with_field(maker, 0, b"model.onnx", checksum.encode("ascii")))


@pytest.mark.parametrize(
    "offset, field",
    [
        (0, b"model.onnx\0hidden"),
        (100, b"0000755\0"),  # mode
        (100, b"0004755\0"),
        (100, b"000644 \0"),
        (108, b"0000001\0"),  # owner
        (116, b"0000001\0"),
        (136, b"00000000001\0"),  # time
        (136, b"0" * 11 + b" "),
        (257, b"ustar  \0"),  # GNU
        (257, b"\0" * 8),  # V7
        (265, b"root"),
        (297, b"root"),
        (329, b"0000001\0"),  # device
        (329, b"\0" * 16),  # as tarfile writes it from Python 3.9 on
        (345, b"prefix"),
        (500, b"x"),
    ]
    + [(156, kind.encode("ascii")) for kind in "7XAV\0"]
    + [(157, b"/etc/passwd")],
)
def test_a_header_that_is_not_canonical_is_refused(maker, offset, field):
    assert "canonical form: its header" in refusal(with_field(maker, offset, field))


@pytest.mark.parametrize(
    "field, kind",
    [
        (b"1model.onnx", "a hard link"),
        (b"2/etc/passwd", "a symbolic link"),
        (b"3", "a character device"),
        (b"4", "a block device"),
        (b"5", "a folder"),
        (b"6", "a fifo"),
        (b"g", "a pax extension"),
        (b"x", "a pax extension"),
        (b"K", "a GNU long name"),
        (b"L", "a GNU long name"),
        (b"S", "a sparse file"),
    ],
)
def test_what_is_no_plain_file_in_a_tar_is_named(maker, field, kind):
    assert "canonical form: it is %s;" % kind in refusal(with_field(maker, 156, field))


@pytest.mark.parametrize(
    "name, problem",
    [
        ("/etc/passwd", "is an absolute path"),
        ("../../a", "leads out by '..'"),
        ("a//b", "has an empty part"),
        ("C:a", "has a backslash or a colon"),
        ("a\nb", "has characters that are not printable"),
    ],
)
def test_a_bad_name_in_a_tar_is_named(maker, name, problem):
    said = refusal(maker.pack(maker.members() + [(name, b"x")]))
    assert repr(name) in said and "its name " + problem in said


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_that_tarfile_wrote_is_refused(maker, form):
    path = maker.write(maker.path("archive.tar"), b"")
    with tarfile.open(path, "w", format=form) as archive:
        for name, data in maker.members():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1.5
            archive.addfile(info, io.BytesIO(data))
    refusal(path)


def test_long_names_by_extension_headers_are_refused(maker):
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        info = tarfile.TarInfo("n" * 200)
        long_name = info.tobuf(form, "ascii", "strict")
        path = maker.pack(maker.members())
        content = read_bytes(path)
        maker.write(path, content[: -2 * BLOCK] + long_name + bytes(2 * BLOCK))
        refusal(path)


@pytest.mark.parametrize(
    "field",
    [
        b"77777777777\0",  # 8 GiB less one
        b"00000100000\0",
        b"\x80" + struct.pack(">3xQ", 1 << 60),  # base 256, as GNU tar writes large sizes
        b"\x80" + b"\xff" * 11,
        b"\xff" * 12,  # base 256, minus one
        b"-0000000001\0",
        b"0o000014151\0",
        b"000000_0001\0",
        b"           \0",
        b"\0" * 12,
        b"99999999999\0",
    ],
)
def test_a_false_size_is_refused(maker, field):
    refusal(with_field(maker, 124, field))


@pytest.mark.parametrize("pack", [False, True])
def test_a_manifest_too_large_to_read_is_refused(maker, monkeypatch, pack):
    files = maker.files()
    manifest = atomic.canonical_json(maker.manifest(files))
    monkeypatch.setattr(manifests, "MAX_MANIFEST_BYTES", len(manifest))
    path = maker.pack(maker.members(files, manifest)) if pack else maker.folder(files, manifest)
    open_bundle(path)
    manifest += b" "
    path = maker.pack(maker.members(files, manifest)) if pack else maker.folder(files, manifest)
    assert "larger than" in refusal(path)


@pytest.mark.parametrize("pack", [False, True])
def test_too_many_files_are_refused(maker, monkeypatch, pack):
    path = maker.tar() if pack else maker.folder()
    monkeypatch.setattr(manifests, "MAX_FILES", 3)
    open_bundle(path)
    monkeypatch.setattr(manifests, "MAX_FILES", 2)
    assert "many" in refusal(path) or "more than" in refusal(path)


# --- the manifest's content


def nested(depth):
    return b"[" * depth + b"]" * depth


def test_deep_nesting_is_refused_and_does_not_crash(maker):
    files = maker.files()
    text = json.dumps(maker.manifest(files))
    limit = sys.getrecursionlimit()
    for depth in (limit // 3, limit // 2, limit - 150, limit - 50, limit, 10 * limit, 100 * limit):
        for old in ('"version": 1', '"num_parameters": 1490', '"atol": 1e-05', '"path": "model.onnx"'):
            assert old in text
            manifest = text.replace(old, old.split(":")[0] + ": " + nested(depth).decode("ascii"))
            refusal(maker.folder(files, manifest.encode("ascii")))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
@pytest.mark.parametrize("place", ['"num_parameters": 1490', '"atol": 1e-05', '"version": 1', '"layout": "NCHW"'])
def test_numbers_that_json_does_not_have_are_refused(maker, number, place):
    files = maker.files()
    text = json.dumps(maker.manifest(files))
    assert place in text
    manifest = text.replace(place, "%s: %s" % (place.split(":")[0], number)).encode("ascii")
    assert "not JSON" in refusal(maker.folder(files, manifest))


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"1",
        b"{}",
        b"\xff\xfe{}",
        b"\xef\xbb\xbf{}",
        b"{}x",
        b"{'a': 1}",
    ],
)
def test_a_manifest_that_is_no_manifest_is_refused(maker, manifest):
    refusal(maker.folder(maker.files(), manifest))


def test_hostile_values_in_the_manifest_never_crash(maker, hostile_variants):
    """Whatever stands at any place of a manifest: it is refused, or what was accepted can be used and recorded."""
    folder = maker.folder()
    valid = maker.manifest(maker.files())
    outcomes = {"refused": 0, "accepted": 0}
    for variant in hostile_variants(valid):
        manifest = atomic.canonical_json(variant)
        digest = hashlib.sha256(manifest).hexdigest()
        maker.write(folder + "/manifest.json", manifest)
        maker.write(folder + "/manifest.sha256", manifests.digest_line(digest))
        try:
            opened = open_bundle(folder)
        except BundleError as error:
            assert str(error).startswith("bundle %s: " % folder)
            outcomes["refused"] += 1
        else:
            assert opened.id == digest
            atomic.canonical_json(schema.bundle_summary(opened.id, opened.manifest))
            outcomes["accepted"] += 1
    assert outcomes["refused"] > 500 and outcomes["accepted"] > 50


# Where, and what must be refused there; ... stands for nothing at all.
MUST_HOLD = [
    (("schema",), ["", None, 1, "edge-dendrite.measurement"]),
    (("version",), [..., None, 0, 2, "1", True, 1.0, [1]]),
    (("name",), [..., None, 1, []]),
    (("role",), [..., None, 1, []]),
    (("files",), [..., None, [], {}, "model.onnx"]),
    (("files", "model.onnx"), [..., None, "0" * 64, [], {}]),
    (("files", "model.onnx", "sha256"), [..., None, 0, "", "0" * 64, []]),
    (("files", "model.onnx", "num_bytes"), [..., None, True, -1, 0, 1, 1 << 70, 6249.0, "6249", []]),
    (("model",), [..., None, [], {}, "model.onnx"]),
    (("model", "path"), [..., None, "", "absent", "manifest.json", [], {}, ["model.onnx"], 1]),
    (("model", "inputs"), [..., None, [], {}, "input", [None], [[]]]),
    (("model", "inputs", 0, "name"), [..., None, 1, ["input"]]),
    (("model", "inputs", 0, "dtype"), [..., None, "float16", "f4", 1, []]),
    (("model", "inputs", 0, "shape"), [..., None, 64, "1", [], [64.0], [True, 64], [-8, -8], [0], ["64"]]),
    (("model", "outputs", 0, "shape"), [[10, True], [1 << 31], [1] * 40 + [10], [(1 << 31) - 1] * 100]),
    (("reference",), [..., None, [], {}]),
    (("reference", "atol"), [..., None, True, -1e-9, 1e3, 1 << 80, 10**400, "0", [0]]),
    (("reference", "rtol"), [..., None, False, -1, 1e9, "0", {}]),
    (("reference", "cases"), [..., None, [], {}, [None], [[]], [{}]]),
    (
        ("reference", "cases", 0, "inputs"),
        [..., None, [], ["a", "b"], [None], [[]], [{}], ["model.onnx"], "a"],
    ),
    (
        ("reference", "cases", 0, "outputs"),
        [..., None, [], [["reference/output.bin"]], ["reference/input.bin"]],
    ),
    (("labels",), [..., None, {}, "cat"]),
    (("preprocessing",), [..., None, []]),
    (("stats",), [..., None, []]),
    (("tools",), [..., None, []]),
]


@pytest.mark.parametrize("path, values", MUST_HOLD, ids=[".".join(str(key) for key in path) for path, _ in MUST_HOLD])
def test_what_the_manifest_must_hold(maker, replaced, path, values):
    files = maker.files()
    valid = maker.manifest(files)
    for value in values:
        assert refusal(maker.folder(files, atomic.canonical_json(replaced(valid, path, value))))


@pytest.mark.parametrize("num_bytes", [True, 1.0, "1"])
def test_a_size_is_a_whole_number_even_where_it_equals_one(maker, num_bytes):
    files = dict(maker.files(), tiny=b"x")
    manifest = maker.manifest(files)
    manifest["files"]["tiny"]["num_bytes"] = num_bytes
    assert "num_bytes" in refusal(maker.folder(files, manifest))


def test_the_digest_file_must_be_exact(maker):
    folder = maker.folder()
    line = read_bytes(folder + "/manifest.sha256")
    for other in (
        line.upper(),
        line.rstrip(),
        line + b" ",
        line.replace(b"  ", b" *"),
        b"",
        line.replace(b"\n", b"\r\n"),
    ):
        maker.write(folder + "/manifest.sha256", other)
        assert "does not match" in refusal(folder)


def test_a_scalar_tensor_is_a_shape_without_sizes(maker):
    files = maker.files()
    files["reference/output.bin"] = b"\0\0\0\0"
    manifest = maker.manifest(files)
    manifest["model"]["outputs"][0]["shape"] = []
    assert open_bundle(maker.folder(files, manifest)).manifest["model"]["outputs"][0]["shape"] == []


# --- changes after the bundle was opened


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "manifest.sha256"])
def test_a_file_that_changes_after_opening_is_not_returned(maker, name):
    folder = maker.folder()
    opened = open_bundle(folder)
    path = os.path.join(folder, name)
    intact = read_bytes(path)
    for damaged in (bytes([intact[0] ^ 1]) + intact[1:], intact[:-1], b""):
        maker.write(path, damaged)
        with pytest.raises(BundleError, match="changed"):
            opened.read(name)
    os.unlink(path)
    with pytest.raises(BundleError, match=name):
        opened.read(name)
    maker.write(path, intact)
    assert opened.read(name) == intact


def test_a_tar_that_changes_after_opening_is_not_returned(maker):
    path = maker.tar()
    opened = open_bundle(path)
    maker.write(path, bytes(len(read_bytes(path))))
    for name in ("model.onnx", "manifest.json"):
        with pytest.raises(BundleError, match="changed"):
            opened.read(name)


@pytest.mark.parametrize("name", ["absent", "../bundle/model.onnx", "", "reference"])
def test_reading_a_name_that_is_not_listed_is_an_error(maker, name):
    with pytest.raises(BundleError, match="no file"):
        open_bundle(maker.folder()).read(name)


def test_a_fifo_in_the_place_of_a_file_after_opening_is_refused_at_once(maker):
    folder = maker.folder()
    packed = maker.tar(folder)
    for path, inside in ((folder, os.path.join(folder, "model.onnx")), (packed, packed)):
        opened = open_bundle(path)
        os.unlink(inside)
        os.mkfifo(inside)
        with pytest.raises(BundleError, match="is a fifo"):
            opened.read("model.onnx")


def test_a_link_in_the_place_of_a_file_after_opening_is_refused(maker):
    folder = maker.folder()
    opened = open_bundle(folder)
    path = os.path.join(folder, "model.onnx")
    os.rename(path, path + ".real")
    os.symlink("model.onnx.real", path)
    with pytest.raises(BundleError, match="'model.onnx' is a symbolic link"):
        opened.read("model.onnx")


def test_a_file_that_changes_while_the_bundle_is_opened_is_never_taken(maker):
    """A writer that swaps a file all the time: opening refuses, or what is read afterwards is what the id says."""
    folder = maker.folder()
    path, other = os.path.join(folder, "model.onnx"), maker.write(maker.path("other"), b"x" * 6249)
    intact = maker.write(maker.path("intact"), read_bytes(path))
    stop = threading.Event()

    def swap():
        while not stop.is_set():
            for source in (other, intact):
                shutil.copy(source, path + "~")
                os.rename(path + "~", path)

    thread = threading.Thread(target=swap)
    thread.start()
    outcomes = {"true": 0, "refused": 0}
    try:
        for _ in range(400):
            try:
                assert open_bundle(folder).read("model.onnx") == read_bytes(intact)
                outcomes["true"] += 1
            except BundleError:
                outcomes["refused"] += 1
    finally:
        stop.set()
        thread.join()
    assert outcomes["refused"] > 0, outcomes


@pytest.mark.skipif(os.geteuid() != 0, reason="takes the place of an ordinary user, as only root can")
@pytest.mark.parametrize("name", ["manifest.json", "model.onnx", "reference", "."])
def test_what_cannot_be_read_is_named(maker, name):
    folder = maker.folder()
    for place in (folder, os.path.dirname(folder), os.path.dirname(os.path.dirname(folder))):
        os.chmod(place, 0o755)
    os.chmod(os.path.join(folder, name), 0)
    os.seteuid(65534)
    try:
        said = refusal(folder)
    finally:
        os.seteuid(0)
    assert "Permission denied" in said and (name == "." or name in said)
