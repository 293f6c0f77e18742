"""Random small networks out of the zoo's blocks: whatever they are, these hold."""

from __future__ import annotations

import copy

import numpy as np
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from zoo import call, enliven_
from zoo.blocks import BLOCKS, TAILS, BlockSpec, Composed
from zoo.onnx_check import largest_error
from zoo.oracle import outputs_without, random_halves, silence_

from edge_dendrite.compress.coupling.find import Coupling, find_coupling
from edge_dendrite.compress.neurons.prune import Selection, build_plan
from edge_dendrite.compress.plan import Plan, apply_plan_
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.config import PruneConfig

TOLERANCE = 1e-4

specs = st.builds(BlockSpec, st.sampled_from(sorted(BLOCKS)), st.sampled_from([4, 8, 12]))


def plan_without(module: nn.Module, coupling: Coupling, gone: dict[int, np.ndarray]) -> tuple[Selection, Plan]:
    selection = Selection(coupling, PruneConfig(min_units=1, round_to=1, normalised_units=True))
    for number, units in gone.items():
        selection.remove(number, units.tolist())
    return selection, build_plan(module, selection, [np.zeros(group.num_units) for group in coupling.groups])


def error_of(module: nn.Module, inputs: tuple[torch.Tensor, ...], wanted: tuple[torch.Tensor, ...]) -> float:
    return largest_error([one.numpy() for one in call(module, inputs)], wanted)


def assert_stats_agree(module: nn.Module, selection: Selection, before: nn.Module) -> None:
    """ModelStats, the selection's running count, the tensors and the layers' own sizes tell one story."""
    stats, whole = (measure_stats(one, (torch.zeros(1, 3, 6, 6),)) for one in (module, before))
    assert stats.num_parameters == selection.num_parameters < whole.num_parameters
    assert stats.num_macs < whole.num_macs
    for layer in stats.layers:
        part = module.get_submodule(layer.name)
        if isinstance(part, nn.RNNBase):
            assert (part.hidden_size * (1 + part.bidirectional), part.input_size) == (layer.num_units, layer.num_inputs)
            continue
        assert (layer.num_units, layer.num_inputs) == (part.weight.shape[0], part.weight.shape[1] * groups_of(part))
        if isinstance(part, nn.Conv2d):
            assert (part.out_channels, part.in_channels) == (layer.num_units, layer.num_inputs)
        elif isinstance(part, nn.Linear):
            assert (part.out_features, part.in_features) == (layer.num_units, layer.num_inputs)


def groups_of(part: nn.Module) -> int:
    return getattr(part, "groups", 1)


@settings(derandomize=True, max_examples=80, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(blocks=st.lists(specs, max_size=4), tail=st.sampled_from(sorted(TAILS)), seed=st.integers(0, 2**16))
@torch.no_grad()
def test_any_network_of_these_blocks_is_cut_rightly(blocks, tail, seed):
    torch.manual_seed(seed)
    module = enliven_(Composed(blocks, tail)).eval()
    inputs = (torch.randn(3, 3, 6, 6),)
    before = call(module, inputs)
    state = {name: value.clone() for name, value in module.state_dict().items()}
    coupling = find_coupling(module, inputs)
    assert coupling.groups

    _, identity = plan_without(module, coupling, {})
    assert identity.edits == ()
    assert torch.equal(call(apply_plan_(copy.deepcopy(module), identity), inputs)[0], before[0])

    ordinary = [number for number, group in enumerate(coupling.groups) if not group.normalised]
    gone = random_halves(coupling, ordinary, seed)
    assert gone
    silent = copy.deepcopy(module)
    silence_(silent, coupling, gone)
    selection, plan = plan_without(silent, coupling, gone)
    smaller = apply_plan_(copy.deepcopy(silent), plan)
    assert error_of(smaller, inputs, call(silent, inputs)) < TOLERANCE, "units that nothing reads went"
    assert_stats_agree(smaller, selection, module)

    gone = random_halves(coupling, range(len(coupling.groups)), seed + 1)
    gone = {number: units for number, units in gone.items() if len(units) > 1 or not coupling.groups[number].normalised}
    _, plan = plan_without(module, coupling, gone)
    smaller = apply_plan_(copy.deepcopy(module), plan)
    assert error_of(smaller, inputs, outputs_without(module, coupling, gone, inputs)) < TOLERANCE, "cut and silenced"
    for size in (1, 2):
        assert call(smaller, (inputs[0][:size],))[0].shape == (size, 4)

    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items()), "the original changed"
