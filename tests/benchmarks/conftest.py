"""A study's kept networks with small files, for what is measured after the training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from edge_dendrite.data.dataset import DataSet, Split, image_preprocessing
from edge_dendrite.export.onnx import export_onnx
from scripts.benchmarks.job import Case
from scripts.benchmarks.rows import append_row
from scripts.benchmarks.studies import Study, find_study
from scripts.benchmarks.train import onnx_path, seed_folder


@dataclass
class Kept:
    """A folder with rows and files of networks of 16x16 images."""

    folder: Path
    study: Study
    data: DataSet

    @property
    def rows(self) -> Path:
        return self.folder / "rows.jsonl"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    def path(self, case: Case) -> Path:
        return onnx_path(seed_folder(self.work, self.study, case.seed), case)

    def add(self, case: Case, content: bytes, data_sha256: str | None = None) -> None:
        """A trained network: its row and its file."""
        row = {"study": self.study.name, "kind": "trained", "arm": case.arm, "budget": case.budget, "seed": case.seed}
        append_row(self.rows, {**row, "data_sha256": data_sha256 or self.data.fingerprint()})
        self.path(case).parent.mkdir(parents=True, exist_ok=True)
        self.path(case).write_bytes(content)


def network(width: int) -> bytes:
    """A dense layer of ten classes above two convolutions."""
    torch.manual_seed(width)
    layers = nn.Sequential(
        nn.Conv2d(1, width, 3), nn.ReLU(), nn.Conv2d(width, width, 3), nn.Flatten(), nn.Linear(144 * width, 10)
    )
    return export_onnx(layers, (1, 16, 16), 17).content


@pytest.fixture(scope="session")
def make_network():
    return network


@pytest.fixture(scope="session")
def images() -> DataSet:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (640, 1, 16, 16), generator=generator, dtype=torch.uint8)
    whole = Split(pixels, torch.randint(0, 10, (640,), generator=generator))
    train, validation, test = (whole.subset(one) for one in torch.arange(640).split([20, 20, 600]))
    labels = tuple(str(number) for number in range(10))
    return DataSet("images", train, validation, lambda: test, labels, image_preprocessing(train.inputs))


@pytest.fixture
def kept(tmp_path, images) -> Kept:
    """Two networks of seed 0; the dense one does 1,000 times the work of the cut one."""
    kept = Kept(tmp_path, find_study("pruning-digits"), images)
    kept.add(Case("dense", None, 0), network(96))
    kept.add(Case("edge-dendrite", 0.6, 0), network(3))
    return kept
