"""int8 as QuantizeLinear and DequantizeLinear in the graph: s8 activations and weights, symmetric, per channel.

The form that TensorRT reads (zero points of 0, float biases, a pair for each reader) and that ONNX Runtime fuses. The
nodes are placed by onnxruntime.quantization (Jacob et al. 2018, "Quantization and Training of Neural Networks for
Efficient Integer-Arithmetic-Only Inference", section 2, is the arithmetic).
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import QDQQuantizer, QuantType

from edge_dendrite.config import FP32, INT8, PrecisionConfig
from edge_dendrite.errors import ConfigError, ExportError
from edge_dendrite.export.calibrate import check_samples, find_ranges, magnitude, same_range_
from edge_dendrite.export.onnx import OnnxModel, check_onnx
from edge_dendrite.export.parts import Part, join, prepare, split
from edge_dendrite.export.session import open_session
from edge_dendrite.export.subgraphs import branches, sort_nodes_

# Layers, each of which can stay in float; and what passes int8 on where it is given some.
_WEIGHTED = ("Conv", "ConvTranspose", "Gemm")
_LAYERS = (*_WEIGHTED, "MatMul", "Add", "Concat", "AveragePool", "GlobalAveragePool")
_FOLLOWERS = ("Relu", "Clip", "MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")
_KINDS = (*_LAYERS, *_FOLLOWERS)
_FIRST_OPSET = 13  # the first with an axis for scales


@dataclass(frozen=True)
class Quantized:
    """quantized, left: how many nodes of each kind compute in int8, and in float. constant: values without a range."""

    model: OnnxModel
    quantized: dict[str, int]
    left: dict[str, int]
    constant: tuple[str, ...]


class Quantizer:
    """Makes int8 files of one fp32 file, with any of its layers left in float; it is calibrated once."""

    def __init__(self, model: OnnxModel, samples: np.ndarray, config: PrecisionConfig) -> None:
        """samples (n, ...): what ranges are read from. Raises ExportError for files and samples that cannot be used."""
        if model.precision != FP32:
            raise ExportError(f"the file is {model.precision} already; give the fp32 file that it was made from")
        if model.opset < _FIRST_OPSET:
            raise ExportError(
                f"the file has opset {model.opset}; scales per channel need {_FIRST_OPSET}: export it anew"
            )
        samples = check_samples(samples, model.input_shape)
        self._model, self._config = model, config
        self._prepared = prepare(model.content)
        self._parts = split(self._prepared, samples)
        self._layers = [_layers(part) if part.feeds else [] for part in self._parts]
        if not self.layers:
            kinds = ", ".join(sorted({node.op_type for node in self._prepared.graph.node}))
            raise ExportError(f"nothing in this network can be quantized (it has {kinds}); take fp32 or fp16")
        self._ranges: list[Any] = []
        constant: list[str] = []
        with _quiet():
            for at, (part, layers) in enumerate(zip(self._parts, self._layers, strict=True)):
                ranges, endless = find_ranges(part.model, part.feeds, _KINDS, config) if layers else (None, frozenset())
                self._layers[at] = _without(part.model.graph, layers, endless)
                if ranges is not None:
                    _ranges_after_activation_(part.model.graph, ranges)
                    constant += [name for name in ranges if magnitude(ranges, name) == 0.0]
                self._ranges.append(ranges)
        if not self.layers:
            raise ExportError(
                "all layers meet values that are not finite on the samples to calibrate on: NaN or infinite"
            )
        self._constant = tuple(sorted(constant))

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the nodes that can be quantized or left in float, in the order of the graph."""
        return tuple(name for layers in self._layers for name in layers)

    def named(self, expressions: Sequence[str]) -> tuple[str, ...]:
        """The layers that names or expressions mean. Raises ConfigError for one that means none."""
        found: list[str] = []
        for one in expressions:
            matched = [name for name in self.layers if name == one or re.fullmatch(one, name)]
            if not matched:
                raise ConfigError(
                    f"keep_float {one!r} is no layer that can be quantized; these can: {', '.join(self.layers)}"
                )
            found += matched
        return tuple(dict.fromkeys(found))

    def quantize(self, keep_float: Collection[str] = ()) -> Quantized:
        """The int8 file without the layers `keep_float`. Raises ExportError when it is not as promised."""
        with _quiet():
            made = [
                (part, self._quantized(part, [one for one in layers if one not in keep_float], ranges))
                for part, layers, ranges in zip(self._parts, self._layers, self._ranges, strict=True)
            ]
        content = join(self._prepared, made)
        model = check_onnx(content)
        wanted = (self._model.opset, self._model.ir_version, INT8)
        if (model.opset, model.ir_version, model.precision) != wanted:
            raise ExportError(
                f"the quantized file has opset {model.opset}, IR {model.ir_version} and precision {model.precision}: "
                "not written"
            )
        graph = onnx.load_model_from_string(content).graph
        _check_symmetric(graph)
        open_session(content)
        counts = _count(graph)
        return Quantized(model, counts[0], counts[1], self._constant)

    def _quantized(self, part: Part, layers: Sequence[str], ranges: Any) -> onnx.ModelProto:
        """The part with these layers in int8."""
        copied = onnx.ModelProto()
        copied.CopyFrom(part.model)
        if not layers:
            return copied
        followers = [
            node.name for node in copied.graph.node if node.op_type in _FOLLOWERS and node.name not in part.gates
        ]
        options = {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "DedicatedQDQPair": True,
            "AddQDQPairToWeight": self._config.weight_pairs,
        }
        quantizer = QDQQuantizer(
            copied,
            True,  # per channel
            False,  # all eight bits
            QuantType.QInt8,
            QuantType.QInt8,
            ranges,
            [*layers, *followers],
            [],
            list(_KINDS),
            options,
        )
        quantizer.quantize_model()
        result = quantizer.model.model
        result.producer_name, result.producer_version = copied.producer_name, copied.producer_version
        result.ir_version = copied.ir_version
        _plain_outputs_(result.graph)
        _separate_scales_(result.graph)
        sort_nodes_(result.graph)
        return result


def _layers(part: Part) -> list[str]:
    """Nodes that can be quantized: weights are constants, and biases that are added alone stay in float."""
    graph = part.model.graph
    weights = {one.name for one in graph.initializer}
    floats = {
        one.name
        for one in (*graph.value_info, *graph.input, *graph.output)
        if one.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    }
    found = []
    for node in graph.node:
        if node.op_type not in _LAYERS or node.name in part.gates or node.input[0] not in floats:
            continue
        constant = [name in weights for name in node.input]
        if node.op_type in _WEIGHTED and not all(constant[1:]):
            continue
        if node.op_type in ("Add", "Concat") and any(constant):
            continue
        found.append(node.name)
    return found


def _without(graph: onnx.GraphProto, layers: Sequence[str], endless: Collection[str]) -> list[str]:
    """The layers that meet none of these values."""
    met = {node.name for node in graph.node if not {*node.input, *node.output}.isdisjoint(endless)}
    return [name for name in layers if name not in met]


def _ranges_after_activation_(graph: onnx.GraphProto, ranges: Any) -> None:
    """What only a Relu or a Clip reads gets the range of what comes out: the rest is cut away there anyway."""
    readers = Counter(name for node in graph.node for name in node.input)
    outputs = {one.name for one in graph.output}
    for node in graph.node:
        if node.op_type not in ("Relu", "Clip") or readers[node.input[0]] != 1 or node.input[0] in outputs:
            continue
        if node.input[0] in ranges and node.output[0] in ranges and magnitude(ranges, node.output[0]) > 0:
            same_range_(ranges, node.input[0], node.output[0])


def _plain_outputs_(graph: onnx.GraphProto) -> None:
    """What a last linear layer computes is given out as it is: no integer reads it, and it loses by being rounded."""
    makers = {name: node for node in graph.node for name in node.output}
    outputs = {one.name for one in graph.output}
    readers = Counter(name for node in graph.node for name in node.input)
    for last in [one for one in graph.node if one.op_type == "DequantizeLinear" and one.output[0] in outputs]:
        first = makers.get(last.input[0])
        layer = makers.get(first.input[0]) if first is not None else None
        if first is None or layer is None or layer.op_type not in ("Gemm", "MatMul") or readers[layer.output[0]] != 1:
            continue
        layer.output[0] = last.output[0]
        for node in (first, last):
            graph.node.remove(node)
    read = {name for node in graph.node for name in node.input}
    for one in [one for one in graph.initializer if one.name not in read]:
        graph.initializer.remove(one)


def _separate_scales_(graph: onnx.GraphProto) -> None:
    """Make the scales of pairs that quantize one value for several readers differ in their last bit.

    ONNX Runtime merges equal pairs again, and on x86, where it turns s8 into u8 pair by pair, then computes every layer
    behind such a value in float: a ResNet took 2.8 times as long.
    """
    weights = {one.name: one for one in graph.initializer}
    dequantizing = {node.input[0]: node for node in graph.node if node.op_type == "DequantizeLinear"}
    pairs: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.input[0] not in weights:
            pairs.setdefault(node.input[0], []).append(node)
    for nodes in pairs.values():
        scale = numpy_helper.to_array(weights[nodes[0].input[1]]).astype(np.float32)
        for at, node in enumerate(nodes[1:], 1):
            scale = np.nextafter(scale, np.float32(np.inf))
            own = numpy_helper.from_array(np.asarray(scale, np.float32), f"{nodes[0].input[1]}/{at}")
            graph.initializer.append(own)
            node.input[1] = own.name
            dequantizing[node.output[0]].input[1] = own.name


def _check_symmetric(graph: onnx.GraphProto) -> None:
    """Raise ExportError unless every scale is finite and above 0 and every zero point is an int8 of 0."""
    weights = {one.name: one for one in graph.initializer}
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        scale = numpy_helper.to_array(weights[node.input[1]])
        zero = weights.get(node.input[2]) if len(node.input) > 2 else None
        symmetric = (
            zero is not None and zero.data_type == onnx.TensorProto.INT8 and not numpy_helper.to_array(zero).any()
        )
        if not symmetric or not np.isfinite(scale).all() or not (scale > 0).all():
            raise ExportError(
                f"{node.name}: its scale or zero point is not that of symmetric int8; nothing was written"
            )
    for inner in branches(graph):
        _check_symmetric(inner)


def _count(graph: onnx.GraphProto) -> tuple[dict[str, int], dict[str, int]]:
    """(nodes that read dequantized values, the others), by kind."""
    pair = ("QuantizeLinear", "DequantizeLinear")
    made = {name for node in graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    counted: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    for node in graph.node:
        if node.op_type not in (*pair, "If"):
            is_int8 = node.op_type in _KINDS and node.input[0] in made
            counted[0 if is_int8 else 1][node.op_type] += 1
    for inner in branches(graph):
        for mine, theirs in zip(counted, _count(inner), strict=True):
            mine.update(theirs)
    return dict(sorted(counted[0].items())), dict(sorted(counted[1].items()))


@contextmanager
def _quiet() -> Iterator[None]:
    """The library warns on the root logger of what is checked here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
