"""Dendrites at the input projections of a recurrent layer, which keeps torch's fused kernels.

A dendrite sees one step of what a layer of the stack takes, and reaches the gates through further columns of that
layer's weight_ih: gates = [weight_ih, soma] [x, activation(branches(x))] + weight_hh h + biases. In a GRU they reach
the candidate state beside its input, outside of the product with the reset gate.

Shape suffixes: b batch, t steps, f inputs, g gates of one direction (all rows of its weight_ih).
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from edge_dendrite.compress.layers.slots import OpenBlock, Slot

_KERNELS = {"LSTM": "lstm", "GRU": "gru", "RNN_TANH": "rnn_tanh", "RNN_RELU": "rnn_relu"}


class DendriticRecurrent(OpenBlock):
    """In place of an nn.LSTM, nn.GRU or nn.RNN, with its signature. Slots l0, l1, ...: one for every layer of the
    stack, whose neurons are the gates of the forward direction and then those of the reverse one."""

    answers = (
        *("mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"),
        *("proj_size", "flatten_parameters"),
    )

    def __init__(self, layer: Any) -> None:
        slots = {}
        for number in range(layer.num_layers):
            weight = getattr(layer, f"weight_ih_l{number}")
            slots[f"l{number}"] = Slot(weight.shape[1], len(weight) * (1 + layer.bidirectional), weight)
        super().__init__(layer, slots)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """(outputs, last states) as the layer returns them, of a padded or packed sequence or one without a batch."""
        if not self.is_open:
            return self.layer(input, hx)
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        if input.dim() == 3:
            return self._stack(input, hx, None)
        batch = 0 if self.batch_first else 1
        states = None if hx is None else _each(hx, lambda state: state.unsqueeze(1))
        outputs, last = self._stack(input.unsqueeze(batch), states, None)
        return outputs.squeeze(batch), _each(last, lambda state: state.squeeze(1))

    def _packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        x, batch_sizes, order, back = input
        if hx is not None and order is not None:
            hx = _each(hx, lambda state: state.index_select(1, order))
        outputs, last = self._stack(x, hx, batch_sizes)
        if back is not None:
            last = _each(last, lambda state: state.index_select(1, back))
        return PackedSequence(outputs, batch_sizes, order, back), last

    def _stack(self, x: torch.Tensor, hx: Any, batch_sizes: torch.Tensor | None) -> tuple[torch.Tensor, Any]:
        """Layer after layer: each may have dendrites on what the one before it made."""
        num_directions = 1 + self.bidirectional
        states = self._zero_states(x, batch_sizes) if hx is None else hx if isinstance(hx, tuple) else (hx,)
        ends = []
        for number, slot in enumerate(self.slots.values()):
            if number:
                x = functional.dropout(x, self.dropout, self.training)
            start = number * num_directions
            own = tuple(state[start : start + num_directions] for state in states)
            x, *end = self._run(number, slot, x, own, batch_sizes)
            ends.append(end)
        last = tuple(torch.cat(parts) for parts in zip(*ends, strict=True))
        return x, last if self.mode == "LSTM" else last[0]

    def _run(
        self,
        number: int,
        slot: Slot,
        x: torch.Tensor,
        states: tuple[torch.Tensor, ...],
        batch_sizes: torch.Tensor | None,
    ) -> tuple[torch.Tensor, ...]:
        """(outputs, last states...) of one layer of the stack, both directions, by torch's kernel."""
        x, columns = self._with_dendrites(slot, x)
        weights = self._weights(number, columns)
        kernel = getattr(torch._VF, _KERNELS[self.mode])
        given = states if self.mode == "LSTM" else states[0]
        rest = (weights, self.bias, 1, 0.0, self.training, self.bidirectional)
        if batch_sizes is not None:
            return kernel(x, batch_sizes, given, *rest)
        return kernel(x, given, *rest, self.batch_first)

    def _with_dendrites(self, slot: Slot, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(x and what dendrites send, (..., f + d); the weights of that from them to the gates, (all gates, d))."""
        if slot.is_watched:
            # What the slot adds to the gates, as inputs with weights of one: its gradient is that of the gates.
            added = slot(x, x.new_zeros(*x.shape[:-1], slot.num_neurons, requires_grad=True))
            columns = torch.eye(slot.num_neurons, device=x.device, dtype=slot.place.dtype)
            return torch.cat([x, added], -1), columns
        sets: list[Any] = list(slot.sets)
        columns = torch.cat([slot.place.new_empty(slot.num_neurons, 0), *(one.soma.weight for one in sets)], 1)
        return torch.cat([x, *(one.send(x) for one in sets)], -1) if sets else x, columns

    def _weights(self, number: int, columns: torch.Tensor) -> list[torch.Tensor]:
        """The weights of one layer of the stack in the kernel's order, with further columns for its inputs."""
        directions = ("", "_reverse")[: 1 + self.bidirectional]
        kinds = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if self.bias else [])]
        kinds += ["weight_hr"] if self.proj_size else []
        weights = []
        for direction, added in zip(directions, columns.chunk(len(directions)), strict=True):
            own = [getattr(self.layer, f"{kind}_l{number}{direction}") for kind in kinds]
            weights += [torch.cat([own[0], added], 1) if added.shape[1] else own[0], *own[1:]]
        return weights

    def _zero_states(self, x: torch.Tensor, batch_sizes: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        batch = x.shape[0 if self.batch_first else 1] if batch_sizes is None else int(batch_sizes[0])
        count = self.num_layers * (1 + self.bidirectional)
        widths = (self.proj_size or self.hidden_size, self.hidden_size)[: 2 if self.mode == "LSTM" else 1]
        return tuple(x.new_zeros(count, batch, width) for width in widths)


def _each(states: Any, change: Any) -> Any:
    """The state, or both of an LSTM, changed."""
    return tuple(change(one) for one in states) if isinstance(states, tuple) else change(states)
