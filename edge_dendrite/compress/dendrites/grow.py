"""Growing: dendrites are added to neurons that still err, trained on that error first.

    grower = Grower(network, GrowConfig(max_parameters=6_000))
    for epoch in range(60):
        train_one_epoch(network, optimizer)
        if grower.observe(validate(network)):
            new = grower.grow(batches)
            if new:
                optimizer.add_param_group({"params": new})
    grower.finish(lambda: validate(network))

Source: cascade correlation (Fahlman and Lebiere 1990), with the pools at the neurons of any layer and ordinary
backpropagation through everything afterwards: no gradient is cut anywhere.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.batches import Batch, endless
from edge_dendrite.compress.connections.dense_layers import (
    DenseLayer,
    find_dense_layers,
    is_named,
    names_of,
)
from edge_dendrite.compress.dendrites.candidates import train_candidates
from edge_dendrite.compress.dendrites.fields import Fields, natural_fields
from edge_dendrite.compress.dendrites.least_squares import ridge
from edge_dendrite.compress.dendrites.samples import LayerSamples, collect, dense_layer_of
from edge_dendrite.compress.forward import forward
from edge_dendrite.compress.layers.build import BLOCK_BRANCHES, DENDRITES, SPATIAL_BRANCHES
from edge_dendrite.compress.layers.dendrites import Dendrites, DendriticLayer, joined, new_dendrites, set_dendrites_
from edge_dendrite.compress.plan import LayerChange, Plan, Replace, put_in_place_
from edge_dendrite.config import GrowConfig
from edge_dendrite.errors import PruneError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.train.distributed import num_launched
from edge_dendrite.train.evaluate import evaluating
from edge_dendrite.train.fit import Loss

_MOST_HALVINGS = 6


@dataclass(frozen=True)
class Growth:
    """What one call of `grow` did, or why nothing: layer and num_dendrites are "" and 0 then.

    correlation: the mean of the new dendrites with their neurons' errors, on samples that they were not trained on.
    losses: on the batches that were given, before and with the new dendrites.
    """

    layer: str
    num_dendrites: int
    correlation: float
    losses: tuple[float, float]
    words: str


class Grower:
    """Adds dendrites to `module` in place; the caller keeps the optimizer and the loop.

    module: the network. kept: layers that can have no dendrites, with the reason, known after the first growth.
    growths: what was done.
    """

    def __init__(self, module: nn.Module, config: GrowConfig | None = None, *, progress: Progress = silent) -> None:
        self.module, self._config, self._progress = module, config or GrowConfig(), progress
        self.kept: dict[str, str] = {}
        self.growths: list[Growth] = []
        self._layers: dict[str, Fields] | None = None
        self._best, self._waited = -math.inf, 0
        self._kept_state = self._state()

    def observe(self, metric: float) -> bool:
        """Tell the validation metric after an epoch, larger is better; True when it is time to grow.

        The weights of the best epoch are remembered. A metric that is not finite brings them back; an optimizer with
        moments has to be made anew then, for they are not finite either.
        """
        if not math.isfinite(metric):
            self._restore()
            self._waited += 1
        elif metric > self._best + self._config.min_gain:
            self._best, self._waited = metric, 0
            self._kept_state = self._state()
        else:
            self._waited += 1
        return self._waited >= self._config.patience

    def grow(self, batches: Iterable[Batch], loss: Loss = functional.cross_entropy) -> list[nn.Parameter]:
        """Return to the best weights that `observe` was told of and add dendrites where they help most for their cost.

        batches: training data, as in `prune`. loss: a mean over the batch. Returns the new parameters for the caller's
        optimizer; none where no candidate follows an error more than by chance, none lowers the loss, or the
        parameters are used up: `growths` says which. Parameters of dendrites that were taken back are no longer in the
        network. Raises PruneError when no layer can have dendrites, or the loss is not finite, and for one of several
        processes.
        """
        if num_launched() > 1:
            raise PruneError(f"growing is the work of one process, and {num_launched()} were launched")
        with torch.inference_mode(False), torch.enable_grad():  # trainers call from places without gradients
            self._return_to_best()
            self._waited = 0
            taken = list(itertools.islice(endless(batches), self._config.num_batches))
            fields = {name: one for name, one in self._fields(taken).items() if self._room(name)}
            before = self._loss(taken, loss)
            if not math.isfinite(before):
                raise PruneError(f"the loss on the training batches is {before}; look for NaN in the data")
            if not fields:
                return self._nothing(before, "no parameters are left")
            if self._config.mode == "gradient":
                return self._insert_random(fields, before, taken, loss)
            seed = self._config.seed + len(self.growths)
            samples = collect(self.module, fields, taken, self._config.num_samples, seed, loss)
            tried = []
            for number, name in enumerate(fields):
                self._progress("training candidates", number, len(fields))
                tried.append(self._tried(name, samples[name], before, taken, loss))
            self._progress("training candidates", len(fields), len(fields))
            return self._insert_best([one for one in tried if one is not None], before)

    def finish(self, validate: Callable[[], float]) -> Plan:
        """Return to the best weights, remove dendrites whose zeroing costs nothing, and join what is left.

        validate: the metric of the network as it is now, on validation data. Returns the plan that gives a fresh
        network this shape. The caller's optimizer is of no use afterwards; one may grow on with a new one. Raises
        PruneError when one layer has dendrites of several activations.
        """
        self._return_to_best()
        names = [name for name, part in self.module.named_modules() if isinstance(part, DendriticLayer)]
        edits, lines = [], []
        for name in names:
            layer: Any = self.module.get_submodule(name)
            before = sum(one.soma.weight.shape[1] for one in layer.sets)
            keep = self._needed(layer, validate)
            after = sum(int(mask.sum()) for mask in keep)
            lines.append(LayerChange(f"{name} (dendrites)", before, after, 0.0, 0.0))
            if not after:
                put_in_place_(self.module, layer, layer.layer)
                continue
            one = joined(layer, keep)
            put_in_place_(self.module, layer, one)
            settings = {"sizes": [after], "activation": one.sets[0].activation_name}
            edits.append(Replace(name, DENDRITES, settings))
        self._kept_state, self._waited = self._state(), 0
        return Plan(tuple(edits), tuple(lines))

    def _fields(self, batches: Sequence[Batch]) -> dict[str, Fields]:
        if self._layers is None:
            layers, self.kept = find_dense_layers(self.module, batches[0][0])
            outer = [name for name, part in self.module.named_modules() if isinstance(part, DendriticLayer)]
            self._layers = {}
            for one in layers:
                owner = next((name for name in outer if one.name.startswith(f"{name}.")), None)
                name = owner or one.name
                if owner is not None and one.name != f"{owner}.layer":
                    continue  # dendrites have no dendrites
                if is_named(name, self._config.layers):
                    self._layers[name] = _whole(replace(one, name=name))
                else:
                    self.kept[name] = "it is not among the layers that may grow"
        if not self._layers:
            raise PruneError(f"no layer of this network can have dendrites: {names_of(self.kept)}")
        return self._layers

    def _room(self, name: str) -> int:
        """How many dendrites the layer may get."""
        dense = dense_layer_of(self.module.get_submodule(name))
        each = dense.weight[0].numel() + 1 + len(dense.weight)
        if self._config.max_parameters is None:
            return self._config.num_dendrites
        left = self._config.max_parameters - sum(one.numel() for one in self.module.parameters())
        return max(0, min(self._config.num_dendrites, left // each))

    def _tried(
        self, name: str, samples: LayerSamples, before: float, batches: Sequence[Batch], loss: Loss
    ) -> _Trial | None:
        """Dendrites for one layer, with solved output weights, and the loss that they lead to; not inserted."""
        config, room = self._config, self._room(name)
        inputs_nf = samples.inputs_ngs.flatten(1)
        found = train_candidates(
            inputs_nf,
            samples.errors_nk,
            config.num_candidates,
            config.activation,
            num_steps=config.candidate_steps,
            learning_rate=config.learning_rate,
            seed=config.seed + len(self.growths),
        )
        count = min(room, len(found.neurons))
        if not count:
            return None
        layer = self.module.get_submodule(name)
        made = new_dendrites(dense_layer_of(layer), count, config.activation)
        weight_df, bias_d = found.weight_df[:count], found.bias_d[:count]
        with torch.no_grad():
            sent_nd = made.activation(inputs_nf.float() @ weight_df.T + bias_d)
        # Against the error: the least squares step down the loss, up to a length that a line search finds.
        soma_dk, _ = ridge(sent_nd.double(), -samples.errors_nk.double())
        try:
            after, step = self._best_step(name, made, (weight_df, bias_d, soma_dk.T), before, batches, loss)
        except PruneError as error:
            self._leave_alone(name, error)
            return None
        if step == 0.0:
            return None
        set_dendrites_(made, weight_df, bias_d, soma_dk.T * step)
        cost = sum(one.numel() for one in made.parameters())
        return _Trial(name, made, float(found.correlation_d[:count].mean()), after, (before - after) / cost)

    def _best_step(
        self,
        name: str,
        made: Dendrites,
        weights: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
        before: float,
        batches: Sequence[Batch],
        loss: Loss,
    ) -> tuple[float, float]:
        """(loss, length) of the best step found along the solved output weights; length 0 when none helps."""
        best, length, step = before, 0.0, 1.0
        layer = self.module.get_submodule(name)
        sets = list(layer.sets) if isinstance(layer, DendriticLayer) else []
        grown = DendriticLayer(dense_layer_of(layer), [*sets, made]).train(layer.training)
        put_in_place_(self.module, layer, grown)
        try:
            doubling = True
            for _ in range(2 * _MOST_HALVINGS):
                set_dendrites_(made, weights[0], weights[1], weights[2] * step)
                value = self._loss(batches, loss)
                if value < best:
                    best, length = value, step
                    step = step * 2 if doubling else step / 2
                elif doubling and length == 0.0:
                    doubling, step = False, 0.5
                elif length or step < 0.5**_MOST_HALVINGS:
                    break
                else:
                    step /= 2
        finally:
            put_in_place_(self.module, grown, layer)
        return best, length

    def _insert_best(self, trials: list[_Trial], before: float) -> list[nn.Parameter]:
        if not trials:
            return self._nothing(before, "no candidate follows an error more than by chance and lowers the loss")
        best = max(trials, key=lambda one: one.gain)
        self._insert(best.name, best.dendrites)
        size = best.dendrites.soma.weight.shape[1]
        words = f"{size} dendrites at {best.name}: loss {before:.4g} to {best.loss:.4g}"
        self.growths.append(Growth(best.name, size, best.correlation, (before, best.loss), words))
        return [one for one in best.dendrites.parameters() if one.requires_grad]

    def _insert_random(
        self, fields: dict[str, Fields], before: float, batches: Sequence[Batch], loss: Loss
    ) -> list[nn.Parameter]:
        """Dendrites with small random weights at the layer that can have the most of them; training does the rest."""
        dense = {name: dense_layer_of(self.module.get_submodule(name)) for name in fields}
        generator = torch.Generator().manual_seed(self._config.seed + len(self.growths))
        for name in sorted(fields, key=lambda one: (-self._room(one), dense[one].weight.numel())):
            made: Any = new_dendrites(dense[name], self._room(name), self._config.activation)
            count, num_neurons = made.soma.weight.shape[1], len(dense[name].weight)
            num_inputs = dense[name].weight[0].numel()
            set_dendrites_(
                made,
                (2.0 * torch.rand(count, num_inputs, generator=generator) - 1.0) / num_inputs**0.5,
                torch.zeros(count),
                # Not zero: a dendrite that is born without any effect gets no gradient.
                0.1 * torch.randn(num_neurons, count, generator=generator) / count**0.5,
            )
            self._insert(name, made)
            try:
                after = self._loss(batches, loss)
            except PruneError as error:
                self._restore()
                self._leave_alone(name, error)
                continue
            self.growths.append(Growth(name, count, 0.0, (before, after), f"{count} random dendrites at {name}"))
            return [one for one in made.parameters() if one.requires_grad]
        return self._nothing(before, "no layer can have dendrites in this network's forward")

    def _nothing(self, loss: float, words: str) -> list[nn.Parameter]:
        self.growths.append(Growth("", 0, 0.0, (loss, loss), words))
        return []

    def _leave_alone(self, name: str, error: PruneError) -> None:
        """The network's forward does not bear dendrites there."""
        assert self._layers is not None
        del self._layers[name]
        self.kept[name] = str(error)

    def _insert(self, name: str, made: Any) -> None:
        made.branches.requires_grad_(not self._config.freeze)
        layer: Any = self.module.get_submodule(name)
        if isinstance(layer, DendriticLayer):
            layer.sets.append(made)
        else:
            put_in_place_(self.module, layer, DendriticLayer(layer, [made]).train(layer.training))

    @torch.no_grad()
    def _needed(self, layer: Any, validate: Callable[[], float]) -> list[torch.Tensor]:
        """For each set a mask of the dendrites without which validation gets worse, taken out one by one."""
        metric = validate()
        masks = [torch.ones(one.soma.weight.shape[1], dtype=torch.bool) for one in layer.sets]
        order = [
            (float(column.norm()), number, at)
            for number, one in enumerate(layer.sets)
            for at, column in enumerate(one.soma.weight.flatten(1).T)
        ]
        for _, number, at in sorted(order):
            column = layer.sets[number].soma.weight[:, at]
            values = column.clone()
            column.zero_()
            without = validate()
            if without >= metric:
                metric, masks[number][at] = without, False
            else:
                column.copy_(values)
        return masks

    @torch.no_grad()
    def _loss(self, batches: Sequence[Batch], loss: Loss) -> float:
        try:
            with evaluating(self.module):
                values = [float(loss(forward(self.module, inputs), targets)) for inputs, targets in batches]
        except Exception as error:  # whatever the user's forward or loss raises
            raise PruneError(
                f"the network fails at its forward ({type(error).__name__}: {error}); a forward that reads attributes "
                "of its layers is the usual reason"
            ) from error
        return math.fsum(values) / len(values)

    def _state(self) -> tuple[dict[str, torch.Tensor], dict[str, int]]:
        """(all tensors, number of sets of each layer with dendrites): what a return needs."""
        sets = {name: len(part.sets) for name, part in self.module.named_modules() if isinstance(part, DendriticLayer)}
        return {name: value.detach().clone() for name, value in _tensors(self.module)}, sets

    def _return_to_best(self) -> None:
        """As the metrics say; where none was told yet, what is there now is the best: its training must not be lost."""
        if self._best == -math.inf:
            self._kept_state = self._state()
        self._restore()

    @torch.no_grad()
    def _restore(self) -> None:
        """The best weights again, without the dendrites that are younger: they had their time."""
        tensors, sets = self._kept_state
        for name, part in list(self.module.named_modules()):
            if isinstance(part, DendriticLayer) and len(part.sets) > sets.get(name, 0):
                older = list(part.sets)[: sets.get(name, 0)]
                if older:
                    part.sets = nn.ModuleList(older)
                else:
                    put_in_place_(self.module, part, part.layer)
        for name, value in _tensors(self.module):
            if name in tensors:  # buffers can be made by a first forward
                value.copy_(tensors[name])


def _tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


@dataclass(frozen=True)
class _Trial:
    name: str
    dendrites: Any
    correlation: float
    loss: float
    gain: float


def _whole(layer: DenseLayer) -> Fields:
    """All inputs of a neuron, as `field_inputs` gives them: positions of a kernel, maps, or one block."""
    if not layer.is_linear:
        return Fields(layer, SPATIAL_BRANCHES, layer.num_inputs, layer.kernel)
    return natural_fields(layer) or Fields(layer, BLOCK_BRANCHES, 1, layer.num_inputs)
