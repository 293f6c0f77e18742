"""What is done to a network. A new arm is a function here, a line in ARMS, and its name in a study's waves."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import asdict

from torch import nn

from edge_dendrite.compress.controls import same_shape_from_scratch
from edge_dendrite.compress.neurons.prune import prune
from edge_dendrite.compress.plan import Plan
from edge_dendrite.compress.recipe import reduce
from edge_dendrite.config import Budget
from scripts.benchmarks import gate_arms, grow_arms, neuroshrink_arms, peers, studies
from scripts.benchmarks.job import Foreign, Job
from scripts.benchmarks.perforated_arm import perforatedai

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
    for number, epochs in enumerate(_split(job.study.more_epochs), 1):
        target = round(start * (job.max_parameters / start) ** (number / NUM_CUTS))
        pruned = prune(module, job.scoring_batches, Budget(max_parameters=target), job.study.prune)
        plan = Plan((*plan.edits, *pruned.plan.edits), pruned.plan.layers)
        module = job.distil(pruned.module, epochs)
    job.keep_plan(plan)
    return module


def edge_dendrite_recipe(job: Job) -> nn.Module:
    """Pruning, branches and dendrites, as trials on validation data prefer, then distillation."""
    made = reduce(
        job.dense,
        job.data,
        job.scoring_batches,
        Budget(max_parameters=job.max_parameters),
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


def _split(epochs: int) -> list[int]:
    """A quarter of the epochs after every cut but the last, which gets the rest, at least half."""
    early = [max(1, min(epochs // 4, epochs // (2 * (NUM_CUTS - 1))))] * (NUM_CUTS - 1)
    return [*early, epochs - sum(early)]


def _from_scratch(job: Job, plan: Plan) -> nn.Module:
    module = same_shape_from_scratch(job.factory, plan, job.seed)
    return job.distil(module, job.study.fit.epochs + job.study.more_epochs, is_new=True)


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


ARMS: Mapping[str, Callable[[Job], nn.Module | Foreign]] = {
    studies.DENSE: dense,
    studies.DENSE_LONGER: dense_longer,
    studies.OURS: edge_dendrite,
    studies.SCRATCH: from_scratch,
    studies.GRADUAL: edge_dendrite_gradual,
    studies.GRADUAL_SCRATCH: from_scratch_gradual,
    studies.RECIPE: edge_dendrite_recipe,
    studies.RECIPE_SCRATCH: from_scratch_recipe,
    studies.GATED: gate_arms.gated,
    studies.GATED_LINEAR: gate_arms.gated_linear,
    studies.REDUCED: grow_arms.reduced,
    studies.REDUCED_LONGER: grow_arms.reduced_longer,
    studies.GROWN: grow_arms.grown,
    studies.GROWN_BY_GRADIENT: grow_arms.grown_by_gradient,
    studies.GROWN_SCRATCH: grow_arms.grown_from_scratch,
    studies.ZEROED: grow_arms.dendrites_zeroed,
    studies.EQUAL_CAPACITY: grow_arms.equal_capacity,
    studies.PERFORATED_AI: perforatedai,
    studies.DENDRITIC: neuroshrink_arms.dendritic,
    studies.PLAIN_GROUPS: neuroshrink_arms.plain_groups,
    studies.NARROW: neuroshrink_arms.narrow,
    studies.UNIFORM_L2: uniform_l2,
    studies.GLOBAL_L2: global_l2,
    studies.GLOBAL_TAYLOR: global_taylor,
}
