from __future__ import annotations

import copy
import itertools
import json
import random

import pytest
import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.connections.dense_layers import DenseLayer
from edge_dendrite.compress.controls import same_shape_from_scratch
from edge_dendrite.compress.dendrites.branch import Option, branch, choose_branches
from edge_dendrite.compress.dendrites.fields import Fields, blocks_of_inputs, field_inputs, natural_fields
from edge_dendrite.compress.dendrites.least_squares import fit_branches
from edge_dendrite.compress.dendrites.samples import LayerSamples, collect
from edge_dendrite.compress.layers.branches import BlockBranches, MapBranches, SpatialBranches
from edge_dendrite.compress.layers.build import BLOCK_BRANCHES
from edge_dendrite.compress.neurons.prune import prune
from edge_dendrite.compress.plan import Plan, apply_plan_
from edge_dendrite.config import BranchConfig, Budget, PruneConfig
from edge_dendrite.errors import ConfigError, PruneError
from edge_dendrite.export.onnx import export_onnx
from edge_dendrite.export.session import open_session, run_onnx

FEW = BranchConfig(num_batches=4, num_samples=512)


class Renamed(nn.Module):
    """Convolutions, a flatten and linear layers under names that say nothing."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.c, self.d = nn.Linear(12 * 16, 24), nn.Linear(24, 4)

    def forward(self, x):
        return self.d(self.c(self.b(self.a(x).relu()).relu().flatten(1)).relu())


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Renamed().eval()


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(32, 1, 8, 8, generator=generator), torch.arange(32) % 4) for _ in range(4)]


def num_parameters(module):
    return sum(one.numel() for one in module.parameters())


@torch.no_grad()
def relative_error(branched, network, batches):
    """Mean squared error of the outputs as a share of their variance."""
    x = torch.cat([inputs for inputs, _ in batches])
    wanted = network(x)
    return float((branched(x) - wanted).square().mean() / wanted.var(0).mean())


def test_fields_follow_the_layout_of_the_data(network, batches):
    config = BranchConfig(num_batches=4, num_samples=512, layers=("b", "[cx]"))
    made = branch(network, batches, Budget(pruning_ratio=0.75), config)
    assert isinstance(made.module.b, SpatialBranches) and isinstance(made.module.c, MapBranches)
    assert made.module.c.branches.num_maps == 12 and made.module.c.branches.map_size == 16
    assert num_parameters(made.module) <= 0.25 * num_parameters(network)
    assert set(made.kept) == {"a", "d"} and "not among" in made.kept["a"]


def test_layers_that_would_not_become_smaller_stay(batches):
    narrow = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Conv2d(3, 12, 3), nn.Flatten(), nn.Linear(192, 24), nn.Linear(24, 4))
    made = branch(narrow, batches, Budget(pruning_ratio=0.5), BranchConfig(num_batches=2, min_saving=0.6))
    assert "branches would have 16 parameters instead of 30" in made.kept["0"]


def test_the_original_is_unchanged_and_the_result_repeatable(network, batches):
    before = copy.deepcopy(network.state_dict())
    one, two = (branch(network, batches, Budget(pruning_ratio=0.5), FEW) for _ in range(2))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    states = one.module.state_dict(), two.module.state_dict()
    assert one.plan == two.plan and all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_more_parameters_lose_less(network, batches):
    x = batches[0][0]
    wanted = network(x).detach()
    errors = []
    for ratio in (0.5, 0.7, 0.8):
        made = branch(network, batches, Budget(pruning_ratio=ratio), FEW)
        errors.append(float((made.module(x).detach() - wanted).square().mean() / wanted.var()))
    assert errors[0] < errors[1] < errors[2]
    # The data are noise, which nothing compresses well: even so the fit holds most of what the layers compute.
    assert errors[0] < 0.5


def test_a_layer_that_is_branches_is_found_again():
    """Teacher: a random layer of branches. The samples know its outputs, and the dense weights its directions."""
    generator = torch.Generator().manual_seed(0)
    samples, fields, size = 4000, 3, 4
    inputs = torch.randn(samples, fields, size, generator=generator)
    filters = torch.randn(1, fields, size, generator=generator)
    soma = torch.randn(5, 1, fields, generator=generator)
    sent = functional.relu(torch.einsum("ngs,mgs->nmg", inputs, filters))
    outputs = torch.einsum("nmg,kmg->nk", sent, soma)
    dense = torch.einsum("kmg,mgs->kgs", soma, filters)
    made = fit_branches(LayerSamples(inputs, outputs, outputs, torch.ones(5)), dense, 1, "relu")
    # Directions are exact; the sign of a branch may be the other one, which a linear part would need.
    cosine = functional.cosine_similarity(made.filters_mgs.float(), filters, dim=-1).abs()
    assert bool((cosine > 0.999).all())
    outputs = torch.einsum("ngs,kgs->nk", inputs, dense)
    linear = fit_branches(LayerSamples(inputs, outputs, outputs, torch.ones(5)), dense, 1, "relu")
    assert linear.relative_error < 0.15


def test_the_soma_is_the_least_squares_solution():
    generator = torch.Generator().manual_seed(0)
    inputs, outputs = torch.randn(600, 3, 4, generator=generator), torch.randn(600, 5, generator=generator)
    dense = torch.randn(5, 3, 4, generator=generator)
    made = fit_branches(LayerSamples(inputs, outputs, outputs, torch.ones(5)), dense, 2, "tanh")
    sent = torch.tanh(torch.einsum("ngs,mgs->nmg", inputs.double(), made.filters_mgs) + made.biases_mg).flatten(1)
    design = torch.cat([sent, torch.ones(600, 1).double()], 1)
    best = torch.linalg.lstsq(design, outputs.double()).solution
    assert torch.allclose(made.soma_kmg.flatten(1).T, best[:-1], atol=1e-3)
    assert torch.allclose(made.soma_bias_k, best[-1], atol=1e-3)


def test_blocks_hold_inputs_that_vary_together():
    generator = torch.Generator().manual_seed(0)
    causes = torch.randn(500, 4, generator=generator)
    shuffled = torch.randperm(12, generator=generator)
    inputs = (causes.repeat_interleave(3, 1) + 0.1 * torch.randn(500, 12, generator=generator))[:, shuffled]
    inputs[:, 0] *= -5.0  # neither sign nor scale matters
    fields = blocks_of_inputs(DenseLayer("x", 20, 12, 1, True), inputs, 3)
    found = {frozenset(int(shuffled[one]) // 3 for one in fields.order[at : at + 3]) for at in range(0, 12, 3)}
    assert found == {frozenset({one}) for one in range(4)}
    assert blocks_of_inputs(DenseLayer("x", 20, 7, 1, True), torch.randn(50, 7), 3) is None


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(3, 5, 3, stride=2, padding=1, padding_mode="circular"), nn.Conv1d(3, 5, 4, dilation=2, padding=3)],
)
def test_fields_of_a_convolution_are_what_its_kernel_sees(layer):
    x = torch.randn(2, 3, 9, 9)[(...,) if layer.weight.dim() == 4 else (..., 0)]
    fields = natural_fields(DenseLayer("x", 5, 3, layer.weight[0, 0].numel(), False))
    rows = field_inputs(fields, layer, x)
    y = torch.einsum("ngs,kgs->nk", rows, fields.divide(layer.weight)) + layer.bias
    assert torch.allclose(y, layer(x).movedim(1, -1).reshape(-1, 5), atol=1e-5)


def test_a_transformer_block_gets_branches_in_its_mlp():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.before, self.between = nn.LayerNorm(32), nn.LayerNorm(32)
            self.attention = nn.MultiheadAttention(32, 2, batch_first=True)
            self.mlp = nn.Sequential(nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 32))
            self.head = nn.Linear(32, 4)

        def forward(self, x):
            h = self.before(x)
            x = x + self.attention(h, h, h, need_weights=False)[0]
            return self.head((x + self.mlp(self.between(x))).mean(1))

    torch.manual_seed(0)
    network = Block().eval()
    batches = [(torch.randn(32, 6, 32), torch.arange(32) % 4) for _ in range(4)]
    made = branch(network, batches, Budget(pruning_ratio=0.4), FEW)  # more than either linear layer alone can give
    assert isinstance(made.module.mlp[0], BlockBranches) and isinstance(made.module.mlp[2], BlockBranches)
    assert num_parameters(made.module) <= 0.6 * num_parameters(network)
    assert type(made.module.attention) is nn.MultiheadAttention and "attention.out_proj" in made.kept
    assert relative_error(made.module, network, batches) < 0.5
    fresh = apply_plan_(Block(), Plan.from_dict(json.loads(json.dumps(made.plan.to_dict())))).eval()
    fresh.load_state_dict(made.module.state_dict())
    assert torch.equal(fresh(batches[0][0]), made.module(batches[0][0]))


def test_a_layer_of_bert_gets_branches_in_its_mlp():
    import transformers  # slow to import, and for this test alone

    torch.manual_seed(0)
    settings = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.BertConfig(vocab_size=32, max_position_embeddings=8, num_labels=3, **settings)
    model = transformers.BertForSequenceClassification(config).eval()
    ids = torch.randint(1, 32, (128, 6), generator=torch.Generator().manual_seed(1))
    batches = [({"input_ids": x}, x[:, 0] % 3) for x in ids.split(32)]
    wanted = (r".*\.layer\.0\.intermediate\.dense", r".*\.layer\.0\.output\.dense")
    made = branch(
        model,
        batches,
        None,
        BranchConfig(num_batches=4, num_samples=512, layers=wanted),
        loss=lambda outputs, targets: functional.cross_entropy(outputs.logits, targets),
    )
    layer = made.module.bert.encoder.layer[0]
    assert isinstance(layer.intermediate.dense, BlockBranches) and isinstance(layer.output.dense, BlockBranches)
    assert isinstance(layer.attention.output.dense, nn.Linear)
    logits = made.module(ids[:4]).logits
    assert logits.shape == (4, 3) and bool(logits.isfinite().all())
    assert num_parameters(made.module) < num_parameters(model)


def test_linear_layers_over_positions_and_pointwise_convolutions_get_blocks(batches):
    torch.manual_seed(0)
    mlp = nn.Sequential(nn.Flatten(2), nn.Linear(64, 64), nn.GELU(), nn.Linear(64, 64), nn.Flatten(), nn.Linear(64, 4))
    made = branch(mlp, batches, Budget(pruning_ratio=0.5), FEW)
    assert isinstance(made.module[1], BlockBranches) and isinstance(made.module[3], BlockBranches)
    pointwise = nn.Sequential(nn.Conv2d(1, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 1), nn.Flatten(), nn.LazyLinear(4))
    pointwise(batches[0][0])
    made = branch(pointwise, batches, Budget(pruning_ratio=0.05), BranchConfig(layers=("2",), num_batches=2))
    assert isinstance(made.module[2], BlockBranches) and isinstance(made.module[4], nn.Linear)
    assert "not among" in made.kept["4"]


class OneByOne(nn.Module):
    """Its convolution is called for each image alone, without a batch."""

    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(40, 40, 3, padding=1), nn.Linear(40, 3)

    def forward(self, x):
        return self.out(torch.stack([self.conv(one).relu().mean((1, 2)) for one in x]))


def test_a_convolution_that_is_called_without_a_batch_keeps_all_of_its_channels():
    torch.manual_seed(0)
    network, batches = OneByOne(), [(torch.randn(8, 40, 4, 4), torch.arange(8) % 3)]
    small = branch(network, batches, None, BranchConfig(layers=("conv",), num_branches=(1,))).module
    assert small.get_submodule("conv").branches.weight.shape == (40, 1, 3, 3)


def test_residual_networks(batches):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Conv2d(1, 16, 3, padding=1)
            self.one, self.two = (nn.Conv2d(16, 16, 3, padding=1, bias=False) for _ in range(2))
            self.norm, self.head = nn.BatchNorm2d(16), nn.Linear(16, 4)

        def forward(self, x):
            x = self.stem(x)
            x = (x + self.norm(self.two(self.one(x).relu()))).relu()
            return self.head(x.mean((2, 3)))

    torch.manual_seed(0)
    network = Residual().eval()
    made = branch(network, batches, Budget(pruning_ratio=0.6), FEW)
    assert isinstance(made.module.one, SpatialBranches) and isinstance(made.module.two, SpatialBranches)
    assert relative_error(made.module, network, batches) < 0.1


def test_a_layer_called_twice_is_fitted_to_both_calls(batches):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.shared = nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
            self.head = nn.Linear(12, 4)

        def forward(self, x):
            return self.head(self.shared(self.shared(self.stem(x).relu()).relu()).mean((2, 3)))

    torch.manual_seed(0)
    network = Twice().eval()
    made = branch(network, batches, Budget(pruning_ratio=0.4), FEW)
    assert isinstance(made.module.shared, SpatialBranches)
    # The second call sees what the first one sends: errors add up, but both were seen.
    assert relative_error(made.module, network, batches) < 0.7


def test_the_plan_rebuilds_the_shapes_and_the_values_come_from_the_weights(network, batches):
    made = branch(network, batches, Budget(pruning_ratio=0.8), FEW)
    plan = Plan.from_dict(json.loads(json.dumps(made.plan.to_dict())))
    assert plan == made.plan
    fresh = apply_plan_(Renamed(), plan)
    fresh.load_state_dict(made.module.state_dict())
    x = batches[0][0]
    assert torch.equal(fresh.eval()(x), made.module(x))
    assert {line.layer: line.parameters_saved for line in made.plan.layers}["c (parameters)"] > 0


def test_branched_then_pruned_then_exported(network, batches):
    made = branch(network, batches, Budget(pruning_ratio=0.7), FEW)
    small = prune(made.module, batches, Budget(pruning_ratio=0.4), PruneConfig(round_to=2, num_rounds=2, num_batches=2))
    assert num_parameters(small.module) <= 0.6 * num_parameters(made.module)
    x = batches[0][0]
    exported = export_onnx(small.module, (1, 8, 8), 13)
    seen = run_onnx(open_session(exported.content), x.numpy())
    assert torch.allclose(torch.from_numpy(seen), small.module(x), atol=1e-4)


def test_all_that_is_left_trains(network, batches):
    made = branch(network, batches, Budget(pruning_ratio=0.8), FEW).module.train()
    loss = functional.cross_entropy(made(batches[0][0]), batches[0][1])
    loss.backward()
    for name, one in made.named_parameters():
        assert one.grad is not None and bool(one.grad.isfinite().all()) and bool(one.grad.any()), name


def option(num_branches, num_parameters, error):
    return Option(num_branches, num_parameters, error)


def test_the_cheapest_error_goes_first():
    options = {
        "a": [option(0, 100, 0.0), option(2, 60, 1.0), option(1, 30, 3.0)],
        "b": [option(0, 100, 0.0), option(1, 20, 4.0)],
    }
    chosen = choose_branches(options, 200, 165)
    assert (chosen["a"].num_branches, chosen["b"].num_branches) == (2, 0)
    chosen = choose_branches(options, 200, 130)
    assert (chosen["a"].num_branches, chosen["b"].num_branches) == (1, 0)
    chosen = choose_branches(options, 200, 80)
    assert (chosen["a"].num_branches, chosen["b"].num_branches) == (2, 1)
    assert choose_branches(options, 200, 49) is None


def test_room_is_given_back():
    """A large step overshoots; the smaller option of another layer fits again."""
    million = 1_000_000
    options = {
        "a": [option(0, 100 * million, 0.0), option(1, 90 * million, 0.5)],
        "b": [option(0, 100 * million, 0.0), option(1, 20 * million, 9.0)],
    }
    # Exactly so many: rounded up to units, the dense layer would not fit.
    chosen = choose_branches(options, 200 * million + 7, 120 * million + 7)
    assert (chosen["a"].num_branches, chosen["b"].num_branches) == (0, 1)


def test_the_choice_is_the_best_there_is():
    """Against all combinations, on random options."""
    generator = random.Random(0)
    for _ in range(50):
        options = {}
        for name in "abc":
            sizes = sorted(generator.sample(range(5, 100), 4), reverse=True)
            errors = [0.0, *sorted(generator.random() for _ in range(3))]
            options[name] = [option(number, *one) for number, one in enumerate(zip(sizes, errors, strict=True))]
        start = 50 + sum(one[0].num_parameters for one in options.values())
        target = generator.randrange(50, start)
        sums = [
            sum(one.error for one in chosen)
            for chosen in itertools.product(*options.values())
            if 50 + sum(one.num_parameters for one in chosen) <= target
        ]
        chosen = choose_branches(options, start, target)
        assert (chosen is None) == (not sums)
        if chosen:
            assert sum(one.error for one in chosen.values()) == pytest.approx(min(sums))
            assert 50 + sum(one.num_parameters for one in chosen.values()) <= target


@pytest.mark.parametrize(
    ("make", "budget", "words"),
    [
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), Budget(pruning_ratio=0.99), "cannot be reached"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 64)), Budget(macs_ratio=0.5), "number of parameters"),
        (lambda: nn.Sequential(nn.Flatten(), nn.LSTM(64, 4)), Budget(pruning_ratio=0.1), "LSTM is not a plain"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), Budget(pruning_ratio=0.1), "no layer .* smaller"),
    ],
)
def test_what_cannot_be_says_so(make, budget, words, batches):
    with pytest.raises(PruneError, match=words):
        branch(make(), batches, budget, FEW)


def test_a_forward_that_looks_at_its_layers_is_refused(batches):
    class Looks(Renamed):
        def forward(self, x):
            return super().forward(x) * self.b.kernel_size[0]

    with pytest.raises(PruneError, match="reads attributes of its layers"):
        branch(Looks(), batches, Budget(pruning_ratio=0.8), FEW)


def test_nan_is_refused_and_names_the_layer(network, batches):
    with torch.no_grad():
        network.c.weight[0, 0] = float("nan")
    with pytest.raises(PruneError, match=r"c\.weight"):
        branch(network, batches, Budget(pruning_ratio=0.5), FEW)


@pytest.mark.parametrize(
    "settings",
    [
        {"activation": "gelu"},
        {"num_branches": ()},
        {"num_branches": (0,)},
        {"layers": ("(",)},
        {"layers": "fc1"},
        {"block_size": 1},
        {"min_saving": 1.0},
        {"num_samples": 1},
    ],
)
def test_settings_out_of_range(settings):
    with pytest.raises(ConfigError, match="BranchConfig"):
        BranchConfig(**settings)


def test_settings_from_json():
    config = BranchConfig(num_branches=(1, 3), layers=("fc1",))
    assert BranchConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


class Chain(nn.Module):
    """Convolutions in a row, registered in the order of their calls or backwards, with activations in place or not."""

    def __init__(self, backwards=False, in_place=False):
        super().__init__()
        layers = {f"l{at}": nn.Conv2d(1 if at == 0 else 10, 10, 3, padding=1) for at in range(4)}
        for name in sorted(layers, reverse=backwards):
            setattr(self, name, layers[name])
        self.head, self.act = nn.Linear(10, 4), nn.ReLU(inplace=in_place)

    def forward(self, x):
        for at in range(4):
            x = self.act(getattr(self, f"l{at}")(x))
        return self.head(x.mean((2, 3)))


def test_neither_the_order_of_names_nor_activations_in_place_matter(batches):
    torch.manual_seed(0)
    first = Chain().eval()
    x = batches[0][0]
    made = branch(first, batches, Budget(pruning_ratio=0.5), FEW)
    wanted = made.module(x)
    assert float((wanted - first(x)).detach().abs().max()) < float(first(x).detach().std())
    for settings in ({"backwards": True}, {"in_place": True}):
        other = Chain(**settings).eval()
        other.load_state_dict(first.state_dict())
        again = branch(other, batches, Budget(pruning_ratio=0.5), FEW)
        assert torch.allclose(again.module(x), wanted, atol=1e-4), settings


def test_the_way_a_forward_is_written_does_not_change_what_an_error_costs():
    """The same function and data: positions beside the batch, merged into it, before it, or as calls of their own."""

    class Ways(nn.Module):
        def __init__(self, way):
            super().__init__()
            self.way, self.layer, self.head = way, nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x_bti):
            if self.way == "merged":
                y = self.layer(x_bti.flatten(0, 1)).unflatten(0, x_bti.shape[:2])
            elif self.way == "first":
                y = self.layer(x_bti.transpose(0, 1)).transpose(0, 1)
            elif self.way == "calls":
                y = torch.stack([self.layer(one) for one in x_bti.unbind(1)], 1)
            else:
                y = self.layer(x_bti)
            return self.head(y.tanh().mean(1))

    generator = torch.Generator().manual_seed(0)
    taken = [(torch.randn(16, 8, 6, generator=generator), torch.arange(16) % 3) for _ in range(2)]
    weights = {}
    for way in ("beside", "merged", "first", "calls"):
        torch.manual_seed(0)
        fields = {"layer": Fields(DenseLayer("layer", 5, 6, 1, True), BLOCK_BRANCHES, 1, 6)}
        weights[way] = collect(Ways(way), fields, taken, 256, 0, functional.cross_entropy)["layer"].weight_k
    for way, weight_k in weights.items():
        assert torch.allclose(weight_k, weights["beside"], rtol=1e-4), way


def test_layers_that_no_gradient_reaches_stay(batches):
    class Frozen(Renamed):
        def forward(self, x):
            with torch.no_grad():
                x = self.b(self.a(x).relu()).relu().flatten(1)
            return self.d(self.c(x).relu())

    made = branch(Frozen(), batches, Budget(pruning_ratio=0.5), FEW)
    assert made.kept["b"] == "no gradient of the loss reaches it"
    assert isinstance(made.module.b, nn.Conv2d) and isinstance(made.module.c, MapBranches)


def test_a_layer_reached_by_another_way_is_refused_by_name(batches):
    class Beside(Renamed):
        def __init__(self):
            super().__init__()
            self.beside = [self.b]

        def forward(self, x):
            return self.d(self.c(self.beside[0](self.a(x).relu()).relu().flatten(1)).relu())

    with pytest.raises(PruneError, match="b: the forward does not reach the layer by this name"):
        branch(Beside(), batches, Budget(pruning_ratio=0.8), FEW)


def test_a_layer_called_with_a_keyword_stays(batches):
    class Keyword(Renamed):
        def forward(self, x):
            return self.d(self.c(self.b(input=self.a(x).relu()).relu().flatten(1)).relu())

    made = branch(Keyword(), batches, Budget(pruning_ratio=0.5), FEW)
    assert "keyword" in made.kept["b"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_data_that_are_not_finite_are_refused(network, batches, value):
    batches[1][0][3] = value
    with pytest.raises(PruneError, match="not finite|the loss is nan"):
        branch(network, batches, Budget(pruning_ratio=0.5), FEW)


def test_too_few_samples_are_refused():
    with pytest.raises(PruneError, match="2 samples of 1 are too few"):
        branch(
            nn.Sequential(nn.Flatten(), nn.Linear(64, 64)),
            [(torch.randn(2, 64), torch.arange(2))],
            Budget(pruning_ratio=0.5),
        )


def test_without_gradients_around_it(network, batches):
    wanted = branch(network, batches, Budget(pruning_ratio=0.5), FEW).module.state_dict()
    with torch.no_grad():
        found = branch(network, batches, Budget(pruning_ratio=0.5), FEW).module.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in found.items())


def test_a_budget_that_is_met_exactly_is_reached():
    million = 1_000_000
    options = {name: [option(0, 2 * million, 0.0), option(1, million + 1, 1.0)] for name in "abc"}
    assert choose_branches(options, 6 * million, 3 * million + 3)["a"].num_branches == 1
    assert choose_branches(options, 6 * million, 3 * million + 2) is None


def test_a_control_from_scratch_is_alive(network, batches):
    """Branches are built as zeros, and new weights must not stay so."""
    plan = branch(network, batches, Budget(pruning_ratio=0.7), FEW).plan
    control = same_shape_from_scratch(Renamed, plan, 0)
    assert all(float(one.detach().std()) > 0 for one in control.parameters() if one.numel() > 1)
