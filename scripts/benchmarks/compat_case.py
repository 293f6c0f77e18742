"""One architecture through one pruning engine, and what came out: the same checks for both engines.

The zoo of the tests (tests/support/zoo) has the architectures; it has to be importable.
"""

from __future__ import annotations

import copy
import importlib
import warnings
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
import torch_pruning
from torch import nn

from edge_dendrite.compress.coupling.find import find_coupling
from edge_dendrite.compress.layers.attention import replace_attention_
from edge_dendrite.compress.neurons.prune import prune
from edge_dendrite.compress.neurons.selection import Selection
from edge_dendrite.config import Budget, PruneConfig
from edge_dendrite.errors import PruneError
from scripts.benchmarks.compat_values import NotComparable, surviving_error

OURS, THEIRS = "edge-dendrite", "Torch-Pruning"
CHANNEL_RATIO = 0.5
TOLERANCE = 1e-4
_CONFIG = PruneConfig(min_units=1, round_to=1, num_rounds=2, num_batches=2, normalised_units=True)


@dataclass(frozen=True)
class Outcome:
    """What happened.

    stage: where it ended: prune, limit, no-op, forward, values, onnx, or done. Errors are the largest differences
    relative to max(1, |value|); None where it did not come to that. setting: what the engine had to be told.
    """

    architecture: str
    engine: str
    stage: str
    parameters_before: int = 0
    parameters_after: int | None = None
    value_error: float | None = None
    onnx_error: float | None = None
    refused: bool = False
    setting: str = ""
    message: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def run_case(name: str, engine: str) -> Outcome:
    """Prune a fresh network and check it, as far as it gets."""
    network = importlib.import_module("zoo").NETWORKS[name]
    original = network.build()
    outcome = Outcome(name, engine, "prune", _count(original))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if engine == OURS:
            return _run_ours(network, original, outcome)
        outcome = _run_theirs(network, original, outcome, {})
        heads = _heads(original)
        if outcome.stage == "done" or not heads:
            return outcome
        again = _run_theirs(network, original, Outcome(name, engine, "prune", outcome.parameters_before), heads)
        return replace(again, setting="told of the heads") if again.stage == "done" else outcome


def _run_ours(network: Any, original: nn.Module, outcome: Outcome) -> Outcome:
    try:
        pruned = _prune_ours(network, copy.deepcopy(original)).eval()
    except PruneError as error:
        return replace(outcome, refused=True, message=first_line(error))
    except Exception as error:  # whatever an engine raises is its result
        return replace(outcome, message=first_line(error))
    # The engine replaces nn.MultiheadAttention by an equal module; values are compared with that.
    replace_attention_(original)
    return _check(network, original, pruned, replace(outcome, parameters_after=_count(pruned)))


def _run_theirs(network: Any, original: nn.Module, outcome: Outcome, heads: dict[str, int]) -> Outcome:
    try:
        pruned = _prune_theirs(network, copy.deepcopy(original), heads).eval()
    except Exception as error:  # as above
        return replace(outcome, message=first_line(error))
    return _check(network, original, pruned, replace(outcome, parameters_after=_count(pruned)))


def _check(network: Any, original: nn.Module, pruned: nn.Module, outcome: Outcome) -> Outcome:
    if outcome.parameters_after == outcome.parameters_before:
        return replace(outcome, stage="no-op")
    try:
        _check_forward(network, original, pruned)
    except Exception as error:  # as above
        return replace(outcome, stage="forward", message=first_line(error))
    try:
        outcome = replace(outcome, value_error=surviving_error(original, pruned, network.sample(3), TOLERANCE))
    except NotComparable as error:
        return replace(outcome, stage="values", message=str(error))
    if outcome.value_error is None or not outcome.value_error <= TOLERANCE:
        return replace(outcome, stage="values")
    if not network.exporter:
        return replace(outcome, stage="done", message="no exporter writes the uncut network either")
    try:
        return _check_onnx(network, pruned, outcome)
    except Exception as error:  # exporters and the runtime raise many kinds
        return replace(outcome, stage="onnx", message=first_line(error))


def _check_forward(network: Any, original: nn.Module, pruned: nn.Module) -> None:
    zoo = importlib.import_module("zoo")
    for size in (1, 2, 5):
        with torch.no_grad():
            seen, wanted = (zoo.call(module, network.sample(size)) for module in (pruned, original))
        shapes = [[tuple(one.shape) for one in outputs] for outputs in (seen, wanted)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"outputs have shapes {shapes[0]} instead of {shapes[1]}")


def _check_onnx(network: Any, pruned: nn.Module, outcome: Outcome) -> Outcome:
    zoo, onnx_check = importlib.import_module("zoo"), importlib.import_module("zoo.onnx_check")
    inputs = network.sample(2)
    with torch.no_grad():
        wanted = zoo.call(pruned, inputs)
        error = onnx_check.largest_error(onnx_check.onnx_outputs(pruned, inputs, network.exporter), wanted)
    return replace(outcome, onnx_error=error, stage="done" if error <= TOLERANCE else "onnx")


def _prune_ours(network: Any, module: nn.Module) -> nn.Module:
    """To half of what can be reached, residual widths included."""
    coupling = find_coupling(replace_attention_(copy.deepcopy(module)), network.sample(2))
    selection = Selection(coupling, _CONFIG)
    target = round((selection.num_parameters + selection.smallest()) / 2)
    batches = [(_single(network.sample(size)), torch.zeros(size)) for size in (5, 4)]
    return prune(module, batches, Budget(max_parameters=target), _CONFIG, loss=_distance).module


def _prune_theirs(network: Any, module: nn.Module, heads: dict[str, int]) -> nn.Module:
    """Uniform L2 at half of the channels, as in its README; layers that make the outputs are left alone.

    heads: attention modules with their number of heads; then whole heads go, and the attributes that keep their number
    are set afterwards, as in its examples for BERT and ViT.
    """
    parts = dict(module.named_modules())
    projections = {name: _projections(parts[name]) for name in heads}
    torch_pruning.pruner.BasePruner(
        module,
        network.sample(2),
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=CHANNEL_RATIO,
        ignored_layers=_output_layers(network, module),
        num_heads={layer: heads[name] for name, layers in projections.items() for layer in layers},
        prune_num_heads=bool(heads),
        prune_head_dims=not heads,
        head_pruning_ratio=CHANNEL_RATIO if heads else 0.0,
    ).step()
    for name, layers in projections.items():
        owner = parts[name]
        if owner not in layers:
            width = layers[0].out_features
            owner.num_attention_heads = width // _head_size(owner)
            if hasattr(owner, "all_head_size"):
                owner.all_head_size = width
    return module


def _heads(module: nn.Module) -> dict[str, int]:
    """Attention modules, torch's and those of Hugging Face's kind, with their number of heads."""
    found = {}
    for name, part in module.named_modules():
        if isinstance(part, nn.MultiheadAttention):
            found[name] = part.num_heads
        elif _projections(part) and hasattr(part, "num_attention_heads") and _head_size(part):
            found[name] = part.num_attention_heads
    return found


def _head_size(part: nn.Module) -> int:
    """By the names of the attributes that Torch-Pruning's examples edit."""
    return int(getattr(part, "attention_head_size", getattr(part, "head_dim", 0)))


def _projections(part: nn.Module) -> list[nn.Module]:
    """The layers whose heads Torch-Pruning has to be told of."""
    if isinstance(part, nn.MultiheadAttention):
        return [part]
    for names in (["query", "key", "value"], ["q_proj", "k_proj", "v_proj"]):
        found = [getattr(part, name, None) for name in names]
        if all(isinstance(one, nn.Linear) for one in found):
            return found
    return []


def _output_layers(network: Any, module: nn.Module) -> list[nn.Module]:
    """The layers that an engineer would name by hand. Our graph knows them; without it the last layer."""
    parts = dict(module.named_modules())
    try:
        kept = find_coupling(copy.deepcopy(module), network.sample(2)).kept
        names = [name for name, reason in kept.items() if "output of the network" in reason]
    except PruneError:
        names = []
    found = [parts[name] for name in names if name in parts]
    return found or [part for part in module.modules() if isinstance(part, (nn.Linear, nn.Conv2d, nn.Conv1d))][-1:]


def _distance(outputs: Any, _: torch.Tensor) -> torch.Tensor:
    """A loss for outputs of any structure: all should be one."""
    tensors = importlib.import_module("zoo").flat_tensors(outputs)
    return torch.stack([((one - 1) ** 2).mean() for one in tensors]).sum()


def _single(inputs: Any) -> Any:
    return inputs[0] if isinstance(inputs, tuple) and len(inputs) == 1 else inputs


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def first_line(error: BaseException) -> str:
    """Kind and first line of an error; our own refusals without the kind."""
    line = next(iter(str(error).strip().splitlines()), "")
    return line if isinstance(error, PruneError) else f"{type(error).__name__}: {line}"
