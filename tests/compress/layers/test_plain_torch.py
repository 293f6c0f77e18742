"""Networks with branches or dendrites run in PyTorch alone, by the program that torch.export makes of them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from edge_dendrite.compress.layers.branches import block_branches, map_branches, spatial_branches
from edge_dendrite.compress.layers.dendrites import dendritic_layer
from parts import ROOT

LAYERS = {
    "spatial": lambda: (spatial_branches(nn.Conv2d(4, 6, 3, stride=2, padding=1), 2, "relu"), (4, 9, 9)),
    "map": lambda: (map_branches(nn.Linear(4 * 9, 6), 4, 2, "tanh"), (36,)),
    "block": lambda: (block_branches(nn.Linear(8, 6), [3, 0, 7, 1, 2, 6, 5, 4], 2, 2, "relu"), (8,)),
    "block-of-positions": lambda: (block_branches(nn.Linear(8, 6), [3, 0, 7, 1, 2, 6, 5, 4], 2, 2, "relu"), (5, 8)),
    "block-pointwise": lambda: (block_branches(nn.Conv2d(8, 6, 1), list(range(8)), 4, 1, "sigmoid"), (8, 5, 5)),
    "grown-linear": lambda: (dendritic_layer(nn.Linear(8, 6), [3, 2], "relu"), (8,)),
    "grown-convolution": lambda: (dendritic_layer(nn.Conv2d(4, 6, 3, padding=1), [3], "tanh"), (4, 7, 7)),
}


@pytest.fixture(scope="module")
def errors(tmp_path_factory):
    """Largest difference by name, of programs that were saved here and run where this project is not."""
    folder = tmp_path_factory.mktemp("programs")
    for name, make in LAYERS.items():
        torch.manual_seed(0)
        layer, shape = make()
        with torch.no_grad():
            for one in layer.parameters():
                one.copy_(0.2 * torch.randn_like(one))
        network = nn.Sequential(layer, nn.ReLU()).eval()
        dynamic = ({0: torch.export.Dim("batch", min=1)},)
        program = torch.export.export(network, (torch.randn(2, *shape),), dynamic_shapes=dynamic)
        torch.export.save(program, folder / f"{name}.pt2")
        inputs = torch.randn(5, *shape)  # another batch than the example's
        torch.save((inputs, network(inputs).detach()), folder / f"{name}.pt")
    command = [sys.executable, "-I", ROOT / "tests" / "support" / "plain_torch.py", folder]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", LAYERS)
def test_a_saved_program_needs_nothing_of_this_project(errors, name):
    assert errors[name] <= 1e-6
