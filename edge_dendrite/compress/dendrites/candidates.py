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
    """Train a pool for every neuron at once, by Adam on the negative sum of |correlation|.

    errors_nk: the loss's derivative by each neuron's output. Inputs are standardised while the pools are trained.
    """
    mean_f, std_f = inputs_nf.mean(0), inputs_nf.std(0, correction=0)
    # An input that never changes tells nothing; its weight becomes zero.
    scale_f = torch.where(std_f > 1e-6 * std_f.max().clamp_min(1e-30), 1.0 / std_f.clamp_min(1e-30), 0.0).float()
    held_out = torch.arange(len(inputs_nf)) % _HELD_OUT == 0
    scaled_nf, errors_nk = ((inputs_nf - mean_f) * scale_f).float(), errors_nk.float()
    fitted_nf, fitted_nk = scaled_nf[~held_out], errors_nk[~held_out]
    generator = torch.Generator().manual_seed(seed)
    num_inputs, num_neurons = scaled_nf.shape[1], errors_nk.shape[1]
    weight_kpf = torch.randn(num_neurons, num_candidates, num_inputs, generator=generator) / num_inputs**0.5
    bias_kp = torch.randn(num_neurons, num_candidates, generator=generator) * 0.5
    weight_kpf, bias_kp = weight_kpf.to(scaled_nf.device), bias_kp.to(scaled_nf.device)
    parameters = [weight_kpf.requires_grad_(), bias_kp.requires_grad_()]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    act = ACTIVATIONS[activation]()
    for _ in range(num_steps):
        rows = torch.randint(len(fitted_nf), (min(_BATCH, len(fitted_nf)),), generator=generator)
        optimizer.zero_grad()
        with torch.enable_grad():
            sent = act(torch.einsum("nf,kpf->nkp", fitted_nf[rows], weight_kpf) + bias_kp)
            (-correlation(sent, fitted_nk[rows]).abs().sum()).backward()
        optimizer.step()
    with torch.no_grad():
        sent = act(torch.einsum("nf,kpf->nkp", scaled_nf[held_out], weight_kpf) + bias_kp)
        found_kp = correlation(sent, errors_nk[held_out]).abs()
        best_k, at_k = found_kp.max(1)
        chance = _SIGNIFICANT / int(held_out.sum()) ** 0.5
        neurons = best_k.argsort(descending=True)
        neurons = neurons[best_k[neurons] > chance]
        at = at_k[neurons]
        weight_df = weight_kpf[neurons, at] * scale_f
        bias_d = bias_kp[neurons, at] - weight_df @ mean_f.float()
    return Candidates(neurons, weight_df.detach(), bias_d.detach(), best_k[neurons])


def correlation(sent_nkp: torch.Tensor, errors_nk: torch.Tensor) -> torch.Tensor:
    """(k, p): Pearson's correlation of what candidates send with their neuron's error; 0 for one that never changes."""
    sent, errors = sent_nkp - sent_nkp.mean(0), errors_nk - errors_nk.mean(0)
    covariance_kp = torch.einsum("nkp,nk->kp", sent, errors)
    return covariance_kp / (sent.norm(dim=0) * errors.norm(dim=0).unsqueeze(1)).clamp_min(1e-12)
