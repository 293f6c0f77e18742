"""What releases of TensorRT read of ONNX: operators, opsets, zero points.

There is no TensorRT without a GPU that could be asked (its Builder does not start without a driver), so what its parser
takes stands as data in profiles/software/tensorrt-operators.json, from the tables and the changelog of its authors. Of
shapes and types of an operator they say nothing that is looked at: the board's parser has the last word.
"""

from __future__ import annotations

import importlib.resources
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnx
from onnx import numpy_helper

from edge_dendrite.export.subgraphs import all_initializers, all_nodes

QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
Release: TypeAlias = tuple[float, ...]


@dataclass(frozen=True)
class TensorRTSupport:
    """first: by operator, the first release that is known to read it. last_without: the newest that is known not to, ""
    where none is. oldest: the oldest that is not known to lack it. opsets: (highest opset, the first release that reads
    it), in order. complete_until: up to this release, operators that are not here are not read.
    """

    first: Mapping[str, str]
    last_without: Mapping[str, str]
    oldest: Mapping[str, str]
    opsets: tuple[tuple[int, str], ...]
    complete_until: str

    @classmethod
    def load(cls) -> TensorRTSupport:
        """What the profiles say."""
        file = importlib.resources.files("edge_profiles").joinpath("software/tensorrt-operators.json")
        tables: dict[str, Any] = json.loads(file.read_bytes())
        first, last_without, oldest = {}, {}, {}
        for group in tables["operators"]:
            without = group["last_without"] or ""
            later = [one["first"] for one in tables["operators"] if not without or _is_after(one["first"], without)]
            for name in group["names"]:
                first[name], last_without[name], oldest[name] = group["first"], without, later[0]
        opsets = tuple((one["max_opset"], one["first"]) for one in tables["opsets"])
        return cls(first, last_without, oldest, opsets, tables["complete_until"]["value"])

    def reads(self, operator: str, release: str) -> bool | None:
        """Whether a release reads an operator; None where nothing tells. What one release has, later ones keep.

        A release without a minor number ("10") may be any of them.
        """
        asked = _numbers(release)[:2]
        lowest, highest = (asked, asked) if len(asked) > 1 else ((*asked, 0.0), (*asked, math.inf))
        if operator not in self.first:
            return False if lowest <= _numbers(self.complete_until) else None
        if _numbers(self.first[operator]) <= lowest:
            return True
        without = self.last_without[operator]
        return False if without and highest <= _numbers(without) else None

    def needs(self, operators: Iterable[str], opset: int) -> dict[str, str]:
        """By operator, and for the opset, the oldest release that may read it, where that is not every one here."""
        base = self.opsets[0][1]
        needs = {name: self.oldest[name] for name in sorted(operators) if self.oldest.get(name, base) != base}
        release = next((release for highest, release in self.opsets if opset <= highest), "")
        if not release:
            needs[f"opset {opset}"] = f"{int(_numbers(self.opsets[-1][1])[0]) + 1}.0"  # none that is known
        elif release != base:
            needs[f"opset {opset}"] = release
        return needs

    def oldest_of(self, needs: Mapping[str, str]) -> str:
        """The oldest release that may have all that a network needs."""
        return max([*needs.values(), self.opsets[0][1]], key=_numbers)


def shifted_quantizers(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Quantizing nodes whose zero point is not 0, or not known, which no release reads."""
    nodes = list(all_nodes(model.graph))
    constants = {one.name: one for one in all_initializers(model.graph)}
    constants |= {
        node.output[0]: attribute.t
        for node in nodes
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
    }
    for node in nodes:
        zero = node.input[2] if node.op_type in QUANTIZERS and len(node.input) > 2 else ""
        if zero and (zero not in constants or np.any(numpy_helper.to_array(constants[zero]))):
            yield node


def _is_after(release: str, other: str) -> bool:
    return _numbers(release) > _numbers(other)


def _numbers(release: str) -> Release:
    """ "8.2.1" as numbers that compare."""
    return tuple(float(part) for part in release.split("."))
