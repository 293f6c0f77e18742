"""Which units to keep, learned by gradient: gates on all units are trained against the loss and a parameter budget."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from edge_dendrite.compress.batches import Batch, endless
from edge_dendrite.compress.coupling.find import Coupling
from edge_dendrite.compress.forward import forward
from edge_dendrite.compress.plan import find_tensor
from edge_dendrite.compress.scores.activation import separate_steps
from edge_dendrite.compress.scores.expected_parameters import ExpectedParameters
from edge_dendrite.compress.scores.gates import GatedWeights, HardConcrete, StraightThrough
from edge_dendrite.compress.scores.importance import Loss, loss_gradients, with_gradients
from edge_dendrite.config import MaskConfig
from edge_dendrite.errors import PruneError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.train.evaluate import evaluating


@dataclass(frozen=True)
class LearnedMasks:
    """What training the gates gave.

    keep: for each group the probability with which each unit is needed, (num_units,) in float64; 1 for locked groups.
    expected_parameters: of the network under these gates. weights: parameters and buffers by name as they were trained
    along, empty if they were not.
    """

    keep: list[torch.Tensor]
    expected_parameters: float
    weights: dict[str, torch.Tensor]


def learn_masks(
    module: nn.Module,
    coupling: Coupling,
    batches: Iterable[Batch],
    loss: Loss,
    config: MaskConfig | None = None,
    *,
    max_parameters: float,
    locked: Collection[int] = (),
    progress: Progress = silent,
) -> LearnedMasks:
    """Train a gate for every unit so that the loss is small with `max_parameters` expected parameters.

    Every step draws the gates at random, multiplies the weights that read a unit with its gate, and descends on the
    loss, plus multiplier * excess + penalty / 2 * excess**2, where excess is the share of all parameters by which the
    expected number is above the budget, and the multiplier grows with it (method of multipliers; Nocedal and Wright
    2006, chapter 17). With frozen weights the network runs in evaluation mode, otherwise in the modes that it has.
    batches: (inputs, targets), read again when they run out. The same seed gives the same masks.
    `module` ends as it was, bit for bit. Raises PruneError without batches, and when the loss stops being finite.
    """
    config = config or MaskConfig()
    training = _Training(module, coupling, config, max_parameters, locked)
    with training.borrowed(), separate_steps(coupling):
        return training.run(endless(batches), loss, progress)


class _Training:
    """One run: logits, weights, optimizer, multiplier."""

    def __init__(
        self,
        module: nn.Module,
        coupling: Coupling,
        config: MaskConfig,
        max_parameters: float,
        locked: Collection[int],
    ) -> None:
        self._module, self._config, self._max_parameters = module, config, max_parameters
        self._expected = ExpectedParameters(coupling)
        self._gated = GatedWeights(coupling, locked)
        self._kind = HardConcrete(config.temperature) if config.method == "l0" else StraightThrough()
        trained = [name for name, one in module.named_parameters() if one.requires_grad and config.train_weights]
        self._used = {name: _parameter(module, name) for name in sorted({*self._gated.names, *trained})}
        self._weights = {name: used.detach().clone() for name, used in self._used.items()}
        device = next((used.device for used in self._used.values()), torch.device("cpu"))
        start = self._kind.logit_of(config.open_probability)
        self._logits = torch.full((self._gated.num_units,), start, device=device, requires_grad=True)
        parameters = [{"params": [self._logits], "lr": config.learning_rate}]
        if config.train_weights:
            weights = [self._weights[name].requires_grad_() for name in trained]
            parameters.append({"params": weights, "lr": config.weight_learning_rate})
        self._optimizer = torch.optim.Adam(parameters)
        self._multiplier = 0.0
        self._generator = torch.Generator().manual_seed(config.seed)

    @contextlib.contextmanager
    def borrowed(self) -> Iterator[None]:
        """Whatever happens meanwhile, the network's parameters and buffers end as they were."""
        tensors = [*self._used.values(), *self._module.buffers()]
        before = [tensor.detach().clone() for tensor in tensors]
        try:
            with contextlib.nullcontext() if self._config.train_weights else evaluating(self._module):
                yield
        finally:
            with torch.no_grad():
                for tensor, value in zip(tensors, before, strict=True):
                    tensor.copy_(value)

    def run(self, stream: Iterator[Batch], loss: Loss, progress: Progress) -> LearnedMasks:
        steps = self._config.num_steps
        with _seeded(self._config.seed, self._logits.device), with_gradients(self._used.values()):
            for step in range(steps):
                progress("learning masks", step, steps)
                self._step(step, next(stream), loss)
        progress("learning masks", steps, steps)
        with torch.no_grad():
            keep = [one.cpu() for one in self._gated.per_group(self._kind.open_probability(self._logits.double()))]
        if not all(bool(torch.isfinite(one).all()) for one in keep):
            raise self._not_finite(steps - 1, "a gate")
        return LearnedMasks(keep, float(self._expected(keep)), self._trained_state())

    def _step(self, step: int, batch: Batch, loss: Loss) -> None:
        inputs, targets = batch
        noise = torch.rand(len(self._logits), generator=self._generator).clamp(1e-6, 1.0 - 1e-6)
        gates = self._kind.draw(self._logits, noise.to(self._logits))
        gated = self._gated.apply(self._weights, gates)
        _write(self._used, gated)
        gradients = self._gradients(step, loss(forward(self._module, inputs), targets))
        excess = self._excess()
        budget = self._multiplier * excess + 0.5 * self._config.penalty * excess**2
        if not math.isfinite(float(budget.detach())):
            raise self._not_finite(step, "a gate")
        self._optimizer.zero_grad(set_to_none=True)
        differentiable = [name for name in gradients if gated[name].requires_grad]
        torch.autograd.backward(
            [budget, *(gated[name] for name in differentiable)],
            [None, *(gradients[name] for name in differentiable)],
        )
        self._optimizer.step()
        self._multiplier = max(0.0, self._multiplier + self._rate * float(excess.detach()))

    @property
    def _rate(self) -> float:
        """How fast the multiplier grows: by `penalty` for the excess of a tenth of all steps."""
        return 10.0 * self._config.penalty / self._config.num_steps

    def _excess(self) -> torch.Tensor:
        keep = self._gated.per_group(self._kind.open_probability(self._logits))
        return (self._expected(keep) - self._max_parameters) / max(self._expected.total, 1)

    def _gradients(self, step: int, value: torch.Tensor) -> dict[str, torch.Tensor]:
        gradients = loss_gradients(value, self._used)
        if not math.isfinite(float(value.detach())):
            raise self._not_finite(step, "the loss")
        return gradients

    def _not_finite(self, step: int, what: str) -> PruneError:
        return PruneError(
            f"learned masks: {what} became NaN or infinite in step {step + 1} of {self._config.num_steps}; lower the "
            f"learning rate ({self._config.learning_rate:g}), or look for NaN in the data and the weights"
        )

    def _trained_state(self) -> dict[str, torch.Tensor]:
        if not self._config.train_weights:
            return {}
        state = {name: weight.detach().clone() for name, weight in self._weights.items()}
        return state | {name: buffer.detach().clone() for name, buffer in self._module.named_buffers()}


def _parameter(module: nn.Module, name: str) -> torch.Tensor:
    found = find_tensor(module, name)
    assert found is not None, f"{name}: the coupling is of another network"
    return found


@torch.no_grad()
def _write(used: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in used.items():
        tensor.copy_(values[name])


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Dropout and its like from this seed; the generators of the caller go on as if nothing had been."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
