"""Accuracy under noise: the same noisy images for every network, and rows that are made once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edge_dendrite.export.session import open_session, run_onnx
from edge_dendrite.progress import silent
from scripts.benchmarks import noise as noise_module
from scripts.benchmarks.job import Case
from scripts.benchmarks.noise import SIGMAS, measure_noise, noisy_batches
from scripts.benchmarks.rows import read_rows, unpack_bits


def measure(kept, seed=0):
    return list(measure_noise(kept.study, seed, kept.data, kept.rows, kept.work, silent))


def noisy(data, sigma):
    return torch.cat(list(noisy_batches(data, data.read_test(), sigma)))


def test_every_network_sees_the_same_noisy_images(kept, make_network, monkeypatch):
    kept.add(Case("dense", None, 1), make_network(4))
    seen = []
    monkeypatch.setattr(noise_module, "run_onnx", lambda session, x: (seen.append(x), run_onnx(session, x))[1])
    rows = measure(kept) + measure(kept, seed=1)
    assert len(rows) == 3
    # Whatever the runtime got: 600 images are two batches at each sigma.
    first, *others = (seen[at : at + 2 * len(SIGMAS)] for at in range(0, len(seen), 2 * len(SIGMAS)))
    assert len(others) == 2
    assert all(np.array_equal(one, same) for other in others for one, same in zip(first, other, strict=True))
    digests = [[one["images_sha256"] for one in row["noise"]] for row in rows]
    assert digests[0] == digests[1] == digests[2] and len(set(digests[0])) == len(SIGMAS)


def test_noise_has_its_size_and_pixels_keep_their_range(images):
    grey = replace(images.read_test(), inputs=torch.full((600, 1, 16, 16), 128, dtype=torch.uint8))
    for sigma in (0.05, 0.1):
        pixels = torch.cat(list(noisy_batches(images, grey, sigma))) / 255.0
        assert pixels.mean().item() == pytest.approx(128 / 255, abs=1e-3)
        assert pixels.std().item() == pytest.approx(sigma, rel=0.01)
    strong = noisy(images, 0.4)
    assert strong.min() == 0.0 and strong.max() == 255.0
    # Neither the batches nor the images repeat their noise.
    flat = torch.cat(list(noisy_batches(images, grey, 0.1))).flatten(1)
    assert len(flat.unique(dim=0)) == 600
    assert torch.equal(noisy(images, 0.0), images.read_test().inputs.float())


def test_a_row_says_which_noisy_images_its_network_gets_right(kept):
    rows = {row["arm"]: row for row in measure(kept)}
    assert list(rows) == ["dense", "edge-dendrite"]
    session = open_session(kept.path(Case("edge-dendrite", 0.6, 0)).read_bytes())
    for sigma, one in zip(SIGMAS, rows["edge-dendrite"]["noise"], strict=True):
        outputs = run_onnx(session, kept.data.prepare(noisy(kept.data, sigma)).numpy())
        correct = outputs.argmax(1) == kept.data.read_test().targets.numpy()
        assert one["sigma"] == sigma
        assert unpack_bits(one["test_correct"]).tolist() == correct.tolist()
        assert one["test_accuracy"] == correct.mean()


def test_a_run_that_was_stopped_goes_on(kept):
    undisturbed = next(measure_noise(kept.study, 0, kept.data, kept.rows, kept.work, silent))
    assert undisturbed["arm"] == "dense"
    before = kept.rows.read_bytes()
    assert [row["arm"] for row in measure(kept)] == ["edge-dendrite"]
    assert kept.rows.read_bytes().startswith(before)
    assert measure(kept) == []
    assert len(read_rows(kept.rows)) == 4


def test_other_data_and_inputs_that_are_no_images_are_refused(kept, make_network):
    floats = replace(kept.data, preprocessing=None)
    with pytest.raises(ValueError, match="noise is defined for 8-bit images"):
        next(noisy_batches(floats, floats.read_test(), 0.1))
    kept.add(Case("from-scratch", 0.6, 0), make_network(3), data_sha256="0" * 64)
    with pytest.raises(ValueError, match="was trained on other data"):
        measure(kept)
    assert all(row["kind"] == "trained" for row in read_rows(kept.rows))
