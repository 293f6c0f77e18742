"""Checkpoints of a training run: state only (safetensors with JSON in its header), written atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from edge_bench.atomic import write_bytes
from edge_dendrite.errors import TrainError


def save_checkpoint(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, progress: Mapping[str, Any]
) -> None:
    """Write network, optimizer and `progress` (JSON-ready: finished epochs, history, recipe) into one file."""
    tensors = {f"module.{key}": value for key, value in _own_copies(module.state_dict()).items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{key}": value.detach().clone() for key, value in state.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(str(path), save(tensors, metadata={"progress": json.dumps(progress)}))


def load_checkpoint(path: Path, module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Put a checkpoint's state into `module` and `optimizer`; returns its `progress`.

    Raises TrainError when the file is damaged or belongs to another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            progress: dict[str, Any] = json.loads((file.metadata() or {})["progress"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        module.load_state_dict(_with_prefix(tensors, "module."))
        whole = optimizer.state_dict()
        whole["state"] = {}
        for key, value in _with_prefix(tensors, "optimizer.").items():
            index, _, name = key.partition(".")
            whole["state"].setdefault(int(index), {})[name] = value
        optimizer.load_state_dict(whole)
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise TrainError(
            f"{path}: cannot go on from this checkpoint ({error}); delete it to start this part again"
        ) from error
    return progress


def _with_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


def _own_copies(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # safetensors refuses tensors that share memory, as tied weights do.
    return {key: value.detach().clone().contiguous() for key, value in state.items()}
