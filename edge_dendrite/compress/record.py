"""The record of a saved model, model.json: its schema and its checked reading. Runs without torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_bench.atomic import parse_json
from edge_dendrite.errors import ModelError

SCHEMA = "edge-dendrite.model"
VERSION = 1
RECORD, WEIGHTS = "model.json", "model.safetensors"
_MAX_BYTES = 64 << 20

_KINDS: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "source": str,
    "role": str,
    "input_shape": list,
    "plan": dict,
    "labels": list,
    "preprocessing": (dict, type(None)),
    "history": list,
    "recipe": dict,
    "val_metric": (int, float, type(None)),
    "stats": dict,
    "weights_sha256": str,
}


def read_record(folder: str | Path) -> Mapping[str, Any]:
    """The checked content of model.json. Raises ModelError when it is missing, damaged, or of another kind."""
    path = Path(folder) / RECORD
    try:
        with path.open("rb") as stream:
            record = parse_json(stream.read(_MAX_BYTES))
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: no {RECORD} there: not the folder of a saved model") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read ({error}); copy the folder again") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA or record.get("version") != VERSION:
        raise ModelError(f"{path}: is not a model record of version {VERSION}")
    for key, kind in _KINDS.items():
        if key not in record or not isinstance(record[key], kind):
            names = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
            raise ModelError(f"{path}: {key!r} is missing or not a {names}; the file was changed")
    shape = record["input_shape"]
    if not all(type(size) is int and 0 < size < 2**31 for size in shape) or math.prod(shape) > 10**8:
        raise ModelError(f"{path}: 'input_shape' {str(shape)[:80]} is not the shape of an input; the file was changed")
    for key, kind in (("history", dict), ("labels", str), ("steps", dict)):
        entries = record.get(key, [])
        if not isinstance(entries, list) or not all(isinstance(entry, kind) for entry in entries):
            raise ModelError(f"{path}: {key!r} holds something that is not a {kind.__name__}; the file was changed")
    kept = record.get("kept", {})
    if not isinstance(kept, dict) or not all(isinstance(reason, str) for reason in kept.values()):
        raise ModelError(f"{path}: 'kept' is not a dict of reasons; the file was changed")
    return record
