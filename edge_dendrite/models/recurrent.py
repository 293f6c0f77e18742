"""Small recurrent networks.

Shape suffixes: b batch, h rows, w columns, f features.
"""

import torch
from torch import nn


class RowGRU(nn.Module):
    """Reads a 28x28 grey digit row by row with a GRU: sequential MNIST; 18,698 parameters with 10 classes."""

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.gru = nn.GRU(28, 64, batch_first=True)
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x_b1hw: torch.Tensor) -> torch.Tensor:
        """(b, 1, 28, 28) to logits (b, num_classes)."""
        h_bhf, _ = self.gru(x_b1hw.squeeze(1))
        return self.fc(h_bhf[:, -1])
