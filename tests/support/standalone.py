"""A reader of bundles made from their description alone (deploy/edge_bench/README.md): numpy and Pillow only.

Run as a program: standalone.py BUNDLE IMAGE CASE. Prints as JSON how far the prepared image lies from the reference
input of that case, and the label of its reference output.
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image


def prepare(path, rules):
    image = Image.open(path)
    if image.mode.startswith("I"):  # 16 bits per channel: the upper 8 count
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    pixels = np.asarray(image.convert("RGB") if image.mode != "L" else image)
    if rules["colour"] == "grey" and pixels.ndim == 3:
        red, green, blue = (pixels[..., channel].astype(np.int64) for channel in range(3))
        pixels = ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).astype(np.uint8)
    elif rules["colour"] == "RGB" and pixels.ndim == 2:
        pixels = np.stack([pixels] * 3, axis=-1)
    assert rules["resize"] == "bilinear" and rules["antialias"] is True
    size = (rules["width"], rules["height"])
    pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    assert rules["layout"] == "NCHW"
    planes = pixels.reshape(rules["height"], rules["width"], rules["channels"]).transpose(2, 0, 1).astype(np.float32)
    mean, std = (np.array(rules[key], np.float32).reshape(-1, 1, 1) for key in ("mean", "std"))
    return ((planes * np.float32(rules["scale"]) - mean) / std)[None]


def tensor(folder, name, description):
    assert description["dtype"] == "float32"
    return np.frombuffer((folder / name).read_bytes(), "<f4").reshape(description["shape"])


def main(folder, image, case):
    folder = pathlib.Path(folder)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    names, model = manifest["reference"]["cases"][int(case)], manifest["model"]
    wanted = tensor(folder, names["inputs"][0], model["inputs"][0])
    output = tensor(folder, names["outputs"][0], model["outputs"][0])
    error = float(np.abs(prepare(image, manifest["preprocessing"]) - wanted).max())
    print(json.dumps({"error": error, "label": manifest["labels"][int(output.argmax())]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
