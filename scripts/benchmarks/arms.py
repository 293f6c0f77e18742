"""What is done to a network. A new arm is a function here, a line in ARMS, and its name in a study's waves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict

from torch import nn

from edge_dendrite.compress.connections.mask_folding import fold_masks
from edge_dendrite.compress.controls import same_shape_from_scratch
from edge_dendrite.compress.dendrites.gate import open_rates, penalty_of_gates, without_idle_gates
from edge_dendrite.compress.neurons.prune import prune
from edge_dendrite.compress.plan import Plan
from edge_dendrite.compress.recipe import reduce, split_epochs
from edge_dendrite.config import Budget
from edge_dendrite.models.resnet18 import dendritic_resnet18, narrow_resnet18, plain_resnet18
from scripts.benchmarks import peers, studies
from scripts.benchmarks.job import Job

# In how many cuts the gradual arm reaches its budget.
NUM_CUTS = 3


def dense(job: Job) -> nn.Module:
    """The network that all others come from."""
    return job.dense


def dense_longer(job: Job) -> nn.Module:
    """The dense network with the same extra epochs and teacher as the cut ones."""
    return job.distil(copy.deepcopy(job.dense), job.study.more_epochs)


def edge_dendrite(job: Job) -> nn.Module:
    """Our pruning to the budget in one go, then distillation."""
    return job.distil(job.pruned().module, job.study.more_epochs)


def from_scratch(job: Job) -> nn.Module:
    """The shape that our pruning leaves, new weights, all epochs in one schedule with the same teacher."""
    return _from_scratch(job, job.pruned().plan)


def edge_dendrite_gradual(job: Job) -> nn.Module:
    """Our pruning in equal ratios, distilled after each cut; the epochs together are those of the other arms."""
    start, module = peers.num_parameters(job.dense), job.dense
    plan = Plan()
    for number, epochs in enumerate(split_epochs(job.study.more_epochs, NUM_CUTS), 1):
        target = round(start * (job.max_parameters / start) ** (number / NUM_CUTS))
        pruned = prune(module, job.scoring_batches, Budget(max_parameters=target), job.study.prune)
        plan = Plan((*plan.edits, *pruned.plan.edits), pruned.plan.layers)
        module = job.distil(pruned.module, epochs)
    job.keep_plan(plan)
    return module


def edge_dendrite_recipe(job: Job) -> nn.Module:
    """Cuts by pruning, branching or both, as trials on validation data prefer, each followed by distillation."""
    made = reduce(
        job.dense,
        job.data,
        job.scoring_batches,
        job.max_parameters,
        job.study.more_epochs,
        job.teacher,
        job.distil,
        job.study.recipe,
    )
    job.keep_plan(made.plan)
    job.notes |= {"recipe": job.study.recipe.to_dict(), "steps": [asdict(step) for step in made.steps]}
    return made.module


def from_scratch_recipe(job: Job) -> nn.Module:
    """As `from_scratch`, of the shape that the recipe left."""
    return _from_scratch(job, job.kept_plan(studies.RECIPE))


def from_scratch_gradual(job: Job) -> nn.Module:
    """As `from_scratch`, of the shape that gradual pruning left."""
    return _from_scratch(job, job.kept_plan(studies.GRADUAL))


def _from_scratch(job: Job, plan: Plan) -> nn.Module:
    module = same_shape_from_scratch(job.factory, plan, job.seed)
    return job.distil(module, job.study.fit.epochs + job.study.more_epochs)


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


def uniform_l2(job: Job) -> nn.Module:
    """Torch-Pruning, the same share of every layer by L2 norm, then distillation."""
    pruned = peers.prune_uniform_l2(job.dense, job.scoring_batches, job.max_parameters)
    return job.distil(pruned, job.study.more_epochs)


def global_l2(job: Job) -> nn.Module:
    """Torch-Pruning, all layers ranked together by L2 norm, then distillation."""
    pruned = peers.prune_global_l2(job.dense, job.scoring_batches, job.max_parameters)
    return job.distil(pruned, job.study.more_epochs)


def global_taylor(job: Job) -> nn.Module:
    """Torch-Pruning, all layers ranked together by Taylor scores, then distillation."""
    pruned = peers.prune_global_taylor(job.dense, job.scoring_batches, job.max_parameters)
    return job.distil(pruned, job.study.more_epochs)


ARMS: Mapping[str, Callable[[Job], nn.Module]] = {
    studies.DENSE: dense,
    studies.DENSE_LONGER: dense_longer,
    studies.OURS: edge_dendrite,
    studies.SCRATCH: from_scratch,
    studies.GRADUAL: edge_dendrite_gradual,
    studies.GRADUAL_SCRATCH: from_scratch_gradual,
    studies.RECIPE: edge_dendrite_recipe,
    studies.RECIPE_SCRATCH: from_scratch_recipe,
    studies.DENDRITIC: dendritic,
    studies.PLAIN_GROUPS: plain_groups,
    studies.NARROW: narrow,
    studies.UNIFORM_L2: uniform_l2,
    studies.GLOBAL_L2: global_l2,
    studies.GLOBAL_TAYLOR: global_taylor,
}
