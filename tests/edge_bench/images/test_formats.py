"""What is read without any library: files of known bytes, and files that lie."""

import array
import gzip
import io
import os
import random
import struct
import sys

import pytest

from edge_bench.errors import ImageError
from edge_bench.images import decode
from edge_bench.images.idx import IdxReader, read_labels
from edge_bench.images.image import MAX_PIXELS, Image, Shape
from edge_bench.images.npy import NpyReader
from edge_bench.images.pnm import PnmReader

GREY_8 = Shape(1, 8, 8)


def read_pnm(content, as_stream=False):
    return PnmReader("x", io.BytesIO(content), None if as_stream else len(content)).read()


def npy(shape, descr="|u1", body=None, version=1, fortran="False", header=None):
    """A file as numpy.lib.format describes it, by hand."""
    text = header or "{'descr': %r, 'fortran_order': %s, 'shape': %r, }" % (descr, fortran, shape)
    text = text.encode("utf-8") + b" " * 5 + b"\n"
    count = 1
    for size in shape:
        count *= size
    start = b"\x93NUMPY" + bytes(bytearray([version, 0]))
    start += struct.pack("<H" if version == 1 else "<I", len(text)) + text
    return start + (bytes(bytearray(range(count % 256))) * count)[:count] if body is None else start + body


def read_npy(content, channels=1):
    reader = NpyReader("x", io.BytesIO(content), len(content), channels)
    images = []
    while reader.has_more():
        images.append(reader.read())
    return images


def idx(sizes, body=None):
    count = 1
    for size in sizes:
        count *= size
    start = b"\x00\x00\x08" + bytes(bytearray([len(sizes)])) + struct.pack(">%dI" % len(sizes), *sizes)
    return start + (bytes(bytearray(value % 251 for value in range(count))) if body is None else body)


# --- PGM, PPM


def test_binary_and_plain_say_the_same():
    grey = Image(3, 2, 1, bytes(bytearray([0, 1, 9, 10, 254, 255])))
    assert read_pnm(b"P5 3 2 255\n" + grey.pixels) == grey
    assert read_pnm(b"P2\n3 2\n255\n0 1 9\n10 254 255\n") == grey
    assert read_pnm(b"P2 3 2 255 0 1 9 10 254 255") == grey
    colour = Image(1, 2, 3, b"\x01\x02\x03\x04\x05\x06")
    assert read_pnm(b"P6\r\n1\t2\n255 " + colour.pixels) == colour
    assert read_pnm(b"P3 1 2 255\n1 2 3\n4 5 6\n") == colour


def test_comments_may_stand_anywhere_in_a_header():
    for header in (b"P5#a\n2#b b\n#c\n  1 #d\n255\n", b"P5\n# 9 9 9\n2 1\n# CREATOR: GIMP\n255\n", b"P5 2 1 255#e\n"):
        assert read_pnm(header + b"#\n") == Image(2, 1, 1, b"#\n"), header
    assert read_pnm(b"P2 2 2 255\n1 2 # a 7\n3#8\n4 #") == Image(2, 2, 1, b"\x01\x02\x03\x04")


def test_a_blank_that_is_a_pixel_is_one():
    assert read_pnm(b"P5 2 1 255\n \n").pixels == b" \n"


@pytest.mark.parametrize(
    ("maximum", "values", "pixels"),
    [
        (1, [0, 1], [0, 255]),
        (15, [0, 7, 15], [0, 119, 255]),
        (100, [0, 50, 100], [0, 128, 255]),
        (1023, [0, 512, 1023], [0, 128, 255]),
        (65535, [0, 255, 256, 32767, 32768, 65535], [0, 0, 1, 127, 128, 255]),
    ],
)
def test_other_maxima_become_8_bits(maximum, values, pixels):
    kind = "B" if maximum < 256 else "H"
    raster = struct.pack(">%d%s" % (len(values), kind), *values)
    header = b" %d 1 %d\n" % (len(values), maximum)
    assert list(read_pnm(b"P5" + header + raster).pixels) == pixels
    assert list(read_pnm(b"P2" + header + b" ".join(b"%d" % value for value in values)).pixels) == pixels


def test_frames_follow_one_another():
    content = b"P6 1 1 255\nabc" + b"P5 1 1 255\nd\n" + b"P5 1 1 65535\nef"
    for reader in (PnmReader("x", io.BytesIO(content), len(content)), PnmReader("x", io.BytesIO(content))):
        pixels = []
        while reader.has_more():
            pixels.append(reader.read().pixels)
        assert pixels == [b"abc", b"d", b"e"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"P",
        b"P5",
        b"P7 1 1 255\nx",
        b"P51 1 255\nx",
        b"P5 1 1\n",
        b"P5 1 1 255",
        b"P5 0 1 255\n",
        b"P5 -1 1 255\nx",
        b"P5 1 1 0\nx",
        b"P5 1 1 65536\nxx",
        b"P5 2 1 255\nx",
        b"P5 1 1 100\n\xff",
        b"P6 9999999 1 255\nx",
        b"P6 99999999999999999999 9 255\nx",
        b"P5 100000 100000 255\nx",
        b"P5 1.0 1 255\nx",
        b"P5 " + b"#" * 200000,
        b"P5 " + b" " * 200000 + b"1 1 255\nx",
        b"P2 2 1 255\n1",
        b"P2 2 1 255\n1 -2",
        b"P2 2 1 255\n1 0x2",
        b"P2 2 1 255\n1 300",
        b"P2 2 1 65535\n1 70000",
        b"P2 2 1 255\n1 " + b"9" * 100000,
        b"P2 2 1 255\n1 1_0",
        b"P2 90000 1000 255\n1 2 3",
    ],
)
def test_damaged_pnm_is_an_error_in_words(content):
    for as_stream in (False, True):
        with pytest.raises(ImageError) as caught:
            read_pnm(content, as_stream)
        assert str(caught.value).startswith("x: ")


# --- IDX


def test_idx_gives_image_after_image():
    reader = IdxReader("x", io.BytesIO(idx([2, 2, 3])), 4 + 12 + 12)
    assert reader.num_images == 2
    assert reader.read() == Image(3, 2, 1, bytes(bytearray(range(6))))
    assert reader.has_more() and reader.read() == Image(3, 2, 1, bytes(bytearray(range(6, 12))))
    assert not reader.has_more()
    assert read_labels("x", io.BytesIO(idx([3], b"\x05\x00\xff"))) == [5, 0, 255]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08",
        b"\x00\x00\x08\x03\x00",
        b"\x00\x00\x0d\x03" + idx([1, 1, 1])[4:],
        b"\x00\x00\x08\x02" + b"\x00" * 99,
        idx([0, 2, 2]),
        idx([1, 0, 2]),
        idx([1 << 31, 28, 28], b""),
        idx([1, 1 << 31, 1 << 31], b""),
        idx([1, 28, 28, 65], b""),
        idx([2, 2, 2])[:-1],
        idx([2, 2, 2]) + b"x",
    ],
)
def test_damaged_idx_is_an_error_in_words(content):
    with pytest.raises(ImageError):
        IdxReader("x", io.BytesIO(content), len(content)).read()
    with pytest.raises(ImageError):
        read_labels("x", io.BytesIO(content), len(content))


# --- npy


@pytest.mark.parametrize("version", [1, 2, 3])
def test_npy_of_each_version(version):
    body = bytes(bytearray(range(6)))
    assert read_npy(npy((2, 3), body=body, version=version)) == [Image(3, 2, 1, body)]


def test_npy_of_each_layout():
    assert [(image.width, image.height, image.channels) for image in read_npy(npy((5, 7, 3)))] == [(7, 5, 3)]
    assert [(image.width, image.height, image.channels) for image in read_npy(npy((2, 5, 7, 1)))] == [(7, 5, 1)] * 2
    assert [(image.width, image.height, image.channels) for image in read_npy(npy((9, 5, 7)))] == [(7, 5, 1)] * 9
    assert [(image.width, image.height, image.channels) for image in read_npy(npy((5, 7, 2)), 2)] == [(7, 5, 2)]


def test_npy_of_floats():
    values = [0.0, 1.0, 0.5, 0.499]
    for descr, order in (("<f4", "<"), (">f4", ">")):
        (image,) = read_npy(npy((1, 4), descr, struct.pack(order + "4f", *values)))
        assert list(image.pixels) == [0, 255, 128, 127]


def test_what_numpy_itself_writes(tmp_path):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(2 * 4 * 5 * 3, dtype=numpy.uint8).reshape(2, 4, 5, 3)
    path = str(tmp_path / "x.npy")
    numpy.save(path, array)
    reader = decode.open_reader(path, GREY_8)
    assert reader.read().pixels + reader.read().pixels == array.tobytes() and not reader.has_more()
    reader.file.close()
    for bad in (array.astype(object), array.transpose(1, 2, 3, 0), array.astype("float64"), array.view("S1")):
        numpy.save(path, bad)
        with pytest.raises(ImageError):
            decode.open_reader(path, GREY_8)


@pytest.mark.parametrize(
    "content",
    [
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\xff\xff",
        npy((2, 2), version=4),
        npy((2, 2), "|O"),
        npy((2, 2), "<f8"),
        npy((2, 2), fortran="True"),
        npy((2, 2), fortran="1"),
        npy((2, 2))[:-1],
        npy((2, 2)) + b"x",
        npy((3, 8, 8)),
        npy((1, 3, 8, 8)),
        npy((4,)),
        npy(()),
        npy((0, 2)),
        npy((2, 2), header="{'descr': '|u1', 'fortran_order': False, 'shape': (-2, -2)}"),
        npy((2, 2), header="{'descr': '|u1', 'fortran_order': False, 'shape': (2.0, 2)}"),
        npy((2, 2), header="{'descr': '|u1', 'fortran_order': False, 'shape': (1%s, 2)}" % ("0" * 3000), body=b""),
        npy((2, 2), header="{'descr': '|u1', 'fortran_order': False, 'shape': (100000, 100000)}"),
        npy((2, 2), header="{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2), 'more': 1}"),
        npy((2, 2), header="{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (2, 2)}"),
        npy((2, 2), header="{'descr': ['|u1'], 'fortran_order': False, 'shape': (2, 2)}"),
        npy((2, 2), header="__import__('os').system('true')"),
        npy((2, 2), header="(" * 3000),
        npy((2, 2), header="-" * 3000 + "1"),
        npy((2, 2), header="{[]: 1}"),
        npy((2, 2), header="\x00"),
        npy((1, 2), "<f4", struct.pack("<2f", 0.5, float("nan"))),
        npy((1, 2), "<f4", struct.pack("<2f", 0.5, 1.5)),
        npy((1, 2), "<f4", struct.pack("<2f", 0.5, float("inf"))),
    ],
)
def test_damaged_or_foreign_npy_is_an_error_in_words(content):
    with pytest.raises(ImageError) as caught:
        read_npy(content)
    assert str(caught.value).startswith("x: ") and len(str(caught.value)) < 1000


# --- files


def write(path, content):
    with open(str(path), "wb") as stream:
        stream.write(content)
    return str(path)


def read_all(path, shape=GREY_8):
    reader = decode.open_reader(path, shape)
    try:
        images = [reader.read()]
        while reader.has_more():
            images.append(reader.read())
        return images
    finally:
        reader.file.close()


def test_a_file_is_known_by_its_content(tmp_path):
    """Whatever it is called; but raw pixels, which could be anything, by their name."""
    for content in (b"P5 2 1 255\nab", npy((1, 2)), idx([1, 1, 2])):
        (image,) = read_all(write(tmp_path / "x.dat", content))
        assert (image.width, image.height) == (2, 1)
        assert read_all(write(tmp_path / "x.gz", gzip.compress(content))) == [image]
    raw = b"P5 2 1 255\nab".ljust(64, b"x")
    assert read_all(write(tmp_path / "x.raw", raw)) == [Image(8, 8, 1, raw)]
    assert read_all(write(tmp_path / "x.gray", raw * 3)) == [Image(8, 8, 1, raw)] * 3
    assert read_all(write(tmp_path / "x.raw.gz", gzip.compress(raw * 2))) == [Image(8, 8, 1, raw)] * 2


def float32(values):
    packed = array.array("f", values)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def taken_as(path):
    reader = decode.open_reader(path, Shape(1, 8, 8))
    reader.file.close()
    return reader.taken_as


def test_raw_float32_is_told_from_uint8(tmp_path):
    """One image of float32 is as large as four of uint8, which it was taken for."""
    grey = [(7 * number) % 256 for number in range(64)]
    one = float32([value / 255.0 for value in grey])
    for name, content in (("x.raw", one), ("x.bin.gz", gzip.compress(one)), ("y.bin", one * 2)):
        path = write(tmp_path / name, content)
        assert read_all(path) == [Image(8, 8, 1, bytes(grey))] * (2 if name[0] == "y" else 1)
        assert taken_as(path) == "raw pixels of float32 from 0 to 1, height 8 x width 8 x 1 channel(s)"


@pytest.mark.parametrize("seed", range(20))
def test_raw_uint8_is_not_taken_for_float32(tmp_path, seed):
    """Four images, as large as one of float32: noise, strokes on black, plain greys, one that grows brighter."""
    chance = random.Random(seed)
    noise = bytes(chance.getrandbits(8) for _ in range(256))
    strokes = bytes(0 if chance.random() < 0.8 else chance.randint(30, 255) for _ in range(256))
    ramp = bytes(min(255, number + seed) for number in range(256))
    for content in (noise, strokes, ramp, bytes([12 * seed]) * 256):
        path = write(tmp_path / "x.raw", content)
        assert len(read_all(path)) == 4 and b"".join(image.pixels for image in read_all(path)) == content
        assert taken_as(path).startswith("raw pixels of uint8")


def test_raw_float32_that_was_normalised_is_refused(tmp_path):
    content = float32([(number / 63.0 - 0.3) / 0.4 for number in range(64)])
    for name, data in (("x.raw", content), ("x.raw.gz", gzip.compress(content * 3))):
        with pytest.raises(ImageError, match="float32 with numbers outside of 0 to 1.*normalised already"):
            read_all(write(tmp_path / name, data))


@pytest.mark.parametrize("content", [b"", b"x" * 63, b"x" * 65])
def test_raw_files_of_another_size_are_refused(tmp_path, content):
    with pytest.raises(ImageError, match="8 x 8 pixels of 1 channel.*64 bytes each as uint8, 256 as float32"):
        read_all(write(tmp_path / "x.raw", content))


def test_what_is_no_plain_file_is_refused(tmp_path):
    os.mkfifo(str(tmp_path / "fifo"))
    for path in (str(tmp_path / "fifo"), str(tmp_path), "/dev/zero", str(tmp_path / "absent")):
        with pytest.raises(ImageError):
            read_all(path)


def test_a_bomb_of_gzip_costs_no_memory(tmp_path):
    resource = pytest.importorskip("resource")
    bomb = gzip.compress(b"P5 %d 1 255\n" % (MAX_PIXELS + 1) + bytes(100 << 20), 1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ImageError, match="million"):
        read_all(write(tmp_path / "bomb.gz", bomb))
    with pytest.raises(ImageError):
        read_all(write(tmp_path / "cut.gz", bomb[:30]))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 << 10


def test_garbage_in_place_of_any_byte_never_raises_anything_else(tmp_path):
    """Bounded fuzz: flips, cuts and insertions in valid files of every kind."""
    chance = random.Random(7)
    valid = [
        b"P5 # c\n4 4 255\n" + bytes(16),
        b"P6 2 2 65535\n" + bytes(24),
        b"P2 2 2 15\n1 2 3 4\n",
        b"P3 1 1 255 1 2 3 # x\n",
        npy((4, 4)),
        npy((2, 2), "<f4", struct.pack("<4f", 0, 0.5, 1, 0.25)),
        idx([2, 4, 4]),
    ]
    valid += [gzip.compress(content) for content in valid]
    num_read = 0
    for number in range(1400):
        content = bytearray(valid[number % len(valid)])
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(content) + 1)
            action = chance.randrange(3)
            if action == 0:
                content[place : place + 1] = bytes(bytearray([chance.randrange(256)]))
            elif action == 1:
                del content[place : place + chance.randint(1, 9)]
            else:
                content[place:place] = chance.choice([b"\n", b"9", b" ", b"#", b"\x00", b"\xff", b"(", b"99999999"])
        path = write(tmp_path / ("x.raw" if number % 50 == 0 else "x"), bytes(content))
        try:
            for image in read_all(path):
                assert len(image.pixels) == image.width * image.height * image.channels
                num_read += 1
        except ImageError as error:
            assert str(error).startswith(path)
    assert num_read > 60  # it also reads: the test would pass on a reader that refuses everything


# --- by a library


def without(monkeypatch, *names):
    """Imports of these modules fail, as where they are not installed."""
    for name in names:
        monkeypatch.setitem(__import__("sys").modules, name, None)


def test_without_a_library_the_way_out_is_named(tmp_path, monkeypatch):
    without(monkeypatch, "PIL", "cv2")
    path = write(tmp_path / "x.png", b"\x89PNG\r\n\x1a\n" + bytes(40))
    with pytest.raises(ImageError) as caught:
        read_all(path)
    for part in ("pip install Pillow", "convert x.png x.ppm", path):
        assert part in str(caught.value)


def test_pillow_reads_what_we_do_not(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    chance = random.Random(3)
    pixels = bytes(bytearray(chance.randrange(256) for _ in range(7 * 5 * 3)))
    picture = image_module.frombytes("RGB", (7, 5), pixels)
    path = str(tmp_path / "x.png")
    picture.save(path)
    assert read_all(path) == [Image(7, 5, 3, pixels)]
    picture.convert("RGBA").save(path)
    assert read_all(path) == [Image(7, 5, 3, pixels)]
    grey = image_module.frombytes("L", (7, 5), pixels[:35])
    grey.save(path)
    assert read_all(path) == [Image(7, 5, 1, pixels[:35])]
    image_module.frombytes("I;16", (2, 1), b"\x34\x12\xff\xff").save(path)
    assert read_all(path) == [Image(2, 1, 1, b"\x12\xff")]
    with open(path, "rb") as stream:
        content = stream.read()
    for cut in (8, 20, 40):
        with pytest.raises(ImageError, match="Pillow"):
            read_all(write(tmp_path / "cut.png", content[:cut]))


def test_our_pnm_is_pillows(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    chance = random.Random(4)
    for maximum in (1, 7, 100, 255, 256, 1000, 65535):
        for magic, channels in ((b"P5", 1), (b"P6", 3), (b"P2", 1), (b"P3", 3)):
            values = [chance.randint(0, maximum) for _ in range(6 * 4 * channels)]
            body = struct.pack(">%d%s" % (len(values), "B" if maximum < 256 else "H"), *values)
            if magic in (b"P2", b"P3"):
                body = b" ".join(b"%d" % value for value in values)
            path = write(tmp_path / "x.pnm", magic + b"\n# c\n6 4\n%d\n" % maximum + body)
            (ours,) = read_all(path)
            theirs = image_module.open(path)
            # Pillow rounds halves to even, and colours of more than 8 bits where the upper 8 are to count: one level.
            allowed = 1 if maximum not in (1, 255) else 0
            if theirs.mode.startswith("I"):
                expected = [min(value >> 8, 255) for value in array.array("i", theirs.convert("I").tobytes())]
                allowed = 0 if maximum == 65535 else 1
            else:
                expected = list(bytearray(theirs.tobytes()))
            assert max(abs(a - b) for a, b in zip(bytearray(ours.pixels), expected)) <= allowed, (magic, maximum)
