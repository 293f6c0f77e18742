"""Thousands of damaged bundles: none is accepted, none ends in anything but BundleError. Seeded, so a find comes back.

`./scripts/fuzz-bundle [MUTATIONS [SEED]]` runs more of them. Reading the same bytes again is no damage: a mutation that
changed nothing does not count.
"""

import hashlib
import json
import os
import random
import subprocess
import sys

import pytest

from edge_bench import atomic, schema
from edge_bench import manifest as manifests
from edge_bench.bundle import open_bundle
from edge_bench.errors import BundleError
from edge_bench.ustar import BLOCK

NUM_MUTATIONS = 6000
NUM_MANY = int(os.environ.get("EDGE_DENDRITE_FUZZ_MUTATIONS", "200000"))
SEED = int(os.environ.get("EDGE_DENDRITE_FUZZ_SEED", "1"))
# What headers, sizes and manifests are sensitive to.
PIECES = [b"", b"\0", bytes(BLOCK), bytes(2 * BLOCK), b"\xff", b"/", b"../", b"ustar\000", b"7" * 11, b"\x80\xff"]
PIECES += [
    b"manifest.json",
    b'{"a":' * 40,
    b"NaN",
    b"9" * 500,
    b'"',
    b"\\ud800",
    b"sha256",
    b"-1",
    b"1e999",
    b"[" * 3000,
]


def mutate(data, rng):
    """A copy of the bytes with one to three kinds of damage."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(KINDS)(bytearray(data), rng)
    return bytes(data)


def place(data, rng):
    return rng.randrange(len(data) + 1)


def flip(data, rng):
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def overwrite(data, rng):
    at, piece = place(data, rng), rng.choice(PIECES)
    return data[:at] + piece + data[at + len(piece) :]


def put_in(data, rng):
    at = place(data, rng)
    return data[:at] + rng.choice(PIECES) + data[at:]


def cut_out(data, rng):
    at = place(data, rng)
    return data[:at] + data[at + rng.choice((1, 2, 8, BLOCK, 2 * BLOCK)) :]


def cut_short(data, rng):
    return data[: place(data, rng)]


def double(data, rng):
    first, last = sorted((place(data, rng), place(data, rng)))
    return data[:last] + data[first:]


def swap_blocks(data, rng):
    one, two = (BLOCK * rng.randrange(len(data) // BLOCK + 1) for _ in range(2))
    data[one : one + BLOCK], data[two : two + BLOCK] = data[two : two + BLOCK], data[one : one + BLOCK]
    return data


def rewrite_header(data, rng):
    """Any field of any header, with a right checksum: the damage of somebody who knows the format."""
    starts = [at for at in range(0, len(data) - BLOCK + 1, BLOCK) if data[at + 257 : at + 262] == b"ustar"]
    if not starts:
        return data
    at = rng.choice(starts)
    offset, width = rng.choice(((0, 100), (100, 8), (108, 8), (124, 12), (136, 12), (156, 1), (157, 100), (329, 8)))
    value = rng.choice([b"1", b"2", b"x", b"L", b"S", b"00000000000", b"77777777777", b"../../a", b"/a", b"model.onnx"])
    data[at + offset : at + offset + width] = value[:width].ljust(width, b"\0")
    data[at + 148 : at + 156] = b" " * 8
    data[at + 148 : at + 156] = b"%06o\0 " % sum(data[at : at + BLOCK])
    return data


KINDS = [flip, overwrite, put_in, cut_out, cut_short, double, swap_blocks, rewrite_header]


def is_accepted(path):
    """Any other exception than BundleError goes through and fails the test."""
    try:
        open_bundle(path)
    except BundleError as error:
        assert str(error).startswith("bundle %s: " % path)
        return False
    return True


def fuzz_tar(maker, seed, count):
    rng, path = random.Random(seed), maker.tar()
    intact = maker.read(path)
    changed = 0
    while changed < count:
        mutated = mutate(intact, rng)
        if mutated != intact:
            changed += 1
            maker.write(path, mutated)
            assert not is_accepted(path), "mutation %d of seed %d" % (changed, seed)
    maker.write(path, intact)
    assert is_accepted(path)


def fuzz_folder(maker, seed, count):
    rng, folder = random.Random(seed), maker.folder()
    names = ["manifest.json", "manifest.sha256"] + sorted(maker.files())
    changed = 0
    while changed < count:
        path = os.path.join(folder, rng.choice(names))
        intact = maker.read(path)
        mutated = mutate(intact, rng)
        if mutated != intact:
            changed += 1
            maker.write(path, mutated)
            assert not is_accepted(folder), "mutation %d of seed %d: %s" % (changed, seed, path)
            maker.write(path, intact)
    assert is_accepted(folder)


def fuzz_sealed_manifest(maker, seed, count):
    """An author who lies can give any manifest its right digest: it is refused, or it is a bundle that can be used."""
    rng = random.Random(seed)
    valid = atomic.canonical_json(maker.manifest(maker.files()))
    accepted = 0
    for number in range(count):
        mutated = mutate(valid, rng)
        digest = hashlib.sha256(mutated).hexdigest()
        try:
            manifest, identity = manifests.parse_manifest("b", mutated, manifests.digest_line(digest))
        except BundleError:
            continue
        accepted += 1
        assert identity == digest and atomic.canonical_json(manifest) == mutated, "mutation %d" % number
        atomic.canonical_json(schema.bundle_summary(identity, manifest))
    return accepted


def fuzz_sealed_values(maker, seed, count):
    """As above, but the JSON stays JSON: a digit, a letter, a word changed within its values."""
    rng = random.Random(seed)
    text = json.dumps(maker.manifest(maker.files()))
    accepted = 0
    for _ in range(count):
        at = rng.randrange(len(text))
        changed = text[:at] + rng.choice('0123456789.-eE"[]{},:/ abctrue') + text[at + 1 :]
        try:
            mutated = atomic.canonical_json(atomic.parse_json(changed.encode("ascii")))
            digest = hashlib.sha256(mutated).hexdigest()
            manifest, identity = manifests.parse_manifest("b", mutated, manifests.digest_line(digest))
        except (ValueError, BundleError):
            continue
        accepted += 1
        atomic.canonical_json(schema.bundle_summary(identity, manifest))
    return accepted


def test_no_mutated_tar_is_accepted(maker):
    fuzz_tar(maker, 1, NUM_MUTATIONS)


def test_no_mutated_folder_is_accepted(maker):
    fuzz_folder(maker, 2, NUM_MUTATIONS // 2)


def test_a_manifest_with_a_right_digest_is_refused_or_usable(maker):
    fuzz_sealed_manifest(maker, 3, NUM_MUTATIONS)
    assert 0 < fuzz_sealed_values(maker, 4, NUM_MUTATIONS) < NUM_MUTATIONS


@pytest.mark.slow
def test_many_mutations(maker):
    fuzz_tar(maker, SEED, NUM_MANY // 2)
    fuzz_folder(maker, SEED, NUM_MANY // 4)
    fuzz_sealed_manifest(maker, SEED, NUM_MANY // 8)
    fuzz_sealed_values(maker, SEED, NUM_MANY // 8)


# --- memory

READ = """
import resource, sys
from edge_bench.bundle import open_bundle
from edge_bench.errors import BundleError
resource.setrlimit(resource.RLIMIT_AS, (%d << 20, %d << 20))
for path in sys.argv[1:]:
    try:
        open_bundle(path)
        print("accepted", path)
    except BundleError as error:
        print("refused", error)
"""


def read_with_memory(paths, mebibytes):
    package = os.path.dirname(os.path.dirname(os.path.abspath(manifests.__file__)))
    done = subprocess.run(
        [sys.executable, "-c", READ % (mebibytes, mebibytes)] + paths,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(os.environ, PYTHONPATH=package),
    )
    assert done.returncode == 0, done.stdout
    return done.stdout.decode("utf-8").splitlines()


def sealed(maker, manifest):
    """A folder with a manifest of these bytes, and its right digest."""
    return maker.folder({}, manifest)


def test_bombs_need_no_memory(maker):
    """Sizes that are only claimed, files with holes, manifests of the largest size made of nothing but containers."""
    sparse = maker.tar()
    os.truncate(sparse, 1 << 42)
    long_file = maker.folder()
    os.truncate(os.path.join(long_file, "model.onnx"), 1 << 42)
    long_manifest = maker.folder()
    os.truncate(os.path.join(long_manifest, "manifest.json"), 1 << 42)
    claims = maker.manifest(maker.files())
    claims["files"]["model.onnx"]["num_bytes"] = 1 << 50
    bombs = [b"{}", b"[]", b'"a"', b"1", b'[[[[[[[[""]]]]]]]]', b'{"":[]}']
    most = manifests.MAX_MANIFEST_BYTES
    documents = [b"[%s]" % b",".join([bomb] * ((most - 2) // (len(bomb) + 1))) for bomb in bombs]
    keys = b"{%s}" % b",".join(b'"%x":[]' % number for number in range(most // 12))
    paths = [sparse, long_file, long_manifest, maker.folder(maker.files(), claims)]
    paths += [sealed(maker, document) for document in documents + [keys]]
    lines = read_with_memory(paths, 400)
    assert [line.split()[0] for line in lines] == ["refused"] * len(paths)
    assert "at its end" in lines[0] and "expected 6249 bytes" in lines[1] and "larger than" in lines[2]
    assert "too large for a bundle" in lines[3]


def test_a_huge_unlisted_tree_is_not_entered(maker):
    folder = maker.folder()
    deep = folder
    for _ in range(200):
        deep = os.path.join(deep, "d" * 10)
        os.mkdir(deep)
    for number in range(3000):
        os.mkdir(os.path.join(folder, "d" * 10, "%d" % number))
    assert "is not in its manifest" in read_with_memory([folder], 256)[0]
