"""A bundle is complete: whoever reads nothing but its files prepares images, names answers and checks digests."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from edge_dendrite.compress.model import CompressedModel
from edge_dendrite.config import ExportConfig
from edge_dendrite.data.idx import read_mnist
from edge_dendrite.data.images import read_image_folder
from edge_dendrite.export.bundle import export_bundle
from parts import ROOT


def read_standalone(bundle, image, case=0):
    """What a program that knows nothing of this project makes of an image: {"error", "label"}."""
    # -I: without this project on its path.
    command = [sys.executable, "-I", ROOT / "tests" / "support" / "standalone.py", bundle.path, image, str(case)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def photo(generator, height, width, channels):
    """Smooth structure and noise, so that every method of resizing gives another picture."""
    rows, columns = np.mgrid[0:height, 0:width]
    waves = [127 + 90 * np.sin(rows / (3 + c) + columns * (0.2 + 0.1 * c)) for c in range(channels)]
    noisy = np.stack(waves, axis=-1) + generator.normal(0, 25, (height, width, channels))
    return noisy.clip(0, 255).astype(np.uint8)


def image_folder(place, channels):
    """Images of several sizes in two classes; the validation data begin with val/dark/0.png."""
    generator = np.random.default_rng(channels)
    for split, count in (("train", 6), ("test", 2), ("val", 2)):
        for name, gain in (("dark", 0.4), ("light", 1.0)):
            (place / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = photo(generator, 40 + 9 * number, 61 - 7 * number, channels) * gain
                image = Image.fromarray(pixels.astype(np.uint8).squeeze())
                image.save(place / split / name / f"{number}.png")
    return place


def small_network(data):
    channels, height, width = data.input_shape
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(len(data.labels))).eval()


def export(data, place):
    network = small_network(data)
    network(torch.zeros(1, *data.input_shape))
    model = CompressedModel.describe(network, data, name="n", source="mine:make", role="baseline")
    return export_bundle(model, place, ExportConfig(opset=13), data=data)


def label_in_torch(bundle, data, case=0):
    torch.manual_seed(0)
    network = small_network(data)
    network(torch.zeros(1, *data.input_shape))
    return data.labels[int(network(data.prepare(data.validation.inputs[case : case + 1])).argmax())]


@pytest.mark.parametrize(("channels", "colour"), [(1, "grey"), (3, "RGB")])
def test_an_image_file_becomes_the_reference_input(tmp_path, channels, colour):
    folder = image_folder(tmp_path / "images", channels)
    data = read_image_folder(folder, size=(24, 20))
    bundle = export(data, tmp_path / "b")
    rules = bundle.manifest["preprocessing"]
    assert (rules["colour"], rules["height"], rules["width"]) == (colour, 24, 20)
    assert bundle.manifest["labels"] == ["dark", "light"]
    for case, name in enumerate(["dark/0", "dark/1", "light/0", "light/1"]):
        found = read_standalone(bundle, folder / "val" / f"{name}.png", case)
        assert found["error"] < 1e-6
        assert found["label"] == label_in_torch(bundle, data, case)


def test_another_method_of_resizing_would_show(tmp_path):
    """What the test above proves: without antialias, or with another filter, the inputs are others."""
    folder = image_folder(tmp_path / "images", 3)
    bundle = export(read_image_folder(folder, size=(24, 20)), tmp_path / "b")
    for method in (Image.Resampling.NEAREST, Image.Resampling.BICUBIC, Image.Resampling.BOX):
        with Image.open(folder / "val" / "dark" / "0.png") as image:
            image.resize((20, 24), method).save(tmp_path / "resized.png")
        assert read_standalone(bundle, tmp_path / "resized.png")["error"] > 0.05


def test_a_colour_image_for_a_grey_network(tmp_path):
    folder = image_folder(tmp_path / "images", 1)
    generator = np.random.default_rng(5)
    Image.fromarray(photo(generator, 50, 31, 3)).save(folder / "val" / "dark" / "0.png")
    Image.fromarray(generator.integers(0, 65536, (30, 30)).astype(np.uint16)).save(folder / "val" / "dark" / "1.png")
    bundle = export(read_image_folder(folder, size=(24, 20)), tmp_path / "b")
    # The conversion to grey comes before the resizing, here and there.
    assert read_standalone(bundle, folder / "val" / "dark" / "0.png", 0)["error"] < 1e-6
    assert read_standalone(bundle, folder / "val" / "dark" / "1.png", 1)["error"] < 1e-6


def test_digits(bundle13, saved_baseline, digits, tmp_path):
    rules = bundle13.manifest["preprocessing"]
    assert (rules["colour"], rules["channels"], rules["height"], rules["width"]) == ("grey", 1, 8, 8)
    for case in range(4):
        Image.fromarray(digits.validation.inputs[case, 0].numpy()).save(tmp_path / "digit.png")
        found = read_standalone(bundle13, tmp_path / "digit.png", case)
        assert found["error"] < 1e-6
        with torch.no_grad():
            answer = saved_baseline.module(digits.prepare(digits.validation.inputs[case : case + 1]))
        assert found["label"] == digits.labels[int(answer.argmax())]


def test_the_files_of_mnist(tmp_path):
    """Files in MNIST's form and size; an image comes out of the bytes of the file itself."""
    generator = np.random.default_rng(0)
    images = np.stack([photo(generator, 28, 28, 1).squeeze() for _ in range(40)])
    labels = (np.arange(40) % 10).astype(np.uint8)
    for stem in ("train", "t10k"):
        header = struct.pack(">IIII", 0x803, 40, 28, 28)
        (tmp_path / f"{stem}-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + images.tobytes()))
        (tmp_path / f"{stem}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 40) + labels.tobytes())
    data = read_mnist(tmp_path)
    bundle = export(data, tmp_path / "b")
    assert bundle.manifest["labels"] == [str(number) for number in range(10)]
    number = next(n for n in range(40) if np.array_equal(images[n], data.validation.inputs[0, 0].numpy()))
    Image.fromarray(images[number]).save(tmp_path / "digit.png")
    assert read_standalone(bundle, tmp_path / "digit.png")["error"] < 1e-6


def commands_of_the_page():
    page = (ROOT / "deploy" / "edge_bench" / "README.md").read_text("utf-8")
    block = page.partition("## Is it whole?")[2].partition("```bash\n")[2].partition("```")[0]
    return [line.partition("   #")[0].strip() for line in block.splitlines()]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_the_commands_of_the_page_check_a_bundle(bundle13, tmp_path):
    whole, each, of_tar, _ = commands_of_the_page()
    shutil.copytree(bundle13.path, tmp_path / "BUNDLE")
    bundle13.write_tar(tmp_path / "BUNDLE.tar")

    def run(command, folder):
        return subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=folder, capture_output=True, text=True)

    assert run(whole, tmp_path).stdout == f"{bundle13.id}  manifest.json\nmanifest.json: OK\n"
    assert run(of_tar, tmp_path).stdout == f"{bundle13.id}  -\n"
    checked = run(each, tmp_path / "BUNDLE")
    assert checked.returncode == 0 and "model.onnx: OK" in checked.stdout, checked.stderr
    path = tmp_path / "BUNDLE" / "reference" / "0_input.bin"
    path.write_bytes(b"\1" + path.read_bytes()[1:])
    assert run(each, tmp_path / "BUNDLE").returncode != 0


def test_other_tools_unpack_the_tar_to_the_same_bundle(bundle13, tmp_path):
    from edge_dendrite.export.bundle_files import Bundle

    with tarfile.open(bundle13.write_tar(tmp_path / "b.tar")) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert Bundle.read(tmp_path / "unpacked").id == bundle13.id


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")
def test_the_lines_of_cpp_on_the_page_prepare_an_image(tmp_path):
    folder = image_folder(tmp_path / "images", 3)
    data = read_image_folder(folder, size=(24, 20))
    bundle = export(data, tmp_path / "b")
    rules = bundle.manifest["preprocessing"]
    page = (ROOT / "deploy" / "edge_bench" / "README.md").read_text("utf-8")
    mean, std = (", ".join(f"{value:.9g}f" for value in rules[key]) for key in ("mean", "std"))
    (tmp_path / "main.cpp").write_text(
        page.partition("```cpp\n")[2].partition("```")[0] + "#include <cstdio>\n"
        "int main() {\n"
        "    static unsigned char pixels[3 * 24 * 20];\n"
        "    if (std::fread(pixels, 1, sizeof pixels, stdin) != sizeof pixels) return 1;\n"
        f"    auto input = to_input(pixels, 3, 24, 20, {rules['scale']:.9g}f, {{{mean}}}, {{{std}}});\n"
        "    return std::fwrite(input.data(), 4, input.size(), stdout) != input.size();\n}\n"
    )
    built = subprocess.run(
        ["g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-o", tmp_path / "prepare", tmp_path / "main.cpp"],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    pixels = data.validation.inputs[0].permute(1, 2, 0).contiguous().numpy().tobytes()
    prepared = subprocess.run([tmp_path / "prepare"], input=pixels, capture_output=True, check=True).stdout
    wanted = np.frombuffer(bundle.read_bytes("reference/0_input.bin"), "<f4")
    assert np.abs(np.frombuffer(prepared, "<f4") - wanted).max() < 1e-6
