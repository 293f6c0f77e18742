"""Candidate dendrites: units that are trained until their output goes with the error that a neuron still makes.

Source: cascade correlation (Fahlman and Lebiere 1990, "The Cascade-Correlation Learning Architecture", section 3), for
each neuron of a layer with a pool of its own; the covariance is divided by the spread of the candidate's output, so
that a pool compares directions and not scales.

Shape suffixes: n samples, f inputs of a neuron, k neurons, p candidates of a neuron, d dendrites.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from edge_dendrite.compress.layers.branches import ACTIVATIONS

_HELD_OUT = 5  # every fifth sample tells how good a candidate is
_BATCH = 1024
# Of all pools that are trained at once: with gradients and moments of Adam four times as many numbers.
_MOST_WEIGHTS = 1 << 22
# How many standard errors a correlation on held-out samples must be away from zero.
_SIGNIFICANT = 3.0


@dataclass(frozen=True)
class Candidates:
    """The best candidate of each neuron whose correlation is more than chance.

    neurons: (d,) whose errors they follow, the strongest correlation first. weight_df, bias_d: in the layer's own
    units. correlation_d: on samples that were not trained on.
    """

    neurons: torch.Tensor
    weight_df: torch.Tensor
    bias_d: torch.Tensor
    correlation_d: torch.Tensor


def train_candidates(
    inputs_nf: torch.Tensor,
    errors_nk: torch.Tensor,
    num_candidates: int,
    activation: str,
    *,
    num_steps: int,
    learning_rate: float,
    seed: int,
) -> Candidates:
    """Train a pool for every neuron, by Adam on the negative sum of |correlation|.

    errors_nk: the loss's derivative by each neuron's output. Inputs are standardised while the pools are trained.
    Neurons are taken in portions, for pools of a wide layer take many times its memory.
    """
    mean_f, std_f = inputs_nf.float().mean(0), inputs_nf.float().std(0, correction=0)
    # An input that never changes tells nothing; its weight becomes zero.
    scale_f = torch.where(std_f > 1e-6 * std_f.max().clamp_min(1e-30), 1.0 / std_f.clamp_min(1e-30), 0.0)
    data = _Data((inputs_nf.float() - mean_f) * scale_f, errors_nk.float())
    generator = torch.Generator().manual_seed(seed)
    act = ACTIVATIONS[activation]()
    portion = max(1, _MOST_WEIGHTS // (num_candidates * inputs_nf.shape[1]))
    parts = [
        _best_of_pools(data, neurons, num_candidates, act, num_steps, learning_rate, generator)
        for neurons in torch.arange(errors_nk.shape[1]).split(portion)
    ]
    best_k, weight_kf, bias_k = (torch.cat(part) for part in zip(*parts, strict=True))
    chance = _SIGNIFICANT / int(data.held_out.sum()) ** 0.5
    neurons = best_k.argsort(descending=True)
    neurons = neurons[best_k[neurons] > chance]
    weight_df = weight_kf[neurons] * scale_f
    return Candidates(neurons, weight_df, bias_k[neurons] - weight_df @ mean_f, best_k[neurons])


class _Data:
    """Standardised inputs and errors, and which samples are held out."""

    def __init__(self, inputs_nf: torch.Tensor, errors_nk: torch.Tensor) -> None:
        self.inputs_nf, self.errors_nk = inputs_nf, errors_nk
        self.held_out = torch.arange(len(inputs_nf), device=inputs_nf.device) % _HELD_OUT == 0
        self.fitted = torch.nonzero(~self.held_out).squeeze(1)


def _best_of_pools(
    data: _Data,
    neurons: torch.Tensor,
    num_candidates: int,
    activation: torch.nn.Module,
    num_steps: int,
    learning_rate: float,
    generator: torch.Generator,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For each of these neurons (|correlation| on held-out samples (k,), weight (k, f), bias (k,)) of its best."""
    num_inputs, device = data.inputs_nf.shape[1], data.inputs_nf.device
    weight_kpf = torch.randn(len(neurons), num_candidates, num_inputs, generator=generator) / num_inputs**0.5
    bias_kp = torch.randn(len(neurons), num_candidates, generator=generator) * 0.5
    weight_kpf, bias_kp = weight_kpf.to(device).requires_grad_(), bias_kp.to(device).requires_grad_()
    errors_nk = data.errors_nk[:, neurons.to(device)]
    optimizer = torch.optim.Adam([weight_kpf, bias_kp], lr=learning_rate)
    with torch.enable_grad():
        for _ in range(num_steps):
            drawn = torch.randint(len(data.fitted), (min(_BATCH, len(data.fitted)),), generator=generator)
            rows = data.fitted[drawn.to(device)]
            optimizer.zero_grad()
            sent = activation(torch.einsum("nf,kpf->nkp", data.inputs_nf[rows], weight_kpf) + bias_kp)
            (-correlation(sent, errors_nk[rows]).abs().sum()).backward()
            optimizer.step()
    with torch.no_grad():
        sent = activation(torch.einsum("nf,kpf->nkp", data.inputs_nf[data.held_out], weight_kpf) + bias_kp)
        best_k, at_k = correlation(sent, errors_nk[data.held_out]).abs().max(1)
        own = torch.arange(len(neurons), device=device)
        return best_k, weight_kpf[own, at_k].detach(), bias_kp[own, at_k].detach()


def correlation(sent_nkp: torch.Tensor, errors_nk: torch.Tensor) -> torch.Tensor:
    """(k, p): Pearson's correlation of what candidates send with their neuron's error; 0 for one that never changes."""
    sent, errors = sent_nkp - sent_nkp.mean(0), errors_nk - errors_nk.mean(0)
    covariance_kp = torch.einsum("nkp,nk->kp", sent, errors)
    return covariance_kp / (sent.norm(dim=0) * errors.norm(dim=0).unsqueeze(1)).clamp_min(1e-12)
