"""Blocks that run only for inputs that need them: arms as in arms.py. The budget is the share of inputs without one."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from edge_dendrite.compress.dendrites.gate import gate, open_rates, without_idle_gates
from edge_dendrite.config import BRANCHES, LINEAR
from scripts.benchmarks.job import Job


def gated(job: Job) -> nn.Module:
    """Closed blocks take a copy of themselves with branches in the place of their layers."""
    return _gated(job, BRANCHES)


def gated_linear(job: Job) -> nn.Module:
    """Closed blocks take one linear map for each position."""
    return _gated(job, LINEAR)


def _gated(job: Job, bypass: str) -> nn.Module:
    assert job.case.budget is not None
    config = replace(job.study.gates, target=1.0 - job.case.budget, bypass=bypass)
    made = gate(job.dense, job.scoring_batches, config)
    module = job.distil(made.module, job.study.more_epochs, penalty=made.penalty)
    rates = open_rates(module, job.data, job.data.validation)
    job.notes |= {"gates": config.to_dict(), "open_rates": rates}
    return without_idle_gates(module, rates)
