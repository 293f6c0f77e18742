from __future__ import annotations

import torch

from edge_dendrite.compress.neurons.prune import prune
from edge_dendrite.config import Budget, PruneConfig
from edge_dendrite.export.onnx import check_parity, export_onnx
from edge_dendrite.models.recurrent import RowGRU
from edge_dendrite.models.source import find_factory


def test_it_reads_rows_in_order():
    torch.manual_seed(0)
    module, x = RowGRU().eval(), torch.randn(3, 1, 28, 28)
    assert sum(one.numel() for one in module.parameters()) == 18_698
    state = torch.zeros(3, 64)
    cell = torch.nn.GRUCell(28, 64)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in module.gru.state_dict().items()})
    for row in range(28):
        state = cell(x[:, 0, row], state)
    assert torch.allclose(module(x), module.fc(state), atol=1e-5)


def test_it_is_pruned_and_exported():
    torch.manual_seed(0)
    module = find_factory("mnist-gru")().eval()
    batches = [(torch.randn(8, 1, 28, 28), torch.randint(10, (8,))) for _ in range(2)]
    small = prune(module, batches, Budget(pruning_ratio=0.75), PruneConfig(num_batches=2, num_rounds=1)).module
    assert small.gru.hidden_size < 40
    check_parity(export_onnx(small, (1, 28, 28), 13), small, torch.randn(4, 1, 28, 28), 1e-5, 1e-5)
