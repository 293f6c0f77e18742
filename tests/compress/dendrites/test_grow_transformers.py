"""Growing inside of networks of transformers: ordinary linear layers, and GPT-2's transposed ones."""

from __future__ import annotations

import copy
import itertools
import json

import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.controls import same_shape_from_scratch
from edge_dendrite.compress.dendrites.grow import Grower
from edge_dendrite.compress.layers.build import DENDRITES
from edge_dendrite.compress.layers.dendrites import (
    DendriticLayer,
    dendritic_layer,
    new_dendrites,
    one_set,
    set_dendrites_,
)
from edge_dendrite.compress.model import CompressedModel, load
from edge_dendrite.compress.plan import Plan, apply_plan_
from edge_dendrite.compress.stats import measure_stats
from edge_dendrite.config import GrowConfig
from edge_dendrite.errors import PruneError
from edge_dendrite.export.onnx import check_parity, export_onnx

QUICK = {"candidate_steps": 60, "num_batches": 4, "num_samples": 2048, "patience": 2, "num_dendrites": 4}
WIDTH, STEPS = 16, 6


def bert():
    config = transformers.BertConfig(
        vocab_size=32, hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, num_labels=3
    )
    return transformers.BertForSequenceClassification(config)


def vit():
    config = transformers.ViTConfig(
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        image_size=8,
        patch_size=4,
        num_channels=1,
        num_labels=3,
    )
    return transformers.ViTForImageClassification(config)


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=32, n_positions=STEPS, n_embd=WIDTH, n_layer=1, n_head=2, num_labels=3, pad_token_id=0
    )
    return transformers.GPT2ForSequenceClassification(config)


class Steps(nn.Module):
    """GPT-2 on given embeddings: one float tensor in and out, as saved models and exports have."""

    def __init__(self):
        super().__init__()
        self.model = gpt2()

    def forward(self, x):
        return self.model.score(self.model.transformer(inputs_embeds=x).last_hidden_state).mean(1)


def tokens():
    ids = torch.randint(1, 32, (256, STEPS), generator=torch.Generator().manual_seed(1))
    return ids, (ids.float().std(1) / 4).long().clamp(0, 2)


def images():
    x = torch.randn(256, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return x, torch.bucketize((x[:, 0, 0] * x[:, 0, 5]).mean(1), torch.tensor([-0.15, 0.15]))


def embeddings():
    x = torch.randn(256, STEPS, WIDTH, generator=torch.Generator().manual_seed(1))
    return x, torch.bucketize((x[:, :, 0] * x[:, :, 1]).mean(1), torch.tensor([-0.2, 0.2]))


def in_batches(data, key=None):
    x, y = data
    return [({key: a} if key else a, b) for a, b in zip(x.split(64), y.split(64), strict=True)]


def loss_of(outputs, targets):
    return functional.cross_entropy(outputs if isinstance(outputs, torch.Tensor) else outputs.logits, targets)


def everything_counts():
    return itertools.count(0, -1).__next__


def build(factory):
    torch.manual_seed(0)
    network = factory().eval()
    with torch.no_grad():
        for one in network.parameters():  # newborn weights of 0.02 leave hardly any gradient
            if one.dim() > 1:
                one.mul_(5.0)
    return network


# The places below a block of the network, and what is elsewhere.
NETWORKS = {
    "BERT": (
        bert,
        tokens,
        "input_ids",
        {"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"},
        {"intermediate.dense", "output.dense", "pooler.dense", "classifier"},
    ),
    "ViT": (
        vit,
        images,
        "pixel_values",
        {"attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.o_proj"},
        {"mlp.fc1", "mlp.fc2", "classifier"},
    ),
    "GPT-2": (gpt2, tokens, "input_ids", {"attn.c_attn", "attn.c_proj"}, {"mlp.c_fc", "mlp.c_proj", "score"}),
}


@pytest.mark.parametrize("mode", ["correlation", "gradient"])
@pytest.mark.parametrize("name", NETWORKS)
def test_dendrites_at_the_projections_of_attention(name, mode):
    factory, data, key, inside, outside = NETWORKS[name]
    network, batches = build(factory), in_batches(data(), key)
    grower = Grower(network, GrowConfig(**QUICK, mode=mode, layers=(r".*(attn|attention).*",)))
    new = grower.grow(batches, loss_of)
    growth = grower.growths[-1]
    assert new and growth.num_dendrites > 0 and "att" in growth.layer
    fields = grower._sites.fields
    assert all(any(one.endswith(end) for one in fields) for end in inside) and len(fields) == len(inside)
    reasons = [[reason for one, reason in grower.kept.items() if one.endswith(end)] for end in outside]
    assert reasons == [["it is not among the layers that may grow"]] * len(outside)
    if mode == "correlation":
        assert growth.losses[1] < growth.losses[0]
    grower.observe(0.5)
    inputs = batches[0][0]
    plan = Plan.from_dict(json.loads(json.dumps(grower.finish(everything_counts()).to_dict())))
    fresh = apply_plan_(factory(), plan).eval()
    fresh.load_state_dict(network.state_dict())
    assert torch.equal(fresh(**inputs).logits, network(**inputs).logits)


def test_gpt2_is_saved_exported_counted_and_made_from_scratch(tmp_path):
    network, batches = build(Steps), in_batches(embeddings())
    x = batches[0][0]
    before, y = measure_stats(network, (x[:1],)), network(x).detach()
    patterns = (r".*\.c_(attn|fc|proj)",)
    grower = Grower(network, GrowConfig(**QUICK, layers=patterns, freeze=True))
    assert grower.grow(batches, loss_of)
    assert not torch.equal(network(x), y)
    name = grower.growths[-1].layer
    layer = network.get_submodule(name)
    assert isinstance(layer, DendriticLayer) and type(layer.layer).__name__ == "Conv1D"
    grower.observe(0.5)
    plan = grower.finish(everything_counts())
    [size] = plan.edits[0].settings["sizes"]
    assert plan.edits[0].kind == DENDRITES
    num_inputs, num_neurons = layer.layer.weight.shape
    after = measure_stats(network, (x[:1],))
    assert after.num_macs == before.num_macs + STEPS * size * (num_inputs + num_neurons)
    assert after.num_parameters == before.num_parameters + size * (num_inputs + 1 + num_neurons)
    CompressedModel(network, "grown", "test:factory", "compressed", (STEPS, WIDTH), plan).save(tmp_path / "model")
    assert torch.equal(load(tmp_path / "model", Steps).module(x), network(x))
    control = same_shape_from_scratch(Steps, plan, 0)
    made = [value for key, value in control.named_parameters() if ".sets." in key]
    assert len(made) == 3 and all(bool(value.any()) for value in made)
    check_parity(export_onnx(network, (STEPS, WIDTH), 17), network, x[:8], 1e-4, 1e-4)
    other = Grower(network, GrowConfig(**QUICK, layers=(name,)))
    other.observe(0.4)
    other.grow(batches, loss_of)
    assert set(other._sites.fields) == {name} and not isinstance(network.get_submodule(name).layer, DendriticLayer)
    assert grower.finish(lambda: 0.0).edits == ()
    assert torch.allclose(network(x), y, atol=1e-6)


def test_a_transposed_layer_with_dendrites():
    torch.manual_seed(0)
    layer = transformers.pytorch_utils.Conv1D(4, 6)
    x = torch.randn(3, 5, 6)
    made = dendritic_layer(layer, [2, 1], "tanh")
    assert torch.equal(made(x), layer(x))
    for one in made.sets:
        count = len(one.branches.bias)
        set_dendrites_(one, torch.randn(count, 6), torch.randn(count), torch.randn(4, count))
    wanted = layer(x) + sum(
        (x @ one.branches.weight.T + one.branches.bias).tanh() @ one.soma.weight.T for one in made.sets
    )
    assert torch.allclose(made(x), wanted, atol=1e-6) and not torch.allclose(wanted, layer(x), atol=1e-2)
    together = DendriticLayer(
        made.layer,
        [one_set(made.layer, list(made.sets), [torch.ones(2, dtype=torch.bool), torch.ones(1, dtype=torch.bool)])],
    )
    assert len(together.sets) == 1 and torch.allclose(together(x), wanted, atol=1e-6)
    assert torch.equal(copy.deepcopy(made)(x), made(x))
    assert new_dendrites(layer.double(), 2, "relu").soma.weight.dtype is torch.float64
    with pytest.raises(PruneError, match="the plan adds"):
        dendritic_layer(layer, [10_000_000], "relu")


def test_a_transposed_layer_that_stays():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            conv = transformers.pytorch_utils.Conv1D
            self.keyword, self.shared, self.hooked, self.unused = (
                conv(WIDTH, WIDTH),
                conv(3, WIDTH),
                conv(3, 3),
                conv(2, 2),
            )
            self.tied = conv(3, WIDTH)
            self.tied.weight = self.shared.weight
            self.hooked.register_forward_hook(lambda *args: None)

        def forward(self, x):
            return self.hooked(self.shared(self.keyword(x=x)) + self.tied(x)).mean(1)

    grower = Grower(Odd(), GrowConfig(**QUICK))
    with pytest.raises(PruneError, match="no layer of this network can have dendrites"):
        grower.grow(in_batches(embeddings()), loss_of)
    words = {"keyword": "keyword", "shared": "shares", "tied": "shares", "hooked": "hooks", "unused": "not called"}
    assert all(word in grower.kept[key] for key, word in words.items())
