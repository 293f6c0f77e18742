"""Recurrent networks and 1-D convolutions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from zoo.base import NONE, Network, floats, several, tokens


class LastStep(nn.Module):
    """A recurrent layer read at its last step, behind a linear layer and before one."""

    def __init__(self, kind, **options):
        super().__init__()
        self.before = nn.Linear(5, 9)
        self.rnn = kind(9, 12, batch_first=True, **options)
        width = options.get("proj_size") or 12
        self.fc = nn.Linear(width * (2 if options.get("bidirectional") else 1), 4)

    def forward(self, x):
        out, _ = self.rnn(self.before(x).relu())
        return self.fc(out[:, -1])


class AllSteps(nn.Module):
    """Time first, every step is read, and the last state too."""

    def __init__(self, kind):
        super().__init__()
        self.rnn = kind(5, 10)
        self.each, self.last = nn.Linear(10, 3), nn.Linear(10, 4)

    def forward(self, x):
        out, state = self.rnn(x.transpose(0, 1))
        hidden = state[0] if isinstance(state, tuple) else state
        return self.each(out).transpose(0, 1), self.last(hidden[-1])


class GivenState(nn.Module):
    """Two bidirectional layers whose first state the user supplies: its width is an input's, so it must stay."""

    def __init__(self, kind):
        super().__init__()
        self.is_lstm = kind is nn.LSTM
        self.before = nn.Linear(5, 8)
        self.rnn = kind(8, 6, num_layers=2, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(12, 4)

    def forward(self, x, h0):
        h0 = h0.transpose(0, 1).contiguous()
        out, _ = self.rnn(self.before(x).relu(), (h0, torch.zeros_like(h0)) if self.is_lstm else h0)
        return self.fc(out.mean(1))


class LearnedState(nn.Module):
    """The first state is a parameter, expanded over the batch: it is cut with the hidden units."""

    def __init__(self):
        super().__init__()
        self.h0 = nn.Parameter(torch.zeros(1, 1, 12))
        self.rnn, self.fc = nn.GRU(5, 12, batch_first=True), nn.Linear(12, 4)

    def forward(self, x):
        out, _ = self.rnn(x, self.h0.expand(-1, x.size(0), -1).contiguous())
        return self.fc(out[:, -1])


class Seq2Seq(nn.Module):
    """The last state of one LSTM is the first of another."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(50, 8)
        self.encoder, self.decoder = nn.LSTM(8, 12, batch_first=True), nn.LSTM(8, 12, batch_first=True)
        self.out = nn.Linear(12, 6)

    def forward(self, x):
        half = x.shape[1] // 2
        _, state = self.encoder(self.embed(x[:, :half]))
        out, _ = self.decoder(self.embed(x[:, half:]), state)
        return self.out(out)


class CellLoop(nn.Module):
    """LSTMCell and GRUCell in a Python loop: the graph has them unrolled."""

    def __init__(self):
        super().__init__()
        self.lstm, self.gru, self.fc = nn.LSTMCell(5, 8), nn.GRUCell(8, 6), nn.Linear(6, 4)

    def forward(self, x):
        h, c = x.new_zeros(x.size(0), self.lstm.hidden_size), x.new_zeros(x.size(0), self.lstm.hidden_size)
        g = x.new_zeros(x.size(0), self.gru.hidden_size)
        for step in range(x.shape[1]):
            h, c = self.lstm(x[:, step], (h, c))
            g = self.gru(h, g)
        return self.fc(g)


class CRNN(nn.Module):
    """Shi et al. 2015: columns of feature maps are the steps of a recurrent layer."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.norm = (
            nn.Conv2d(1, 6, 3, padding=1),
            nn.Conv2d(6, 8, 3, padding=1),
            nn.BatchNorm2d(8),
        )
        self.rnn, self.fc = nn.LSTM(8 * 4, 10, bidirectional=True), nn.Linear(20, 7)

    def forward(self, x):
        x = functional.max_pool2d(self.conv1(x).relu(), 2)
        x = functional.max_pool2d(self.norm(self.conv2(x)).relu(), (1, 2))
        b, c, h, w = x.size()
        out, _ = self.rnn(x.view(b, c * h, w).permute(2, 0, 1))
        return self.fc(out)


class Chomp(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        return x[:, :, : -self.size].contiguous()


class TemporalBlock(nn.Module):
    """Bai et al. 2018: causal dilated convolutions, padded and chomped, with a residual."""

    def __init__(self, inputs, outputs, dilation):
        super().__init__()
        pad = 2 * dilation
        self.net = nn.Sequential(
            *(nn.Conv1d(inputs, outputs, 3, padding=pad, dilation=dilation), Chomp(pad), nn.ReLU(), nn.Dropout(0.1)),
            *(nn.Conv1d(outputs, outputs, 3, padding=pad, dilation=dilation), Chomp(pad), nn.ReLU(), nn.Dropout(0.1)),
        )
        self.downsample = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x):
        return functional.relu(self.net(x) + (x if self.downsample is None else self.downsample(x)))


class TCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks, self.norm = nn.Sequential(TemporalBlock(2, 8, 1), TemporalBlock(8, 10, 2)), nn.BatchNorm1d(10)
        self.linear = nn.Linear(10, 4)

    def forward(self, x):
        return self.linear(self.norm(self.blocks(x))[:, :, -1])


class ConvGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(2, 8, 5, stride=2), nn.Conv1d(8, 10, 3)
        self.pool, self.gru, self.fc = nn.MaxPool1d(2), nn.GRU(10, 9, batch_first=True), nn.Linear(9, 4)

    def forward(self, x):
        x = self.pool(self.conv2(self.conv1(x).relu()).relu()).transpose(1, 2)
        out, _ = self.gru(x)
        return self.fc(torch.cat([out[:, -1:], out.mean(1, keepdim=True)], 1)).sum(1)


class WaveNet(nn.Module):
    """van den Oord et al. 2016: tanh times sigmoid of one convolution's halves, residual and skip outputs."""

    def __init__(self):
        super().__init__()
        self.start = nn.Conv1d(1, 8, 1)
        self.dilated = nn.ModuleList(nn.Conv1d(8, 12, 2, dilation=d, padding=d) for d in (1, 2))
        self.mixed = nn.ModuleList(nn.Conv1d(6, 8 + 5, 1) for _ in range(2))
        self.end = nn.Conv1d(5, 3, 1)

    def forward(self, x):
        x, skips, length = self.start(x), 0, x.shape[-1]
        for dilated, mixed in zip(self.dilated, self.mixed, strict=True):
            filtered, gate = dilated(x)[..., :length].chunk(2, 1)
            residual, skip = mixed(filtered.tanh() * gate.sigmoid()).split([8, 5], 1)
            x, skips = x + residual, skips + skip
        return self.end(functional.relu(skips))


_STEPS = floats(7, 5)

NETWORKS = (
    Network("LSTM", lambda: LastStep(nn.LSTM), _STEPS, {"before.weight": 9, "rnn.weight_hh_l0": 12}),
    Network("GRU", lambda: LastStep(nn.GRU), _STEPS, {"before.weight": 9, "rnn.weight_hh_l0": 12}),
    Network("LSTM without bias", lambda: LastStep(nn.LSTM, bias=False), _STEPS, {"rnn.weight_hh_l0": 12}),
    Network(
        "LSTM stacked",
        lambda: LastStep(nn.LSTM, num_layers=3),
        _STEPS,
        {"before.weight": 9, "rnn.weight_hh_l0": None, "rnn.weight_hh_l1": None, "rnn.weight_hh_l2": None},
    ),
    Network(
        "GRU stacked bidirectional",
        lambda: LastStep(nn.GRU, num_layers=2, bidirectional=True),
        _STEPS,
        {"rnn.weight_hh_l0": None, "rnn.weight_hh_l1_reverse": None},
    ),
    Network(
        "LSTM stacked bidirectional",
        lambda: LastStep(nn.LSTM, num_layers=2, bidirectional=True),
        _STEPS,
        {"rnn.weight_hh_l0": None, "rnn.weight_hh_l1_reverse": None},
    ),
    Network(
        "LSTM with projections", lambda: LastStep(nn.LSTM, proj_size=6), _STEPS, {"before.weight": 9}, exporter=NONE
    ),
    Network("RNN tanh", lambda: LastStep(nn.RNN), _STEPS, {"before.weight": 9}),
    Network("LSTM time first, states read", lambda: AllSteps(nn.LSTM), _STEPS, {"rnn.weight_hh_l0": 10}),
    Network("GRU time first, states read", lambda: AllSteps(nn.GRU), _STEPS, {"rnn.weight_hh_l0": 10}),
    Network("LSTM with given h0", lambda: GivenState(nn.LSTM), several((7, 5), (4, 6)), {"before.weight": 8}),
    Network("GRU with given h0", lambda: GivenState(nn.GRU), several((7, 5), (4, 6)), {"before.weight": 8}),
    Network("GRU with learned h0", LearnedState, _STEPS, {"rnn.weight_hh_l0": 12}),
    Network("LSTM encoder-decoder", Seq2Seq, tokens(8), {"embed.weight": 8, "encoder.weight_hh_l0": 12}),
    Network("LSTMCell and GRUCell loop", CellLoop, floats(4, 5), refused=True),
    Network("CRNN", CRNN, floats(1, 8, 12), {"conv1.weight": 6, "conv2.weight": 8, "rnn.weight_hh_l0": None}),
    Network("TCN Conv1d", TCN, floats(2, 12), {"blocks.0.net.0.weight": 8, "blocks.1.downsample.weight": 10}),
    Network("Conv1d + GRU", ConvGRU, floats(2, 24), {"conv1.weight": 8, "conv2.weight": 10, "gru.weight_hh_l0": 9}),
    Network("WaveNet", WaveNet, floats(1, 12), {"dilated.0.weight": None}),
)
