"""Branches and a soma that compute nearly what a dense layer computes on given samples.

Filters are the principal directions of what each field contributes; the soma is solved by ridge regression on what the
branches really send, nonlinearity included.

Sources: Izenman 1975, "Reduced-rank regression for the multivariate linear model" (directions that carry most of the
outputs on given data, here one regression for each field); Hoerl and Kennard 1970, "Ridge regression: biased estimation
for nonorthogonal problems".

Shape suffixes: n samples, g fields, s inputs of a field, m branches of a field, k neurons, r all branches.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from edge_dendrite.compress.dendrites.samples import LayerSamples
from edge_dendrite.compress.layers.branches import ACTIVATIONS

_RIDGE = 1e-4
_HELD_OUT = 5  # every fifth sample tells how good a solution is
# Where a relu's threshold is put, in standard deviations below the mean of its input: half, or most, passes.
_SHIFTS = {"relu": (0.0, 0.5, 1.5)}


@dataclass(frozen=True)
class BranchWeights:
    """filters_mgs, biases_mg and the soma's weight_kmg and bias_k.

    error: what the squared errors on samples that were not fitted cost (LayerSamples.weight_k); relative_error: the
    same as a share of what a constant output costs.
    """

    filters_mgs: torch.Tensor
    biases_mg: torch.Tensor
    soma_kmg: torch.Tensor
    soma_bias_k: torch.Tensor
    error: float
    relative_error: float


@torch.no_grad()
def fit_branches(samples: LayerSamples, dense_kgs: torch.Tensor, num_branches: int, activation: str) -> BranchWeights:
    """The best found for samples whose outputs the dense layer made of these or of nearly these inputs.

    The dense weights are needed for the directions only. Sums are taken in double precision, on the CPU.
    """
    inputs_ngs, outputs_nk = samples.inputs_ngs.double().cpu(), samples.outputs_nk.double().cpu()
    weight_k = samples.weight_k.double().cpu()
    filters_mgs = _directions(inputs_ngs, dense_kgs.double().cpu(), weight_k, num_branches)
    values_nmg = torch.einsum("ngs,mgs->nmg", inputs_ngs, filters_mgs)
    mean_mg = values_nmg.mean(0)
    # A relu keeps one side: the longer tail tells more.
    sign_mg = torch.where((values_nmg - mean_mg).pow(3).sum(0) < 0, -1.0, 1.0)
    filters_mgs, values_nmg, mean_mg = filters_mgs * sign_mg[:, :, None], values_nmg * sign_mg, mean_mg * sign_mg
    act = ACTIVATIONS[activation]()
    found = [
        _solved(filters_mgs, shift - mean_mg, values_nmg, outputs_nk, weight_k, act)
        for shift in _SHIFTS.get(activation, (0.0,))
    ]
    return min(found, key=lambda one: one.error)


def _directions(
    inputs_ngs: torch.Tensor, dense_kgs: torch.Tensor, weight_k: torch.Tensor, num_branches: int
) -> torch.Tensor:
    """(m, g, s): per field the directions that carry most of what it adds to the outputs, of variance 1 in the data."""
    centred = inputs_ngs - inputs_ngs.mean(0)
    covariance_gss = torch.einsum("ngs,ngt->gst", centred, centred) / len(centred)
    values_gs, vectors_gst = torch.linalg.eigh(covariance_gss)
    root_gs = values_gs.clamp_min(1e-6 * float(values_gs.max()) + 1e-12).sqrt()
    scale_k = (weight_k / weight_k.mean()).sqrt() if bool(weight_k.any()) else torch.ones_like(weight_k)
    spread_gkt = torch.einsum("kgs,gst->gkt", dense_kgs * scale_k[:, None, None], vectors_gst) * root_gs[:, None]
    # Right singular vectors, the largest first; also those of zero, which a field with few neurons has.
    right_grt = torch.linalg.eigh(spread_gkt.mT @ spread_gkt)[1].mT.flip(1)[:, :num_branches]
    return torch.einsum("grt,gst->rgs", right_grt / root_gs[:, None], vectors_gst)


def _solved(
    filters_mgs: torch.Tensor,
    biases_mg: torch.Tensor,
    values_nmg: torch.Tensor,
    outputs_nk: torch.Tensor,
    weight_k: torch.Tensor,
    activation: nn.Module,
) -> BranchWeights:
    sent_nr = activation(values_nmg + biases_mg).flatten(1)
    held_out = torch.arange(len(sent_nr)) % _HELD_OUT == 0
    weight_rk, bias_k = ridge(sent_nr[~held_out], outputs_nk[~held_out])
    wanted_nk = outputs_nk[held_out]
    error_k = (sent_nr[held_out] @ weight_rk + bias_k - wanted_nk).square().mean(0)
    worst = float((wanted_nk.var(0, correction=0) * weight_k).sum())
    error = float((error_k * weight_k).sum())
    weight_rk, bias_k = ridge(sent_nr, outputs_nk)
    soma_kmg = weight_rk.T.reshape(-1, *biases_mg.shape)
    return BranchWeights(filters_mgs, biases_mg, soma_kmg, bias_k, error, error / worst if worst > 0 else 0.0)


def ridge(inputs_nr: torch.Tensor, outputs_nk: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight (r, k), bias (k,)) of the linear map next to the outputs, slightly drawn to zero."""
    mean_r, mean_k = inputs_nr.mean(0), outputs_nk.mean(0)
    centred = inputs_nr - mean_r
    gram = centred.T @ centred
    gram.diagonal().add_(_RIDGE * float(gram.diagonal().mean()) + 1e-12)
    weight_rk = torch.linalg.solve(gram, centred.T @ (outputs_nk - mean_k))
    return weight_rk, mean_k - mean_r @ weight_rk
