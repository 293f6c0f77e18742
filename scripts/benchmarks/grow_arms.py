"""Dendrites that grow on a reduced network, and what they must be compared with: arms as in arms.py."""

from __future__ import annotations

import copy
import time
from dataclasses import asdict, replace

from torch import nn

from edge_dendrite.compress import controls
from edge_dendrite.compress.dendrites.grow import Grower
from edge_dendrite.compress.neurons.prune import prune
from edge_dendrite.compress.plan import Plan
from edge_dendrite.config import Budget, GrowConfig
from edge_dendrite.train.evaluate import evaluate
from scripts.benchmarks import studies
from scripts.benchmarks.job import Job

# How often a network may grow; the epochs are divided among the times.
NUM_TIMES = 2


def reduced(job: Job) -> nn.Module:
    """The dense network pruned to the budget and distilled: what dendrites are added to."""
    pruned = job.pruned()
    module = job.distil(pruned.module, job.study.more_epochs)
    job.keep_network(module, pruned.plan)
    return module


def reduced_longer(job: Job) -> nn.Module:
    """The reduced network with the epochs that the growing one has, and as often back to its best weights."""
    return _grown(job, replace(job.study.grow, max_parameters=1))


def grown(job: Job) -> nn.Module:
    """The reduced network with dendrites where its neurons still err, added in between."""
    return _grown(job, job.study.grow)


def grown_by_gradient(job: Job) -> nn.Module:
    """The same with dendrites that start at random."""
    return _grown(job, replace(job.study.grow, mode="gradient"))


def dendrites_zeroed(job: Job) -> nn.Module:
    """The grown network without what its dendrites add: nothing is trained."""
    kept = job.kept_network(studies.GROWN)
    job.trainer.history = kept.history
    module = controls.dendrites_zeroed(kept.module)
    job.notes["val_accuracy"] = evaluate(module, job.data, job.data.validation)
    return module


def grown_from_scratch(job: Job) -> nn.Module:
    """The shape of the grown network, dendrites too, with new weights and all epochs in one schedule."""
    plan = job.kept_network(studies.GROWN).plan
    module = controls.same_shape_from_scratch(job.factory, plan, job.seed)
    return job.distil(module, job.study.fit.epochs + job.study.more_epochs + job.study.grow_epochs, is_new=True)


def equal_capacity(job: Job) -> nn.Module:
    """The dense network pruned to as many parameters as the grown one has, with the same epochs in the same parts."""
    wanted = sum(one.numel() for one in job.kept_network(studies.GROWN).module.parameters())
    pruned = prune(job.dense, job.scoring_batches, Budget(max_parameters=wanted), replace(job.study.prune, round_to=1))
    module = job.distil(pruned.module, job.study.more_epochs)
    for _ in range(NUM_TIMES):
        module = job.distil(module, job.study.grow_epochs // NUM_TIMES)
    return module


def _grown(job: Job, config: GrowConfig) -> nn.Module:
    """Grow, train, and keep the best weights that were seen; as often as NUM_TIMES."""
    start = job.kept_network(studies.REDUCED)
    module = copy.deepcopy(start.module)
    if config.max_parameters is None:
        number = sum(one.numel() for one in module.parameters())
        config = replace(config, max_parameters=round(number * (1.0 + job.study.grow_share)))
    grower = Grower(module, replace(config, seed=job.seed))

    def validate() -> float:
        return evaluate(module, job.data, job.data.validation)

    growing_s = 0.0
    for _ in range(NUM_TIMES):
        grower.observe(validate())
        start_s = time.perf_counter()
        grower.grow(job.scoring_batches)
        growing_s += time.perf_counter() - start_s
        job.distil(module, job.study.grow_epochs // NUM_TIMES)
    grower.observe(validate())
    plan = grower.finish(validate)
    # Not that of the last epoch: the best weights came back, and idle dendrites went.
    growths = [asdict(one) for one in grower.growths]
    job.notes |= {"growths": growths, "growing_seconds": round(growing_s, 3), "val_accuracy": validate()}
    job.keep_network(module, Plan((*start.plan.edits, *plan.edits), (*start.plan.layers, *plan.layers)))
    return module
