"""From an image to the input, against Pillow, against the description read by another program, and by hand."""

import array
import json
import random
import struct

import pytest

from edge_bench.errors import BundleError, ImageError
from edge_bench.images.image import Image
from edge_bench.images.preprocess import Preprocessor
from edge_bench.images.resize import resize


def rules_of(channels, height, width, **changes):
    rules = {
        "layout": "NCHW",
        "channels": channels,
        "height": height,
        "width": width,
        "resize": "bilinear",
        "antialias": True,
        "colour": {1: "grey", 3: "RGB"}.get(channels, "unspecified"),
        "scale": 1 / 255,
        "mean": [0.1 * (channel + 1) for channel in range(channels)],
        "std": [0.2 + 0.1 * channel for channel in range(channels)],
    }
    rules.update(changes)
    return rules


def noise(chance, width, height, channels):
    """Pixels that are random, or only black and white: what rounds worst."""
    choices = chance.choice([range(256), (0, 255)])
    return Image(
        width, height, channels, bytes(bytearray(chance.choice(choices) for _ in range(width * height * channels)))
    )


def random_case(chance):
    image = noise(chance, chance.randint(1, 45), chance.randint(1, 45), chance.choice([1, 3, 4]))
    return image, rules_of(chance.choice([1, 3]), chance.randint(1, 50), chance.randint(1, 50))


def test_numpy_and_pure_python_give_the_same_bytes():
    pytest.importorskip("numpy")
    chance = random.Random(11)
    for _ in range(100):
        image, rules = random_case(chance)
        slow, fast = Preprocessor(rules, use_numpy=False), Preprocessor(rules)
        assert slow.fit(image) == fast.fit(image)
        assert slow.to_input(slow.fit(image)) == fast.to_input(fast.fit(image))


def test_blocks_of_a_large_image_give_the_same_bytes():
    numpy = pytest.importorskip("numpy")
    image = noise(random.Random(12), 700, 3, 1)
    for size in ((900, 1300), (2, 2), (700, 1600)):
        assert resize(image, *size) == resize(image, *size, numpy=numpy)


@pytest.mark.parametrize("use_numpy", [False, True])
def test_the_result_is_pillows_within_one_grey_level(use_numpy):
    image_module = pytest.importorskip("PIL.Image")
    chance = random.Random(13)
    num_equal = 0
    for _ in range(300):
        image, rules = random_case(chance)
        ours = Preprocessor(rules, use_numpy).fit(image).pixels
        picture = image_module.frombytes({1: "L", 3: "RGB", 4: "RGBA"}[image.channels], image[:2], image.pixels)
        picture = picture.convert("RGB") if image.channels == 4 else picture
        picture = picture.convert("L" if rules["channels"] == 1 else "RGB")
        theirs = picture.resize((rules["width"], rules["height"]), image_module.Resampling.BILINEAR).tobytes()
        assert len(ours) == len(theirs)
        assert max(abs(a - b) for a, b in zip(bytearray(ours), bytearray(theirs))) <= 1
        num_equal += ours == theirs
    assert num_equal > 150  # only the order of rows and columns differs between releases of Pillow


@pytest.mark.parametrize("size", [(17, 40), (40, 17), (17, 3)])
def test_along_one_side_the_result_is_pillows_exactly(size):
    image_module = pytest.importorskip("PIL.Image")
    image = noise(random.Random(14), 17, 40, 3)
    width, height = size
    for one in ((width, 40), (17, height)):
        theirs = image_module.frombytes("RGB", (17, 40), image.pixels).resize(one, image_module.Resampling.BILINEAR)
        assert resize(image, *one).pixels == theirs.tobytes()


def test_the_description_read_by_another_program_gives_the_same_input(tmp_path):
    """tests/support/standalone.py was written from README.md alone."""
    standalone = pytest.importorskip("standalone")
    chance = random.Random(15)
    for number in range(40):
        image, rules = random_case(chance)
        image = image if image.channels != 4 else image._replace(channels=1, pixels=image.pixels[::4])
        path = str(tmp_path / ("%d.pnm" % number))
        with open(path, "wb") as stream:
            stream.write(b"P%d %d %d 255\n" % (6 if image.channels == 3 else 5, image.width, image.height))
            stream.write(image.pixels)
        theirs = standalone.prepare(path, rules).astype("<f4").ravel().tolist()
        preprocessor = Preprocessor(rules)
        ours = array.array("f", preprocessor.to_input(preprocessor.fit(image))).tolist()
        level = max(rules["scale"] / std for std in rules["std"])
        assert len(ours) == len(theirs)
        assert max(abs(a - b) for a, b in zip(ours, theirs)) <= level * 1.001


def test_an_image_of_the_right_size_stays_as_it_is():
    image = noise(random.Random(16), 9, 8, 1)
    assert Preprocessor(rules_of(1, 8, 9)).fit(image) == image


def test_a_known_input_by_hand():
    """Two pixels of RGB: planes one after another, x = (value * scale - mean) / std."""
    preprocessor = Preprocessor(rules_of(3, 1, 2, mean=[0.0, 0.5, 1.0], std=[1.0, 0.5, 2.0]))
    image = Image(2, 1, 3, bytes(bytearray([0, 255, 51, 255, 0, 102])))
    given = struct.unpack("<6f", preprocessor.to_input(preprocessor.fit(image)))
    assert given == pytest.approx([0.0, 1.0, 1.0, -1.0, -0.4, -0.3], abs=1e-6)


@pytest.mark.parametrize("use_numpy", [False, True])
def test_each_step_is_float32(use_numpy):
    """As float32 arithmetic has it; in doubles, rounded at the end, some of these values differ."""
    numpy = pytest.importorskip("numpy")
    chance = random.Random(17)
    image = Image(256, 1, 1, bytes(bytearray(range(256))))
    differs_in_double = 0
    for _ in range(50):
        scale, mean, std = chance.uniform(1e-3, 1), chance.uniform(-3, 3), chance.uniform(0.01, 3)
        preprocessor = Preprocessor(rules_of(1, 1, 256, scale=scale, mean=[mean], std=[std]), use_numpy)
        values = numpy.arange(256, dtype=numpy.float32)
        expected = (values * numpy.float32(scale) - numpy.float32(mean)) / numpy.float32(std)
        assert preprocessor.to_input(image) == expected.astype("<f4").tobytes()
        double = ((numpy.arange(256) * scale - mean) / std).astype("<f4")
        differs_in_double += double.tobytes() != expected.astype("<f4").tobytes()
    assert differs_in_double


@pytest.mark.parametrize("use_numpy", [False, True])
def test_colours_become_those_of_the_network(use_numpy):
    grey, colour = Preprocessor(rules_of(1, 1, 1), use_numpy), Preprocessor(rules_of(3, 1, 1), use_numpy)
    for rgb, luma in (((255, 255, 255), 255), ((255, 0, 0), 76), ((0, 255, 0), 150), ((0, 0, 255), 29), ((9, 9, 9), 9)):
        pixel = bytes(bytearray(rgb))
        assert list(grey.fit(Image(1, 1, 3, pixel)).pixels) == [luma]
        assert list(grey.fit(Image(1, 1, 4, pixel + b"\x00")).pixels) == [luma]
        assert colour.fit(Image(1, 1, 4, pixel + b"\x00")).pixels == pixel
        assert colour.fit(Image(1, 1, 1, pixel[:1])).pixels == pixel[:1] * 3


def test_channels_that_cannot_become_those_are_refused():
    with pytest.raises(ImageError, match="2 channels; a RGB network"):
        Preprocessor(rules_of(3, 1, 1)).fit(Image(1, 1, 2, b"ab"))
    special = Preprocessor(rules_of(2, 1, 1))
    assert special.fit(Image(1, 1, 2, b"ab")).pixels == b"ab"
    for channels in (1, 3, 4):
        with pytest.raises(ImageError, match="takes 2 of its own kind"):
            special.fit(Image(1, 1, channels, b"a" * channels))


@pytest.mark.parametrize(
    "changes", [{"std": [1e-60]}, {"mean": [1e300]}, {"scale": 1e300}, {"scale": 1e38}, {"std": [1e-39]}]
)
def test_rules_that_give_no_finite_numbers_are_refused(changes):
    with pytest.raises(BundleError, match="finite"):
        Preprocessor(rules_of(1, 2, 2, **changes))


def test_without_numpy_all_of_it_works(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "numpy", None)
    image, rules = random_case(random.Random(18))
    without = Preprocessor(rules)
    monkeypatch.undo()
    with_numpy = Preprocessor(rules)
    assert without.to_input(without.fit(image)) == with_numpy.to_input(with_numpy.fit(image))


def test_the_rules_of_a_bundle_are_enough(maker):
    rules = json.loads(json.dumps(maker.manifest(maker.files())["preprocessing"]))
    preprocessor = Preprocessor(rules)
    assert len(preprocessor.to_input(preprocessor.fit(Image(3, 3, 3, bytes(27))))) == 8 * 8 * 4
