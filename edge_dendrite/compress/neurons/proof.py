"""Values prove a cut: the cut network and the masked original have to return the same numbers."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from torch import nn

from edge_dendrite.compress.agreement import difference
from edge_dendrite.compress.coupling.find import Coupling
from edge_dendrite.compress.coupling.sizes import quiet
from edge_dendrite.compress.forward import Inputs, first_samples, forward, tensors_of
from edge_dendrite.compress.neurons.edits import build_plan
from edge_dendrite.compress.neurons.masked import masked_outputs
from edge_dendrite.compress.neurons.selection import Selection
from edge_dendrite.compress.plan import cut_copy
from edge_dendrite.compress.unchanged import left_unchanged
from edge_dendrite.errors import PruneError
from edge_dendrite.train.evaluate import evaluating


@torch.no_grad()
def check_repeatable(original: nn.Module, module: nn.Module, coupling: Coupling, inputs: Inputs) -> None:
    """Raise PruneError unless the traced graph of `module`, with every unit, returns what `original` does.

    module: `original`, or the copy of it in which layers were replaced by equal ones.
    """
    whole: list[np.ndarray] = [np.ones(group.num_units, bool) for group in coupling.groups]
    with evaluating(original), left_unchanged(original), quiet():
        seen = tensors_of(forward(original, inputs))
    problem = difference(masked_outputs(module, coupling, whole, inputs), seen)
    if problem is not None:
        raise PruneError(
            f"the network does not return what its own traced graph does: {problem}. Is something random in it in "
            "evaluation mode, does its forward depend on what it was called with before, or has it hooks?"
        )


def problem_of(module: nn.Module, selection: Selection, inputs: Inputs) -> str | None:
    """Why the network cut to `selection` is not the masked original; that it runs would prove nothing.

    Looked at twice: as it is, and with random weights, since an error may not show where trained weights are small.
    None when both agree.
    """
    problem = _problem(module, selection, inputs)
    if problem is not None:
        return problem
    lively = _with_random_weights(module)
    return _problem(lively, selection, inputs) or _problem_of_use(lively, selection, inputs)


def _problem_of_use(module: nn.Module, selection: Selection, inputs: Inputs) -> str | None:
    """Whether the cut network fails where the original does not: in training mode, and for a single sample."""
    nothing = [np.zeros(group.num_units) for group in selection.coupling.groups]
    cut = cut_copy(module, build_plan(module, selection, nothing))
    for way, given, training in (
        ("in training mode", inputs, True),
        ("for a single sample", first_samples(inputs, 1), False),
    ):
        error = _failure(cut, given, training)
        if error is not None and _failure(module, given, training) is None:
            return f"the pruned network fails {way} ({error}), where other parts of its forward run"
    return None


@torch.no_grad()
def _failure(module: nn.Module, inputs: Inputs, training: bool) -> str | None:
    with evaluating(module), left_unchanged(module), quiet():
        module.train(training)
        try:
            forward(module, inputs)
        except Exception as error:  # whatever the user's forward raises
            return told(error)
    return None


@torch.no_grad()
def _problem(module: nn.Module, selection: Selection, inputs: Inputs) -> str | None:
    coupling = selection.coupling
    nothing = [np.zeros(group.num_units) for group in coupling.groups]
    cut = cut_copy(module, build_plan(module, selection, nothing))
    wanted = masked_outputs(module, coupling, selection.alive, inputs)
    with evaluating(cut), quiet():
        try:
            seen = tensors_of(forward(cut, inputs))
        except Exception as error:  # any failure of the user's forward means that the cut was wrong
            return (
                f"the pruned network fails at its forward ({told(error)}). A size that is kept outside of the layers "
                "(in a view, an attribute) is the usual reason"
            )
    return difference(wanted, seen)


def told(error: Exception) -> str:
    """An error in one line."""
    first_line = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first_line}"


@torch.no_grad()
def _with_random_weights(module: nn.Module) -> nn.Module:
    """A copy in which every floating-point parameter is random, of a size that keeps activations in their range."""
    lively = copy.deepcopy(module)
    generator = torch.Generator().manual_seed(0)
    for parameter in lively.parameters():
        if not parameter.is_floating_point():
            continue
        if parameter.dim() < 2:
            values = torch.rand(parameter.shape, generator=generator) + 0.5
        else:
            fan_in = max(parameter[0].numel(), 1)
            values = torch.randn(parameter.shape, generator=generator) / math.sqrt(fan_in)
        parameter.copy_(values.to(parameter))
    return lively
