"""Growing: dendrites are added to neurons that still err, trained on that error first.

    grower = Grower(network, GrowConfig(max_parameters=6_000))
    for epoch in range(60):
        train_one_epoch(network, optimizer)
        if grower.observe(validate(network)):
            new = grower.grow(batches)
            if new:
                optimizer.add_param_group({"params": new})
        if grower.is_done:
            break
    grower.finish(lambda: validate(network))

Source: cascade correlation (Fahlman and Lebiere 1990), with the pools at the neurons of any layer and ordinary
backpropagation through everything afterwards: no gradient is cut anywhere.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from edge_dendrite.compress.batches import Batch, once
from edge_dendrite.compress.connections.dense_layers import names_of
from edge_dendrite.compress.dendrites.best_weights import BestWeights
from edge_dendrite.compress.dendrites.candidates import train_candidates
from edge_dendrite.compress.dendrites.finishing import finish_
from edge_dendrite.compress.dendrites.least_squares import ridge
from edge_dendrite.compress.dendrites.samples import LayerSamples, collect, dense_layer_of
from edge_dendrite.compress.dendrites.sites import Sites, find_sites, insert, opened
from edge_dendrite.compress.forward import forward
from edge_dendrite.compress.layers.dendrites import Dendrites, new_dendrites, set_dendrites_, sizes_of
from edge_dendrite.compress.plan import Plan
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
        self._sites: Sites | None = None
        self._best, self._waited = -math.inf, 0
        self._best_weights = BestWeights(module)
        self._is_done = self._is_spent = self._is_on_trial = False

    @property
    def is_done(self) -> bool:
        """Whether growing has come to its end: the parameters are used up, nothing was found to add, or the last growth
        had its `patience` epochs and brought no gain, so that `finish` takes it back.

        `observe` still remembers the best weights then, and never says again that it is time to grow. A call of `grow`
        goes on all the same.
        """
        return self._is_done

    def observe(self, metric: float) -> bool:
        """Tell the validation metric after an epoch, larger is better; True when it is time to grow.

        False for good once it `is_done`. The weights of the best epoch are remembered. A metric that is not finite
        brings them back; an optimizer with moments has to be made anew then, for they are not finite either.
        """
        if not math.isfinite(metric):
            self._best_weights.bring_back()
            self._waited += 1
        elif metric > self._best + self._config.min_gain:
            self._best, self._waited, self._is_on_trial = metric, 0, False
            self._best_weights.keep()
        else:
            self._waited += 1
        is_time = self._waited >= self._config.patience
        self._is_done |= is_time and (self._is_on_trial or self._is_spent)
        return is_time and not self._is_done

    def grow(self, batches: Iterable[Batch], loss: Loss = functional.cross_entropy) -> list[nn.Parameter]:
        """Return to the best weights that `observe` was told of and add dendrites where they help most for their cost,
        at one layer after the other, none of them twice, each time on the errors that are left.

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
            taken = once(batches, self._config.num_batches)
            sites = self._found(taken)
            new: list[nn.Parameter] = []
            filled: list[str] = []
            with opened(self.module, sites.blocks):
                while len(filled) < self._config.num_layers and sites.fields.keys() - filled:
                    found = self._grow(sites, filled, taken, loss)
                    if not found:
                        break
                    new += found
                    filled.append(self.growths[-1].layer)
                self._is_spent = not any(self._room(name) for name in sites.fields)
            self._is_done, self._is_on_trial = not new, bool(new)
            return new

    def _grow(self, sites: Sites, filled: Sequence[str], batches: Sequence[Batch], loss: Loss) -> list[nn.Parameter]:
        """With all blocks open. filled: layers that got dendrites in this growth."""
        fields = {name: one for name, one in sites.fields.items() if name not in filled and self._room(name)}
        before = self._loss(batches, loss)
        if not math.isfinite(before):
            raise PruneError(f"the loss on the training batches is {before}; look for NaN in the data")
        if not fields:
            return self._nothing(before, "no parameters are left")
        if self._config.mode == "gradient":
            return self._insert_random(list(fields), before, batches, loss)
        seed = self._config.seed + len(self.growths)
        samples = collect(self.module, fields, batches, self._config.num_samples, seed, loss)
        tried = []
        for number, name in enumerate(fields):
            self._progress("training candidates", number, len(fields))
            tried.append(self._tried(name, samples[name], before, batches, loss))
        self._progress("training candidates", len(fields), len(fields))
        return self._insert_best([one for one in tried if one is not None], before)

    def finish(self, validate: Callable[[], float]) -> Plan:
        """Return to the best weights, remove dendrites whose zeroing costs nothing, and join what is left.

        validate: the metric of the network as it is now, on validation data. Returns the plan that gives a fresh
        network this shape. The caller's optimizer is of no use afterwards; one may grow on with a new one. Raises
        PruneError when one layer has dendrites of several activations.
        """
        self._return_to_best()
        plan = finish_(self.module, validate)
        self._best_weights.keep()
        self._waited = 0
        return plan

    def _found(self, batches: Sequence[Batch]) -> Sites:
        if self._sites is None:
            self._sites = find_sites(self.module, batches[0][0], self._config.layers)
            self.kept = self._sites.kept
        if not self._sites.fields:
            raise PruneError(f"no layer of this network can have dendrites: {names_of(self.kept)}")
        return self._sites

    def _room(self, name: str) -> int:
        """How many dendrites the layer may get."""
        each = 1 + sum(sizes_of(self._layer(name)))
        if self._config.max_parameters is None:
            return self._config.num_dendrites
        left = self._config.max_parameters - sum(one.numel() for one in self.module.parameters())
        return max(0, min(self._config.num_dendrites, left // each))

    def _layer(self, name: str) -> Any:
        return dense_layer_of(self.module.get_submodule(name))

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
        made = new_dendrites(self._layer(name), count, config.activation)
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
        take_away = insert(self.module, name, made)
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
            take_away()
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
        self, names: list[str], before: float, batches: Sequence[Batch], loss: Loss
    ) -> list[nn.Parameter]:
        """Dendrites with small random weights at the layer that can have the most of them; training does the rest.

        Of several the one that got some least often, and of these the smallest.
        """
        generator = torch.Generator().manual_seed(self._config.seed + len(self.growths))
        times = Counter(one.layer for one in self.growths)
        keys = {name: (-self._room(name), times[name], math.prod(sizes_of(self._layer(name)))) for name in names}
        for name in sorted(names, key=keys.__getitem__):
            made: Any = new_dendrites(self._layer(name), self._room(name), self._config.activation)
            count, (num_inputs, num_neurons) = made.soma.weight.shape[1], sizes_of(self._layer(name))
            set_dendrites_(
                made,
                (2.0 * torch.rand(count, num_inputs, generator=generator) - 1.0) / num_inputs**0.5,
                torch.zeros(count),
                # Not zero: a dendrite that is born without any effect gets no gradient.
                0.1 * torch.randn(num_neurons, count, generator=generator) / count**0.5,
            )
            take_away = self._insert(name, made)
            try:
                after = self._loss(batches, loss)
            except PruneError as error:
                take_away()
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
        assert self._sites is not None
        del self._sites.fields[name]
        self.kept[name] = str(error)

    def _insert(self, name: str, made: Any) -> Callable[[], None]:
        made.branches.requires_grad_(not self._config.freeze)
        return insert(self.module, name, made)

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

    def _return_to_best(self) -> None:
        """As the metrics say; where none was told yet, what is there now is the best: its training must not be lost."""
        if self._best == -math.inf:
            self._best_weights.keep()
        self._best_weights.bring_back()


@dataclass(frozen=True)
class _Trial:
    name: str
    dendrites: Any
    correlation: float
    loss: float
    gain: float
