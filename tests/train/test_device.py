from __future__ import annotations

import pytest
import torch
from torch import nn

from edge_dendrite.config import DistilConfig, FitConfig
from edge_dendrite.errors import ConfigError
from edge_dendrite.train.device import choose_device, seeded
from edge_dendrite.train.evaluate import evaluate
from edge_dendrite.train.fit import Teacher, fit

without_accelerator = pytest.mark.skipif(torch.accelerator.is_available(), reason="here is an accelerator")


@without_accelerator
@pytest.mark.parametrize("name", ["cuda", "cuda:3", "mps", "meta"])
def test_a_device_that_is_not_there_is_an_error(blobs, network, name, same_weights):
    module = network()
    with pytest.raises(ConfigError, match=f"device '{name}' is not on this machine.*only cpu"):
        fit(module, blobs, FitConfig(epochs=1), device=name)
    assert same_weights(module, network())


def test_a_device_that_does_not_exist_is_an_error(network):
    with pytest.raises(ConfigError, match="device 'gpu' is not known; give auto, cpu"):
        choose_device("gpu", network())


def test_the_cpu_is_there_and_auto_takes_it_where_nothing_else_is(network):
    assert choose_device("cpu", network()) == torch.device("cpu")
    if not torch.accelerator.is_available():
        assert choose_device("auto", network()) == torch.device("cpu")
    assert choose_device("cpu", nn.Flatten()) == torch.device("cpu")  # a network without a weight


def test_auto_stays_where_the_network_is():
    assert choose_device("auto", nn.Linear(2, 2, device="meta")).type == "meta"


def test_seeded_repeats_and_leaves_the_global_state_alone():
    state = torch.get_rng_state()
    drawn = []
    for seed in (3, 3, 4):
        with seeded(torch.device("cpu"), seed):
            drawn.append(torch.rand(4))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_float16_is_refused_on_the_cpu(blobs, network, same_weights):
    module = network()
    with pytest.raises(ConfigError, match="precision float16 needs a CUDA device, and this is cpu"):
        fit(module, blobs, FitConfig(epochs=1, precision="float16"), device="cpu")
    assert same_weights(module, network())


def test_bfloat16_computes_in_it_and_keeps_float32_weights(blobs, network):
    seen = {}
    module = network()

    def look(part, inputs, output):
        seen.setdefault(part.training, set()).add(output.dtype)

    module[4].register_forward_hook(look)
    given = []

    def loss(outputs, targets):
        given.append(outputs.dtype)
        return nn.functional.cross_entropy(outputs, targets)

    history = fit(
        module, blobs, FitConfig(epochs=5, batch_size=32, learning_rate=0.03, precision="bfloat16"), loss=loss
    )
    assert seen == {True: {torch.bfloat16}, False: {torch.float32}}  # evaluation is float32
    assert set(given) == {torch.float32}
    assert {value.dtype for value in module.parameters()} == {torch.float32}
    assert history[-1]["val_metric"] > 0.9


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_training_on_cuda_and_going_on_on_the_cpu(blobs, network, tmp_path, precision):
    """All that moves: weights, data, teacher, projections, average, kept weights, random numbers, checkpoint."""
    config = FitConfig(epochs=6, batch_size=32, learning_rate=0.03, precision=precision, ema_decay=0.9, patience=6)
    teacher = Teacher(network(seed=2), DistilConfig(features=("1",)))
    fit(teacher.module, blobs, FitConfig(epochs=5, batch_size=32, learning_rate=0.03), device="cuda")

    class Stop(Exception):
        pass

    def stop(description, done, total):
        if done > total // 2:
            raise Stop

    path = tmp_path / "c.safetensors"
    state = torch.cuda.get_rng_state()
    with pytest.raises(Stop):
        fit(network(8, 0.1), blobs, config, teacher=teacher, checkpoint=path, device="cuda", progress=stop)
    assert torch.equal(torch.cuda.get_rng_state(), state)
    module = network(8, 0.1)
    device = "cuda" if precision == "float16" else "cpu"
    fit(module, blobs, config, teacher=teacher, checkpoint=path, device=device)
    assert {value.device.type for value in (*module.parameters(), *teacher.module.parameters())} == {"cpu"}
    assert evaluate(module, blobs, blobs.validation) > 0.9
    assert evaluate(module.cuda(), blobs, blobs.validation) > 0.9
