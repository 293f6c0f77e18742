"""Test accuracy of the trained networks of a seed under Gaussian noise: the same noisy images for every network."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from edge_dendrite.data.dataset import DataSet, Split
from edge_dendrite.export.session import open_session, run_onnx
from edge_dendrite.lock import locked
from edge_dendrite.progress import Progress
from scripts.benchmarks.environment import environment
from scripts.benchmarks.job import Case
from scripts.benchmarks.kept import check_data, kept_network, unmeasured
from scripts.benchmarks.rows import NOISE, append_row, pack_bits, read_rows
from scripts.benchmarks.studies import Study
from scripts.benchmarks.train import seed_folder

# Standard deviations, where a pixel goes from 0 to 1.
SIGMAS = (0.05, 0.1, 0.2, 0.4)
_NOISE_SEED = 0
_BATCH = 500


def measure_noise(
    study: Study, seed: int, data: DataSet, results: Path, work: Path, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Test the networks of a seed that have a row but no noise row yet; yields each row once it is on the disk.

    Raises ValueError when an ONNX file is missing, or the data are others or no 8-bit images.
    """
    rows = read_rows(results)
    missing = unmeasured(rows, seed, NOISE)
    if not missing:
        return
    check_data(rows, seed, data)
    folder = seed_folder(work, study, seed)
    with locked(folder):
        for number, case in enumerate(missing):
            progress(f"testing under noise, seed {seed}", number, len(missing))
            session = open_session(kept_network(folder, case).read_bytes())
            row = _row(study, case, session, data)
            if append_row(results, row):
                yield row


def noisy_batches(data: DataSet, images: Split, sigma: float) -> Iterator[torch.Tensor]:
    """Raw images with noise on them, float32 from 0 to 255, in order; the same at every call.

    All sigmas have the same noise at another size, so that they differ by that alone.
    Raises ValueError where inputs are no 8-bit images.
    """
    if data.preprocessing is None or images.inputs.dtype != torch.uint8:
        raise ValueError(f"{data.name}: noise is defined for 8-bit images, and these inputs are none")
    generator = np.random.default_rng(_NOISE_SEED)
    for raw in images.inputs.split(_BATCH):
        noise = torch.from_numpy(generator.standard_normal(tuple(raw.shape), dtype=np.float32))
        yield (raw + 255.0 * sigma * noise).clamp(0.0, 255.0)


def _row(study: Study, case: Case, session: onnxruntime.InferenceSession, data: DataSet) -> dict[str, Any]:
    test = data.read_test()
    return {
        "study": study.name,
        "kind": NOISE,
        "arm": case.arm,
        "budget": case.budget,
        "seed": case.seed,
        "noise": [_test(session, data, test, sigma) for sigma in SIGMAS],
        "environment": environment(),
    }


def _test(session: onnxruntime.InferenceSession, data: DataSet, test: Split, sigma: float) -> dict[str, Any]:
    """images_sha256: of the noisy images; only results on the same ones can be paired."""
    digest, parts = hashlib.sha256(), []
    for images in noisy_batches(data, test, sigma):
        digest.update(images.numpy().tobytes())
        parts.append(run_onnx(session, data.prepare(images).numpy()).argmax(1))
    correct = np.concatenate(parts) == test.targets.numpy()
    return {
        "sigma": sigma,
        "test_accuracy": float(correct.mean()),
        "test_correct": pack_bits(correct),
        "images_sha256": digest.hexdigest(),
    }
