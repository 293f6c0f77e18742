from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from edge_dendrite.compress.layers.branches import MapSums, map_branches, spatial_branches
from edge_dendrite.config import FitConfig
from edge_dendrite.data.source import load_data
from edge_dendrite.errors import TrainError
from edge_dendrite.models.convnets import DigitsCNN, ResNet8
from edge_dendrite.train.fit import fit
from edge_dendrite.train.normalise import normalised


class Branched(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.spatial = spatial_branches(nn.Conv2d(4, 6, 3), 2, "relu")
        self.maps = map_branches(nn.Linear(96, 5), 6, 2, "tanh")
        for part in self.modules():
            if isinstance(part, MapSums | nn.Conv2d | nn.Linear):
                part.reset_parameters()

    def forward(self, x):
        return self.maps(self.spatial(self.conv(x).relu()).flatten(1))


def names(module):
    return {name.removesuffix(".transient_norm") for name, _ in module.named_modules() if name.endswith("norm")}


def test_nothing_changes_at_first_and_the_network_is_what_it_was_afterwards():
    torch.manual_seed(0)
    module, x = Branched().eval(), torch.randn(64, 3, 8, 8)
    wanted, keys = module(x), set(module.state_dict())
    with normalised(module, x):
        assert names(module) == {"conv", "spatial.branches", "spatial.soma", "maps.branches", "maps.soma"}
        assert torch.allclose(module(x), wanted, atol=1e-5)
    assert set(module.state_dict()) == keys and not module.conv._forward_hooks
    assert torch.allclose(module(x), wanted, atol=1e-5)


@pytest.mark.parametrize("dims", [(16, 7), (16, 5, 7)])
def test_in_training_every_feature_is_normalised_over_all_else(dims):
    torch.manual_seed(0)
    layer, x = nn.Linear(7, 3), 5.0 + 3.0 * torch.randn(dims)
    with normalised(layer, x):
        with torch.no_grad():
            layer.transient_norm.weight.fill_(1.0)
            layer.transient_norm.bias.zero_()
        y = layer.train()(x).flatten(0, -2)
        assert torch.allclose(y.mean(0), torch.zeros(3), atol=1e-5)
        assert torch.allclose(y.var(0, unbiased=False), torch.ones(3), atol=1e-3)


def test_what_was_trained_is_folded_by_value():
    torch.manual_seed(0)
    module, x = Branched(), torch.randn(256, 3, 8, 8)
    started = module.eval()(x).detach()
    with normalised(module, x):
        optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module.train()(x), (x.mean((1, 2, 3)) > 0).long()).backward()
            optimizer.step()
        wanted = module.eval()(x).detach()
        assert not torch.allclose(wanted, started, atol=0.1)
    assert torch.allclose(module(x), wanted, atol=1e-4)


def test_layers_that_have_a_norm_or_cannot_have_one_are_left_alone():
    module = ResNet8()
    with normalised(module, torch.randn(8, 3, 32, 32)):
        # The shortcuts' convolutions have a bias and no norm, and so has the last layer.
        assert names(module) == {"blocks.1.shortcut", "blocks.2.shortcut", "fc"}
    shared = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 4, bias=False))
    shared[2].weight = shared[0].weight
    with normalised(shared, torch.randn(8, 4)):
        assert names(shared) == set()
    twice = nn.Linear(4, 4)
    with normalised(nn.Sequential(twice, nn.ReLU(), twice), torch.randn(8, 4)):
        assert names(twice) == set()
    frozen = nn.Linear(4, 4).requires_grad_(False)
    with normalised(nn.Sequential(frozen), torch.randn(8, 4)):
        assert names(frozen) == set()
    before = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    with normalised(before, torch.randn(8, 4)):
        assert names(before) == set()


def test_fit_learns_with_them_and_resumes_to_the_same_bits(tmp_path):
    data = load_data("digits")
    torch.manual_seed(0)
    module = DigitsCNN()
    start = copy.deepcopy(module)
    config = FitConfig(epochs=3, batch_size=64, transient_norms=True)
    history = fit(module, data, config, is_new=True)
    assert set(module.state_dict()) == set(start.state_dict())
    plain = fit(copy.deepcopy(start), data, FitConfig(epochs=3, batch_size=64))
    assert history[-1]["val_metric"] > max(0.9, plain[-1]["val_metric"])

    class Stop(Exception):
        pass

    def stop(description, done, total):
        if done > 30:
            raise Stop

    again = copy.deepcopy(start)
    with pytest.raises(Stop):
        fit(again, data, config, is_new=True, checkpoint=tmp_path / "c.safetensors", progress=stop)
    again = copy.deepcopy(start)
    assert fit(again, data, config, is_new=True, checkpoint=tmp_path / "c.safetensors") == history
    state = module.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())


def test_after_a_diverging_first_epoch_the_network_computes_what_it_did():
    data = load_data("digits")
    torch.manual_seed(0)
    module = DigitsCNN().eval()
    x = data.prepare(data.validation.inputs[:16])
    wanted = module(x).detach()
    with pytest.raises(TrainError):
        fit(module, data, FitConfig(epochs=1, learning_rate=1e3, weight_decay=1e3, transient_norms=True))
    assert torch.allclose(module.eval()(x), wanted, atol=1e-4)
    assert names(module) == set()


class Standardised(nn.Linear):
    def forward(self, x):
        return nn.functional.linear(x, self.weight / self.weight.std(1, keepdim=True), self.bias)


class Twice(nn.Linear):
    def forward(self, x):
        return 2.0 * super().forward(x)


class Elsewhere(nn.Module):
    """Reads the weight of one of its layers by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.b(self.a(x).relu() + nn.functional.linear(x, self.a.weight))


def with_hook():
    layer = nn.Linear(6, 3)
    layer.register_forward_hook(lambda part, args, y: y * 2.0)
    return layer


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (lambda: nn.Sequential(Standardised(6, 6), nn.ReLU(), nn.Linear(6, 3)), {"2"}),
        (lambda: nn.Sequential(Twice(6, 6), nn.ReLU(), nn.Linear(6, 3)), {"2"}),
        (Elsewhere, {"b"}),
        (lambda: nn.Sequential(nn.Linear(6, 6), nn.ReLU(), with_hook()), {"0"}),
        (lambda: nn.Sequential(nn.utils.weight_norm(nn.Linear(6, 6)), nn.ReLU(), nn.Linear(6, 3)), {"2"}),
        (lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6)), nn.Linear(6, 3)), {"1"}),
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_layers_that_could_not_take_a_norm_in_are_left_alone(make, wanted):
    torch.manual_seed(0)
    module, x = make(), torch.randn(64, 6)
    with normalised(module, x):
        assert names(module) == wanted
        optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
        for _ in range(10):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module.train()(x), (x[:, 0] > 0).long()).backward()
            optimizer.step()
        trained = module.eval()(x).detach()
    assert torch.allclose(module(x), trained, atol=1e-4)


def test_an_average_of_weights_has_the_statistics_that_belong_to_them():
    """As with a batch norm of the network's own, in evaluation after every epoch."""

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(64, 16), nn.Linear(16, 10, bias=False)

        def forward(self, x):
            return self.b(self.a(x.flatten(1)).relu())

    class Normed(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.bn = nn.BatchNorm1d(16)

        def forward(self, x):
            return self.b(self.bn(self.a(x.flatten(1))).relu())

    data = load_data("digits")
    torch.manual_seed(0)
    plain, normed = Plain(), Normed()
    normed.load_state_dict({**normed.state_dict(), **plain.state_dict()})
    shared = {"epochs": 3, "batch_size": 16, "learning_rate": 0.1, "ema_decay": 0.999}
    one = fit(plain, data, FitConfig(transient_norms=True, **shared), is_new=True)
    other = fit(normed, data, FitConfig(**shared), is_new=True)
    assert [entry["val_metric"] for entry in one] == pytest.approx([entry["val_metric"] for entry in other], abs=0.03)
