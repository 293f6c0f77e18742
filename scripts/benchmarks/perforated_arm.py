"""The arm `perforatedai`: its dendrites on our reduced network; same data, teacher and epochs, its own environment."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import save_file

from edge_dendrite.data.dataset import DataSet
from scripts.benchmarks import studies
from scripts.benchmarks.job import Foreign, Job

ROOT = Path(__file__).parent.parent.parent
_PYTHON = "EDGE_DENDRITE_PERFORATEDAI"


def perforatedai(job: Job) -> Foreign:
    """Trained by scripts/benchmarks/perforated_peer.py. Raises ValueError where its environment is missing or fails."""
    python = os.environ.get(_PYTHON)
    if not python:
        raise ValueError(
            f"{_PYTHON} is not set: scripts/benchmarks/perforated_peer.py says how to make the environment"
        )
    reduced = job.kept_network(studies.REDUCED)
    epochs = job.study.grow_epochs
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        reduced.save(out / "base")
        replace(reduced, module=job.dense, plan=type(reduced.plan)()).save(out / "teacher")
        save_file(_tensors(job.data), out / "data.safetensors")
        task = {
            "base": str(out / "base"),
            "teacher": str(out / "teacher"),
            "data": str(out / "data.safetensors"),
            "input_shape": list(job.data.input_shape),
            "epochs": epochs,
            "learning_rate": job.study.fit.learning_rate / 2,
            "fit": job.study.fit.to_dict(),
            "distil": job.study.distil.to_dict(),
            "seed": job.seed,
            "out": folder,
        }
        (out / "job.json").write_text(json.dumps(task), "utf-8")
        # It writes its own files where it stands.
        done = subprocess.run(
            [python, "-m", "scripts.benchmarks.perforated_peer", "job.json"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'deploy'}"},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise ValueError(f"perforatedai failed: {done.stderr.strip().splitlines()[-1:]}")
        result = json.loads((out / "result.json").read_text("utf-8"))
        content = (out / "network.onnx").read_bytes()
    job.trainer.history = [
        *reduced.history,
        *({"train_loss": loss, "val_metric": metric} for loss, metric in result["history"]),
    ]
    job.trainer.clock.seconds = result["train_seconds"]
    job.trainer.clock.steps = epochs * job.data.num_train_batches(job.study.fit.batch_size)
    return Foreign(content, _num_parameters(content), result["num_macs"])


def _tensors(data: DataSet) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for name, split in (("train", data.train), ("validation", data.validation)):
        inputs, targets = data.read(split, torch.arange(len(split)))
        found |= {f"{name}_inputs": inputs.contiguous(), f"{name}_targets": targets.contiguous()}
    return found


def _num_parameters(content: bytes) -> int:
    """Of the exported file: its modules hold copies that nobody uses. Without switches of one number."""
    initializers = onnx.load_model_from_string(content).graph.initializer
    return sum(int(np.prod(one.dims)) for one in initializers if one.dims and np.prod(one.dims) > 1)
