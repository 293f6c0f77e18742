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
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    identity: Mapping[str, Any],
    history: list[dict[str, Any]],
) -> None:
    """Write network, optimizer and the history so far into one file; `identity` says of which training it is."""
    tensors = {f"module.{key}": value for key, value in _own_copies(module.state_dict()).items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{key}": value.detach().clone() for key, value in state.items()})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(str(path), save(tensors, metadata={"identity": _as_text(identity), "history": json.dumps(history)}))


def load_checkpoint(
    path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, identity: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Put a checkpoint's state into `module` and `optimizer`; returns the history so far.

    Raises TrainError when the file is damaged, or of another training (both are then unchanged).
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata["identity"] != _as_text(identity):
                raise TrainError(f"{path}: was made by another training; delete it or use another folder")
            history: list[dict[str, Any]] = json.loads(metadata["history"])
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
    return history


def _as_text(identity: Mapping[str, Any]) -> str:
    return json.dumps(identity, sort_keys=True)


def _with_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


def _own_copies(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    # safetensors refuses tensors that share memory, as tied weights do.
    return {key: value.detach().clone().contiguous() for key, value in state.items()}
