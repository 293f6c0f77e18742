"""Train what is missing of a study, one row after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from edge_bench.atomic import write_bytes
from edge_dendrite.compress.layers.gated import has_gates
from edge_dendrite.compress.model import weights_digest
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.config import ExportConfig
from edge_dendrite.data.dataset import DataSet
from edge_dendrite.export.gates import inputs_of_every_path
from edge_dendrite.export.onnx import OnnxModel, check_onnx, check_parity, export_onnx
from edge_dendrite.export.session import open_session, run_onnx
from edge_dendrite.lock import locked
from edge_dendrite.progress import Progress
from scripts.benchmarks.arms import ARMS
from scripts.benchmarks.environment import environment
from scripts.benchmarks.job import Case, Foreign, Job, Seed, Trainer
from scripts.benchmarks.rows import TRAINED, append_row, pack_bits, read_rows
from scripts.benchmarks.studies import DENSE, DENSE_LONGER, Study

NUM_PARITY_INPUTS = 64
OPSET = 17
# Among so many inputs that take every way through a gated network are looked for.
NUM_GATED_INPUTS = 1_000


def cases(study: Study, seeds: Sequence[int], arms: Sequence[str], budgets: Sequence[float]) -> Iterator[Case]:
    """The rows of a study in the order in which they are trained; of the arms and budgets that are given."""
    for seed in seeds:
        for wave in study.waves:
            uncut = [arm for arm in wave if arm in (DENSE, DENSE_LONGER) and arm in arms]
            cut = [arm for arm in wave if arm not in (DENSE, DENSE_LONGER) and arm in arms]
            yield from (Case(arm, None, seed) for arm in uncut)
            yield from (Case(arm, budget, seed) for budget in budgets for arm in cut)


def train_missing(
    study: Study, wanted: Sequence[Case], data: DataSet, results: Path, work: Path, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Make every wanted row that is not in `results`, and yield it once it is on the disk.

    work: folder for dense networks, checkpoints and ONNX files. Raises ModelError when another process works on the
    same seed of the same study.
    """
    done = {(row["arm"], row["budget"], row["seed"]) for row in read_rows(results) if row["kind"] == TRAINED}
    missing = [case for case in wanted if (case.arm, case.budget, case.seed) not in done]
    for seed in dict.fromkeys(case.seed for case in missing):
        folder = seed_folder(work, study, seed)
        with locked(folder):
            shared = Seed(study, seed, data, folder, progress)
            _check_same_dense(shared, results)
            for case in wanted:
                if case.seed == seed and case in missing:
                    yield _make_row(shared, case, results)
                elif case.seed == seed:
                    Trainer(shared, case).forget()  # a run may be killed between its row and this


def seed_folder(work: Path, study: Study, seed: int) -> Path:
    """Where everything of a seed is kept."""
    return work / study.name / f"seed-{seed}"


def onnx_path(folder: Path, case: Case) -> Path:
    """The trained network of a row."""
    return folder / "onnx" / f"{case.name}.onnx"


def _check_same_dense(shared: Seed, results: Path) -> None:
    """Rows of one seed belong to one dense network; made again elsewhere it can differ in the last bits."""
    digest = weights_digest(shared.dense.module)
    for row in read_rows(results):
        if row["kind"] == TRAINED and row["seed"] == shared.seed and row["dense_sha256"] != digest:
            raise ValueError(
                f"{results}: the rows of seed {shared.seed} come from another dense network than the one in "
                f"{shared.folder}; train this seed into another --results, or remove its rows"
            )


def _make_row(shared: Seed, case: Case, results: Path) -> dict[str, Any]:
    job = Job(shared, case)
    made = ARMS[case.arm](job)
    exported = check_onnx(made.content) if isinstance(made, Foreign) else _export(made, shared.data)
    path = onnx_path(shared.folder, case)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(str(path), exported.content)
    row = _row(shared, job, made, exported)
    append_row(results, row)
    job.trainer.forget()
    return row


def _export(module: nn.Module, data: DataSet) -> OnnxModel:
    """The network as it would ship, checked against PyTorch on validation data."""
    config = ExportConfig()
    exported = export_onnx(module, data.input_shape, OPSET)
    inputs = data.prepare(data.validation.inputs[: NUM_GATED_INPUTS if has_gates(module) else NUM_PARITY_INPUTS])
    if has_gates(module):
        inputs = inputs[inputs_of_every_path(module, inputs, NUM_PARITY_INPUTS)]
    check_parity(exported, module, inputs, config.atol, config.rtol)
    return exported


def _row(shared: Seed, job: Job, made: nn.Module | Foreign, exported: OnnxModel) -> dict[str, Any]:
    if isinstance(made, Foreign):
        counts = {"widths": {}, "num_parameters": made.num_parameters, "num_macs": made.num_macs}
    else:
        stats = measure_stats(made, (shared.data.prepare(shared.data.validation.inputs[:1]),))
        widths = {layer.name: layer.num_units for layer in stats.layers}
        counts = {"widths": widths, "num_parameters": stats.num_parameters, "num_macs": stats.num_macs}
    correct = _test(exported, shared.data)
    return {
        "study": shared.study.name,
        "kind": TRAINED,
        "arm": job.case.arm,
        "budget": job.case.budget,
        "seed": job.case.seed,
        **counts,
        "onnx_bytes": len(exported.content),
        "epochs": len(job.history),
        "history": [[entry["train_loss"], entry["val_metric"]] for entry in job.history],
        "val_accuracy": job.history[-1]["val_metric"],
        "test_accuracy": float(correct.mean()),
        "test_correct": pack_bits(correct),
        **job.clock.to_dict(),
        **job.notes,
        "settings": {
            "fit": shared.fit.to_dict(),
            "more_epochs": shared.study.more_epochs,
            "distil": shared.study.distil.to_dict(),
            "prune": shared.study.prune.to_dict(),
            **({"grow": _growth(shared.study)} if shared.study.grow_epochs else {}),
            **({"train_share": shared.study.train_share} if shared.study.train_share < 1.0 else {}),
        },
        "data_sha256": shared.fingerprint,
        "dense_sha256": weights_digest(shared.dense.module),
        "environment": environment(),
    }


def _growth(study: Study) -> dict[str, Any]:
    return {"config": study.grow.to_dict(), "share": study.grow_share, "epochs": study.grow_epochs}


def _test(exported: OnnxModel, data: DataSet) -> np.ndarray:
    """Which test samples the exported file gets right, (n,) bool. Read here, once for each row, after everything."""
    test = data.read_test()
    session = open_session(exported.content)
    parts = [run_onnx(session, inputs.numpy()) for inputs, _ in data.batches(test, 500)]
    return np.concatenate(parts).argmax(1) == test.targets.numpy()
