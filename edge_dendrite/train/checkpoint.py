"""Checkpoints of a training run: state only (safetensors with JSON in its header), written atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from edge_dendrite.errors import TrainError
from edge_dendrite.train.history import History
from edge_dendrite.train.tensors import write


@dataclass(frozen=True)
class TrainingState:
    """Everything that an epoch changes. tensors: by group and name, those that belong to no network: an average."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    tensors: Mapping[str, Mapping[str, torch.Tensor]] = field(default_factory=dict)


def save_checkpoint(path: Path, state: TrainingState, identity: Mapping[str, Any], history: History) -> None:
    """Write the state and the history so far into one file; `identity` says of which training it is."""
    tensors = {f"module.{key}": value for key, value in state.module.state_dict().items()}
    for index, moments in state.optimizer.state_dict()["state"].items():
        tensors.update({f"optimizer.{index}.{key}": value for key, value in moments.items()})
    for group, named in state.tensors.items():
        tensors.update({f"{group}.{key}": value for key, value in named.items()})
    metadata = {
        "identity": _as_text(identity),
        "history": json.dumps(history),
        "scaler": json.dumps(state.scaler.state_dict()),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    # safetensors refuses tensors that share memory, as tied weights do.
    owned = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()}
    _replace(path, save(owned, metadata=metadata))


def load_checkpoint(path: Path, state: TrainingState, identity: Mapping[str, Any]) -> History:
    """Put what is in a checkpoint into `state`, on whatever device it is; returns the history so far.

    Raises TrainError when the file is of another training (the state is then unchanged) or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata["identity"] != _as_text(identity):
                raise TrainError(f"{path}: was made by another training; delete it or use another folder")
            history: History = json.loads(metadata["history"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
        state.module.load_state_dict(_with_prefix(tensors, "module."))
        state.optimizer.load_state_dict(_optimizer_state(state.optimizer, tensors))
        for group, named in state.tensors.items():
            write({key: tensors[f"{group}.{key}"] for key in named}, named)
        if state.scaler.is_enabled():
            state.scaler.load_state_dict(json.loads(metadata["scaler"]))
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise TrainError(
            f"{path}: cannot go on from this checkpoint ({error}); delete it to start this part again"
        ) from error
    return history


def _optimizer_state(optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> dict[str, Any]:
    whole: dict[str, Any] = optimizer.state_dict()
    whole["state"] = {}
    for key, value in _with_prefix(tensors, "optimizer.").items():
        index, _, name = key.partition(".")
        whole["state"].setdefault(int(index), {})[name] = value
    return whole


def _replace(path: Path, content: bytes) -> None:
    # The temporary file has one name, so that the next write replaces what a killed one left: none accumulate.
    temporary = path.with_name(f".{path.name}.writing")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _as_text(identity: Mapping[str, Any]) -> str:
    return json.dumps(identity, sort_keys=True)


def _with_prefix(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}
