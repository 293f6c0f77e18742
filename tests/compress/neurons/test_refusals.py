"""Networks, data and wishes that cannot be served: the error names the place, and the network is as it was."""

from __future__ import annotations

import contextlib
import copy
import inspect

import pytest
import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.levels import prune_at_level
from edge_dendrite.compress.neurons.prune import plan_pruning, prune
from edge_dendrite.compress.pipeline import compress_with_controls
from edge_dendrite.compress.plan import Cut, Plan, SetAttribute, apply_plan_
from edge_dendrite.config import (
    Budget,
    CompressConfig,
    FitConfig,
    GroupConfig,
    LayerRule,
    MaskConfig,
    PruneConfig,
    SegmentConfig,
    TwoOfFourConfig,
)
from edge_dendrite.errors import EdgeDendriteError, PruneError, TrainError
from edge_dendrite.models.convnets import DigitsCNN

HALF = Budget(pruning_ratio=0.5)
LEVELS = {
    "taylor": PruneConfig(num_rounds=2, num_batches=3),
    "activation": PruneConfig(score="activation", num_rounds=2, num_batches=3),
    "learned": PruneConfig(score="learned", masks=MaskConfig(num_steps=4)),
    "segments": SegmentConfig(num_rounds=2, num_batches=3),
    "groups": GroupConfig(num_groups=4, num_batches=3),
    "2:4": TwoOfFourConfig(board="jetson-orin-nano", score="taylor", num_batches=3),
}


class Net(nn.Module):
    """With everything that could be left in another state."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
        self.wide, self.head = nn.Linear(16 * 4, 32), nn.Linear(32, 4)
        self.width, self.shape, self.note = 32, (16, 4), {"by": "its owner"}

    def forward(self, x):
        h = functional.adaptive_avg_pool2d(self.norm(self.conv(x)).relu(), 2)
        return self.head(functional.dropout(self.wide(h.flatten(1)).relu(), 0.2, self.training))


def used():
    """In the middle of a training: gradients, frozen parts, mixed modes."""
    torch.manual_seed(0)
    module = Net().train()
    module.norm.eval()
    module.conv.bias.requires_grad_(False)
    functional.cross_entropy(module(torch.randn(4, 1, 8, 8)), torch.tensor([0, 1, 2, 3])).backward()
    return module


def bits(tensor):
    return None if tensor is None else tensor.detach().numpy().tobytes()


def state(module):
    """Everything of a network that a failed call must not change, comparable by ==."""
    found = {}
    for name, part in module.named_modules():
        plain = {key: value for key, value in vars(part).items() if not key.startswith("_")}
        found[name] = (id(part), part.training, repr(plain), sorted(vars(part)), len(part._forward_hooks))
    for name, one in [*module.named_parameters(), *module.named_buffers()]:
        found[f"tensor {name}"] = (id(one), bits(one), one.requires_grad, id(one.grad), bits(one.grad), one.dtype)
    return found


def batches(count=3, size=8):
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, 1, 8, 8, generator=generator), torch.randint(0, 4, (size,), generator=generator))
        for _ in range(count)
    ]


class Branching(Net):
    def forward(self, x):
        if x.mean() > 0:  # by value
            x = x * 2
        return super().forward(x)


class Counting(Net):
    def forward(self, x):
        h = super().forward(x)
        return h * float(h.detach().abs().max())  # by value


class Looping(Net):
    def forward(self, x):
        for _ in range(int((x > 0).sum())):  # by value
            x = x * 0.99
        return super().forward(x)


class Leaving(Net):
    def forward(self, x):
        x = torch.from_numpy(x.detach().numpy() * 2)  # by value
        return super().forward(x)


OTHERS = (Counting, Looping, Leaving)


@pytest.mark.parametrize(
    ("kind", "score"),
    [(Branching, "taylor"), (Branching, "l1"), (Branching, "learned"), *((kind, "taylor") for kind in OTHERS)],
)
def test_control_flow_by_values_is_refused_with_the_line(kind, score):
    torch.manual_seed(0)
    module = kind()
    lines, start = inspect.getsourcelines(kind.forward)
    (line,) = [start + at for at, text in enumerate(lines) if "# by value" in text]
    before = state(module)
    config = PruneConfig(score=score, num_rounds=1, num_batches=1, masks=MaskConfig(num_steps=2))
    with pytest.raises(PruneError, match="cannot be traced") as caught:
        prune(module, batches(), HALF, config)
    message = str(caught.value)
    assert "\n" not in message
    assert "test_refusals.py" in message, message
    assert f"line {line}" in message
    assert state(module) == before


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("culprit", ["conv", "head"])
def test_weights_that_are_not_numbers_are_named(level, culprit):
    if (level, culprit) == ("activation", "head"):
        pytest.skip("looks only at what units send")
    module = used()
    with torch.no_grad():
        module.get_submodule(culprit).weight.view(-1)[3] = float("nan")
    before = state(module)
    with pytest.raises(PruneError, match="finite|NaN") as caught:
        prune_at_level(module, batches(), HALF, LEVELS[level])
    assert state(module) == before
    assert culprit in str(caught.value), "which layer is it?"


@pytest.mark.parametrize("level", LEVELS)
def test_a_loss_that_is_not_a_number_is_told(level):
    if level == "activation":
        pytest.skip("looks at no loss")
    module = used()
    inputs, targets = batches(1)[0]
    before = state(module)
    with pytest.raises(PruneError, match="loss.*NaN|NaN.*loss"):
        prune_at_level(module, [(inputs * float("inf"), targets)], HALF, LEVELS[level])
    assert state(module) == before


class Stop(Exception):
    pass


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("calls", [1, 2])
def test_batches_that_fail_on_the_way_leave_no_trace(level, calls):
    """As a DataLoader does when its worker dies, or Ctrl-C while it is read."""

    class Failing:
        def __init__(self):
            self.given = 0

        def __iter__(self):
            for one in batches(4):
                if self.given == calls:
                    raise Stop
                self.given += 1
                yield one

    module = used()
    before = state(module)
    with pytest.raises((Stop, PruneError)):
        prune_at_level(module, Failing(), HALF, LEVELS[level])
    assert state(module) == before


@pytest.mark.parametrize("level", LEVELS)
def test_a_success_leaves_no_trace_either(level):
    module = used()
    before, random = state(module), torch.random.get_rng_state()
    prune_at_level(module, batches(), HALF, LEVELS[level])
    assert state(module) == before
    assert torch.equal(torch.random.get_rng_state(), random), "the user's random numbers go on as they were"


@pytest.mark.parametrize("level", [name for name in LEVELS if name != "2:4"])
def test_an_impossible_budget_leaves_no_trace(level):
    module = used()
    before = state(module)
    with pytest.raises(PruneError, match="cannot be reached") as caught:
        prune_at_level(module, batches(), Budget(max_parameters=20), LEVELS[level])
    assert "Layers that must stay: " in str(caught.value)
    assert state(module) == before


def test_layers_that_must_stay_are_named_with_the_reason():
    config = PruneConfig(min_units=1, round_to=1, layers=(LayerRule("wide", 0.0),))
    with pytest.raises(PruneError, match="cannot be reached.*head .an output of the network"):
        prune(used(), batches(), Budget(max_parameters=300), config)


@pytest.mark.parametrize("tensor", ["conv.weight", "norm.running_mean", "wide.bias"])
def test_a_plan_that_takes_all_channels_names_the_layer(tensor):
    module = used()
    before = state(module)
    plan = Plan((Cut("wide.weight", 0, (0, 1)), SetAttribute("wide", "out_features", 2), Cut(tensor, 0, ())))
    with pytest.raises(PruneError, match=tensor):
        apply_plan_(module, plan)
    assert state(module) == before


@pytest.mark.parametrize("score", ["taylor", "lamp", "random", "learned"])
def test_no_budget_takes_all_channels(score):
    config = PruneConfig(score=score, min_units=1, round_to=1, num_rounds=2, masks=MaskConfig(num_steps=4))
    module = used()
    with pytest.raises(PruneError, match="with the smallest widths ([0-9,]+) of") as caught:
        prune(module, batches(), Budget(max_parameters=1), config)
    smallest = int(str(caught.value).partition("smallest widths ")[2].partition(" of")[0].replace(",", ""))
    pruned = prune(module, batches(), Budget(max_parameters=smallest), config)
    assert sum(one.numel() for one in pruned.module.parameters()) == smallest
    assert [line.after for line in pruned.plan.layers] == [1, 1]
    assert pruned.module(torch.randn(3, 1, 8, 8)).shape == (3, 4)


class Stashing(nn.Module):
    """Keeps what it saw last, as networks do whose attention is to be looked at."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 3)
        self.last, self.seen, self.names = torch.zeros(1), [], {}

    def forward(self, x):
        h = self.a(x).relu()
        self.last = h.detach()
        self.seen.append(h.detach())
        self.names["h"] = h.detach()
        del self.seen[:-1]
        # A size that is written down, so that it has to be found out where it comes from.
        return self.b(h.view(-1, self.a.out_features))


@pytest.mark.filterwarnings("ignore")
def test_what_a_network_keeps_of_its_last_forward_is_never_made_of_ghosts():
    """The networks of torch.export run on tensors without values; none may stay behind."""
    module = Stashing()
    module(torch.randn(2, 8))
    with contextlib.suppress(PruneError):  # it may be refused; it may not be left broken
        prune(module, [(torch.randn(4, 8), torch.tensor([0, 1, 2, 0]))], HALF, PruneConfig(round_to=1))
    for kept in (module.last, module.seen[-1], module.names["h"]):
        assert type(kept) is torch.Tensor
    copy.deepcopy(module)(torch.randn(2, 8))


def test_a_network_that_cannot_be_traced_is_refused_in_the_whole_run_too(digits, tmp_path):
    class Signed(DigitsCNN):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else super().forward(-x)

    config = CompressConfig(HALF, FitConfig(epochs=1, batch_size=256), finetune_epochs=1)
    with pytest.raises(PruneError, match=r"cannot be traced.*test_refusals\.py"):
        compress_with_controls(Signed, digits, config, tmp_path / "out", source="signed")
    assert not (tmp_path / "out" / "model.json").exists()


def test_a_loss_that_becomes_nan_in_training_names_the_layer(digits, tmp_path):
    class Exploding(DigitsCNN):
        """Only while it is trained, so that no look at it beforehand can tell."""

        def forward(self, x):
            scale = 1e30 if self.training else 1.0
            h = functional.max_pool2d(self.conv1(x).relu(), 2)
            h = functional.max_pool2d(self.conv2(h).relu(), 2).flatten(1)
            return self.fc2(self.fc1(h * scale).relu() * scale)

    config = CompressConfig(HALF, FitConfig(epochs=1, batch_size=256), finetune_epochs=1)
    with pytest.raises(TrainError, match="fc[12]|conv[12]"):
        compress_with_controls(Exploding, digits, config, tmp_path / "out", source="exploding")


def test_a_given_baseline_is_the_users_and_stays_as_it_is(digits, tmp_path, trained):
    baseline = copy.deepcopy(trained).train()
    baseline.conv1.requires_grad_(False)
    before = state(baseline)
    config = CompressConfig(
        HALF, FitConfig(epochs=1, batch_size=256), finetune_epochs=1, prune=LEVELS["taylor"], controls=False
    )
    outcome = compress_with_controls(
        DigitsCNN, digits, config, tmp_path / "out", source="digits-cnn", baseline=baseline
    )
    assert state(baseline) == before
    assert outcome.compressed.stats.num_parameters <= 6_853


def test_a_dead_network_is_no_division_by_zero():
    """All scores are zero: any unit may go, but the budget holds."""
    module = used()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    for score in ("taylor", "l1", "lamp", "fpgm", "activation", "bn_scale"):
        planned = plan_pruning(module, batches(), Budget(pruning_ratio=0.2), PruneConfig(score=score, round_to=1))
        assert planned.num_parameters[1] <= round(0.8 * planned.num_parameters[0])
        assert all(line.removed_score == 0.0 for line in planned.plan.layers)


def test_every_refusal_is_an_error_of_ours():
    assert issubclass(PruneError, EdgeDendriteError)
    for wrong in (
        lambda: prune(used(), [], HALF),
        lambda: prune(nn.Flatten(), batches(), HALF),
        lambda: prune(used(), batches(), HALF, PruneConfig(layers=(LayerRule("nothing", 0.5),))),
        lambda: prune(used(), [(torch.zeros(4, 3, 8, 8), torch.zeros(4).long())], HALF),
    ):
        with pytest.raises(EdgeDendriteError):
            wrong()


@pytest.mark.parametrize("batches", [5, [(None, None)], [torch.zeros(2, 4)], [()]])
def test_batches_that_are_none(batches):
    with pytest.raises(PruneError, match=r"batch(es)? must be"):
        prune(nn.Linear(4, 2), batches, Budget(pruning_ratio=0.5))
