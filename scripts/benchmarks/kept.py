"""What every measurement after the training works on: the networks without a row of its kind, their files, inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edge_dendrite.data.dataset import DataSet
from scripts.benchmarks.job import Case
from scripts.benchmarks.rows import TRAINED, Row
from scripts.benchmarks.train import onnx_path


def unmeasured(rows: Sequence[Row], seed: int, kind: str) -> list[Case]:
    """The networks of a seed that have a row but none of this kind yet."""
    measured = {(row["arm"], row["budget"]) for row in rows if row["seed"] == seed and row["kind"] == kind}
    trained = [Case(row["arm"], row["budget"], seed) for row in rows if row["seed"] == seed and row["kind"] == TRAINED]
    return [case for case in trained if (case.arm, case.budget) not in measured]


def check_data(rows: Sequence[Row], seed: int, data: DataSet) -> None:
    """Raises ValueError when networks of a seed were trained on other data than these."""
    fingerprint = data.fingerprint()
    for row in rows:
        if row["seed"] == seed and row["kind"] == TRAINED and row["data_sha256"] != fingerprint:
            raise ValueError(
                f"{row['arm']} of seed {seed} was trained on other data than these; give its own as --data"
            )


def kept_network(folder: Path, case: Case) -> Path:
    """The ONNX file of a row. Raises ValueError when it is not there."""
    path = onnx_path(folder, case)
    if not path.is_file():
        raise ValueError(f"{path}: is not there; remove its row from the results and train it again")
    return path


def validation_inputs(data: DataSet, num_inputs: int) -> np.ndarray:
    """The first validation samples as networks take them, (n, ...) float32."""
    inputs: np.ndarray = data.prepare(data.validation.inputs[:num_inputs]).numpy()
    return inputs
