"""Every network of the zoo: cut values against silent units, the whole of `prune`, ONNX Runtime, plans as data.

That a forward runs proves nothing here: a recurrent layer with a stale size runs and is wrong. Each comparison is of
values, against an oracle (tests/support/zoo/oracle.py) that shares no code with the engine.
"""

from __future__ import annotations

import copy
import functools
import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from zoo import DENDRITIC, DYNAMO, Inputs, Network, call, flat_tensors
from zoo import NETWORKS as ORDINARY
from zoo.onnx_check import largest_error, onnx_outputs
from zoo.oracle import outputs_without, random_halves, silence_, tied_sets
from zoo.twins import TWINS, build_twin

from edge_dendrite.compress.coupling.find import DEPTHWISE, PRODUCED, Coupling, Group, find_coupling
from edge_dendrite.compress.layers.attention import replace_attention_
from edge_dendrite.compress.neurons.prune import Selection, build_plan, prune
from edge_dendrite.compress.plan import Plan, apply_plan_
from edge_dendrite.compress.pruned import Pruned
from edge_dendrite.config import Budget, PruneConfig
from edge_dendrite.errors import PruneError

NETWORKS = {**ORDINARY, **DENDRITIC}
TOLERANCE = 1e-4
FINE = PruneConfig(min_units=1, round_to=1, num_rounds=2, num_batches=2)
FINE_NORMALISED = PruneConfig(min_units=1, round_to=1, num_rounds=2, num_batches=2, normalised_units=True)
MOST_TIES_ALONE = 8
LAYERS = (nn.Linear, nn.Bilinear, nn.Embedding, nn.modules.conv._ConvNd, nn.RNNBase, nn.RNNCellBase)

pytestmark = [
    # torch.cond compiles its branches at every call and looks at .grad of what is no leaf.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning"),
]

ALL = [name for name, network in NETWORKS.items() if not network.refused]
REFUSED = [name for name, network in NETWORKS.items() if network.refused]
WHOLE_WAY = [(name, False) for name in ALL] + [(name, True) for name in ALL if NETWORKS[name].normalised_units]
# The second exporter takes seconds for each.
WITH_ONNX = [
    pytest.param(name, normalised, marks=[pytest.mark.slow] if normalised and NETWORKS[name].exporter == DYNAMO else [])
    for name, normalised in WHOLE_WAY
    if NETWORKS[name].exporter
]


@functools.cache
def coupled(name: str) -> tuple[nn.Module, Coupling]:
    """A built network and its coupling."""
    network = NETWORKS[name]
    module = network.build()
    if network.opens_attention:
        replace_attention_(module)
    return module, find_coupling(module, network.sample(2))


def cut(module: nn.Module, coupling: Coupling, gone: dict[int, np.ndarray]) -> nn.Module:
    """A copy without these units, by the engine; its parameters are as many as the selection says."""
    selection = Selection(coupling, FINE_NORMALISED)
    for number, units in gone.items():
        selection.remove(number, units.tolist())
    plan = build_plan(module, selection, [np.zeros(group.num_units) for group in coupling.groups])
    smaller = apply_plan_(copy.deepcopy(module), plan)
    assert sum(parameter.numel() for parameter in smaller.parameters()) == selection.num_parameters
    return smaller


def error_of(seen: tuple[torch.Tensor, ...], wanted: tuple[torch.Tensor, ...]) -> float:
    return largest_error([one.numpy() for one in seen], wanted)


def assert_lively(outputs: tuple[torch.Tensor, ...]) -> None:
    """A comparison of zeros or of constants would prove nothing."""
    values = torch.cat([one.ravel() for one in outputs])
    assert bool(torch.isfinite(values).all())
    assert float(values.std()) > 1e-2


def makers(coupling: Coupling, tensor: str) -> list[Group]:
    """Groups whose units come out of this tensor. Of a tied one, which others read, the groups' names tell."""
    roles = [[one.role for one in group.slices if one.tensor == tensor] for group in coupling.groups]
    found = [number for number, own in enumerate(roles) if PRODUCED in own or DEPTHWISE in own]
    if not found:
        layer = tensor.rpartition(".")[0] or tensor
        found = [n for n, group in enumerate(coupling.groups) if roles[n] and layer in group.name.split(" + ")]
    return [coupling.groups[number] for number in found]


@pytest.mark.parametrize("name", ALL)
def test_what_must_be_prunable_is(name):
    _, coupling = coupled(name)
    network = NETWORKS[name]
    for wanted, normalised in ((network.units, False), (network.normalised_units, True)):
        for tensor, count in wanted.items():
            widths = [group.num_units for group in makers(coupling, tensor) if group.normalised == normalised]
            assert widths, f"no group cuts {tensor}; kept: {coupling.kept}"
            assert count is None or sum(widths) == count
    for tensor in network.stays:
        assert not makers(coupling, tensor), f"{tensor} has no units that could go"


@pytest.mark.parametrize("name", [*ALL, *REFUSED])
def test_what_stays_is_named_with_a_reason(name):
    """Every layer has units that can go, or reads some, or is told why not."""
    module, coupling = coupled(name)
    named = [one.tensor for group in coupling.groups for one in group.slices] + [layer + "." for layer in coupling.kept]
    own = [key for key, _ in module.named_parameters()]  # those of tied layers are there once
    layers = [layer + "." for layer, part in module.named_modules() if isinstance(part, LAYERS)]
    layers = [layer for layer in layers if any(key.startswith(layer) for key in own)]
    assert [layer for layer in layers if not any(one.startswith(layer) for one in named)] == []
    assert all(coupling.kept.values())


@pytest.mark.parametrize("name", REFUSED)
def test_a_network_without_units_is_refused_by_name(name):
    network, (_, coupling) = NETWORKS[name], coupled(name)
    assert coupling.groups == ()
    module = network.build()
    batch = (as_batch(network.sample(4)), torch.zeros(4))
    with pytest.raises(PruneError, match="no layer of this network can be pruned. Kept: ."):
        prune(module, [batch], Budget(pruning_ratio=0.1), FINE, loss=distance)
    assert all(
        torch.equal(one, other) for one, other in zip(module.parameters(), network.build().parameters(), strict=True)
    )


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_units_that_nothing_reads_can_go_without_a_trace(name):
    """First all ordinary groups at once, then sets of tied groups alone: two errors could make up for each other."""
    module, coupling = coupled(name)
    ordinary = [number for number, group in enumerate(coupling.groups) if not group.normalised]
    tied = [tie for tie in tied_sets(coupling) if set(tie) <= set(ordinary)]
    step = max(len(tied) // MOST_TIES_ALONE, 1)
    for numbers in (ordinary, *tied[::step]):
        gone = random_halves(coupling, numbers, seed=len(numbers))
        silent = copy.deepcopy(module)
        silence_(silent, coupling, gone)
        inputs = NETWORKS[name].sample(3)
        before = call(silent, inputs)
        names = [coupling.groups[number].name for number in gone]
        assert error_of(call(cut(silent, coupling, gone), inputs), before) < TOLERANCE, names


@pytest.mark.parametrize("name", ALL)
@torch.no_grad()
def test_a_cut_network_computes_what_the_silenced_one_does(name):
    """All groups, also those whose units share a norm: the oracle takes its statistics over what stays."""
    module, coupling = coupled(name)
    gone = random_halves(coupling, range(len(coupling.groups)), seed=1)
    gone = {number: units for number, units in gone.items() if len(units) > 1 or not coupling.groups[number].normalised}
    inputs = NETWORKS[name].sample(3)
    before, wanted = call(module, inputs), outputs_without(module, coupling, gone, inputs)
    assert_lively(before)
    assert error_of(wanted, before) > 1e-2, "silencing half of all units has to change something"
    assert error_of(call(cut(module, coupling, gone), inputs), wanted) < TOLERANCE


# --- the whole way


def distance(outputs: object, targets: torch.Tensor) -> torch.Tensor:
    """A loss for outputs of any structure: all should be one."""
    return sum(((one - 1) ** 2).mean() for one in flat_tensors(outputs))


def as_batch(inputs: Inputs) -> object:
    return inputs[0] if isinstance(inputs, tuple) and len(inputs) == 1 else inputs


@dataclass(frozen=True)
class Outcome:
    original: nn.Module
    pruned: Pruned | None
    target: int
    error: Exception | None = None


@functools.cache
def whole_way(name: str, normalised: bool) -> Outcome:
    """`prune` to half of what it can reach. What it raises is kept, so that it is tried once only."""
    network = NETWORKS[name]
    config = FINE_NORMALISED if normalised else FINE
    module = network.build().train()
    selection = Selection(coupled(name)[1], config)
    target = round((selection.num_parameters + selection.smallest()) / 2)
    batches = [(as_batch(network.sample(size)), torch.zeros(size)) for size in (5, 4)]
    try:
        return Outcome(module, prune(module, batches, Budget(max_parameters=target), config, loss=distance), target)
    except Exception as error:
        return Outcome(module, None, target, error)


def pruned(name: str, normalised: bool) -> tuple[Network, nn.Module, Outcome]:
    """(network, its pruned module in evaluation mode, the outcome)."""
    outcome = whole_way(name, normalised)
    if outcome.pruned is None:
        raise outcome.error
    return NETWORKS[name], outcome.pruned.module.eval(), outcome


def snapshot(module: nn.Module) -> dict[str, object]:
    """Classes, modes and plain attributes of every part."""
    return {
        f"{name}:{key}": (type(part).__name__, value)
        for name, part in module.named_modules()
        for key, value in vars(part).items()
        if is_plain(value)
    }


def is_plain(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return all(is_plain(one) for one in value)
    return value is None or isinstance(value, (int, float, str))


@pytest.mark.parametrize(("name", "normalised"), WHOLE_WAY)
def test_the_budget_is_kept_and_the_original_is_untouched(name, normalised):
    network, module, outcome = pruned(name, normalised)
    fresh = network.build().train()
    left = sum(parameter.numel() for parameter in module.parameters())
    assert left <= outcome.target < sum(parameter.numel() for parameter in fresh.parameters())
    assert any(layer.after < layer.before for layer in outcome.pruned.plan.layers)
    assert snapshot(outcome.original) == snapshot(fresh)
    state = outcome.original.state_dict()
    assert state.keys() == fresh.state_dict().keys()
    assert all(torch.equal(value, state[key]) for key, value in fresh.state_dict().items())
    assert all(one.grad is None for one in outcome.original.parameters())


@pytest.mark.parametrize(("name", "normalised"), WHOLE_WAY)
@torch.no_grad()
def test_a_pruned_network_runs_with_any_batch(name, normalised):
    """Batches of 1, 2 and 5; samples of a batch do not depend on each other, unless they did before."""
    network, module, _ = pruned(name, normalised)
    original = network.build()
    for size in (1, 2, 5):
        outputs = call(module, network.sample(size))
        assert [one.shape for one in outputs] == [one.shape for one in call(original, network.sample(size))]
        assert_lively(outputs) if size > 1 else None


@pytest.mark.parametrize(("name", "normalised"), WHOLE_WAY)
def test_a_pruned_network_trains(name, normalised):
    network, module, _ = pruned(name, normalised)
    module = copy.deepcopy(module).train()
    torch.manual_seed(0)
    distance(call(module, network.sample(5)), torch.zeros(5)).backward()
    gradients = {key: one.grad for key, one in module.named_parameters() if one.grad is not None}
    assert gradients
    assert all(bool(torch.isfinite(one).all()) for one in gradients.values())
    assert all(one.shape == module.get_parameter(key).shape for key, one in gradients.items())
    assert any(float(one.abs().max()) > 0 for one in gradients.values())


@pytest.mark.parametrize(("name", "normalised"), WHOLE_WAY)
@torch.no_grad()
def test_a_plan_through_json_rebuilds_the_shapes(name, normalised):
    network, module, outcome = pruned(name, normalised)
    plan = Plan.from_dict(json.loads(json.dumps(outcome.pruned.plan.to_dict())))
    assert plan == outcome.pruned.plan
    again = apply_plan_(network.build(seed=7), plan).eval()
    again.load_state_dict(module.state_dict())
    inputs = network.sample(2)
    for one, other in zip(call(again, inputs), call(module, inputs), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("name", "normalised"), WITH_ONNX)
@torch.no_grad()
def test_onnx_runtime_computes_the_same(name, normalised):
    network, module, _ = pruned(name, normalised)
    inputs = network.sample(2)
    wanted = call(module, inputs)
    assert_lively(wanted)
    assert largest_error(onnx_outputs(module, inputs, network.exporter), wanted) < TOLERANCE


# --- names


def structure(coupling: Coupling, names: dict[str, str]) -> set[object]:
    """Groups as sets of slices, with tensors named by `names`."""
    found = set()
    for group in coupling.groups:
        slices = frozenset((names.get(s.tensor, s.tensor), s.dim, s.role, s.indices.tobytes()) for s in group.slices)
        found.add((group.num_units, group.normalised, slices))
    return found


@pytest.mark.parametrize("name", TWINS)
def test_renaming_every_module_and_class_changes_nothing(name):
    network = NETWORKS[name]
    module, twin, names = build_twin(network)
    inputs = network.sample(4)
    with torch.no_grad():
        assert error_of(call(twin, inputs), call(module, inputs)) < TOLERANCE, "twins compute the same"
    first, second = find_coupling(module, inputs), find_coupling(twin, inputs)
    assert structure(first, {}) == structure(second, names)
    target = Budget(pruning_ratio=0.3)
    one, other = (
        prune(net, [(as_batch(inputs), torch.zeros(4))], target, FINE, loss=distance) for net in (module, twin)
    )
    with torch.no_grad():
        assert error_of(call(other.module, inputs), call(one.module, inputs)) < TOLERANCE
    assert [layer.after for layer in one.plan.layers] == [layer.after for layer in other.plan.layers]
    assert any(layer.after < layer.before for layer in one.plan.layers)
