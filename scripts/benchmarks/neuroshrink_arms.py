"""The dendritic ResNet-18 and its controls: arms as in arms.py."""

from __future__ import annotations

from torch import nn

from edge_dendrite.compress.connections.mask_folding import fold_masks
from edge_dendrite.compress.dendrites.gate import open_rates, penalty_of_gates, without_idle_gates
from edge_dendrite.models.resnet18 import dendritic_resnet18, narrow_resnet18, plain_resnet18
from scripts.benchmarks.job import Job


def dendritic(job: Job) -> nn.Module:
    """The dendritic ResNet-18: learned groups folded, gates that decide nothing taken away."""
    examples = job.scoring_batches
    network = job.train(dendritic_resnet18, lambda module: penalty_of_gates(module, examples[0][0], job.study.gates))
    folded = fold_masks(network, examples)
    rates = open_rates(folded.module, job.data, job.data.validation)
    job.notes |= {"gates": job.study.gates.to_dict(), "open_rates": rates}
    return without_idle_gates(folded.module, rates)


def plain_groups(job: Job) -> nn.Module:
    """The same shape with groups that are fixed and without gates."""
    return job.train(plain_resnet18)


def narrow(job: Job) -> nn.Module:
    """As many parameters without groups: a ResNet-18 of an eighth of the channels."""
    return job.train(narrow_resnet18)
