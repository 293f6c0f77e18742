"""What is removed, and how much."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_dendrite.config.base import Config
from edge_dendrite.errors import ConfigError

SCORES = ("taylor", "l1", "l2", "bn_scale", "lamp", "fpgm", "activation", "random")
LEARNED = "learned"
MASK_METHODS = ("l0", "straight_through")
SCOPES = ("global", "type", "layer")


@dataclass(frozen=True)
class Budget(Config):
    """How small the network must become; exactly one of these.

    pruning_ratio: fraction of the parameters to remove, 0 to 1 (exclusive). max_parameters: parameters that may stay.
    macs_ratio: fraction of the multiply-accumulates to remove. max_macs: multiply-accumulates that may stay.
    max_onnx_bytes: size that the exported file may have.
    max_drop: how much worse the metric may be on validation data, 0.01 for one point of accuracy; the smallest network
    that keeps it is searched by bisection.
    """

    pruning_ratio: float | None = None
    max_parameters: int | None = None
    macs_ratio: float | None = None
    max_macs: int | None = None
    max_onnx_bytes: int | None = None
    max_drop: float | None = None

    def __post_init__(self) -> None:
        given = [one.name for one in dataclasses.fields(self) if getattr(self, one.name) is not None]
        if len(given) != 1:
            names = ", ".join(one.name for one in dataclasses.fields(self))
            raise ConfigError(f"Budget: give exactly one of {names}; given: {', '.join(given) or 'none'}")
        if given[0] in ("pruning_ratio", "macs_ratio"):
            self._require(given[0], float, 0.0, 0.9999)
        elif given[0] == "max_drop":
            self._require(given[0], float, 0.0, 1e6)
        else:
            self._require(given[0], int, 1, 10**15)

    @property
    def cost(self) -> str:
        """What is counted while units are chosen: "parameters" or "macs"."""
        return "macs" if self.macs_ratio is not None or self.max_macs is not None else "parameters"

    def resolve(self, amount: float) -> float:
        """What may stay of `amount` parameters or multiply-accumulates (see `cost`)."""
        for limit in (self.max_parameters, self.max_macs):
            if limit is not None:
                return limit
        ratio = self.pruning_ratio if self.macs_ratio is None else self.macs_ratio
        if ratio is None:
            raise ConfigError(
                "Budget: max_onnx_bytes and max_drop do not count here; give pruning_ratio or max_parameters"
            )
        return round(amount * (1.0 - ratio))


@dataclass(frozen=True)
class LayerRule(Config):
    """Other settings for some layers; the first rule that names a layer holds.

    layer: the layer's name in the network (fqn), or a regular expression that matches all of it.
    pruning_ratio: the fraction of its units to remove, whatever the budget; 0 leaves the layer alone.
    min_units, round_to: as in PruneConfig, for these layers.
    """

    layer: str
    pruning_ratio: float | None = None
    min_units: int | None = None
    round_to: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.layer, str) or not self.layer:
            raise ConfigError(f"LayerRule: layer must be the name of a layer, not {self.layer!r}")
        self._check_expression(self.layer)
        if self.pruning_ratio is not None:
            self._require("pruning_ratio", float, 0.0, 0.9999)
        for name in ("min_units", "round_to"):
            if getattr(self, name) is not None:
                self._require(name, int, 1, 10**6)


@dataclass(frozen=True)
class MaskConfig(Config):
    """Masks that are learned by gradient: a gate on every unit, opened or closed at random while it is trained.

    method: "l0" (hard concrete gates) or "straight_through" (binary gates). num_steps: batches, each one step of Adam
    with `learning_rate` on the gates' logits. temperature: of the hard concrete gates. penalty: weight of the budget
    beside the loss. open_probability: with which every gate starts.
    train_weights: train the network's weights too, with `weight_learning_rate`.
    """

    method: str = "straight_through"
    num_steps: int = 300
    learning_rate: float = 0.1
    temperature: float = 2 / 3
    penalty: float = 10.0
    open_probability: float = 0.9
    train_weights: bool = False
    weight_learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        self._require_one_of("method", MASK_METHODS)
        self._require("num_steps", int, 1, 10**7)
        for name in ("learning_rate", "temperature", "penalty", "weight_learning_rate"):
            self._require(name, float, 0.0, 1e4, open_low=True)
        self._require("open_probability", float, 0.01, 0.99)
        self._check_bool("train_weights")
        self._require("seed", int, 0, 2**31 - 1)


@dataclass(frozen=True)
class PruneConfig(Config):
    """Which units go.

    score: what a unit is worth (importance.py): taylor, l1, l2, bn_scale, lamp, fpgm, activation, random; or "learned":
    masks that are trained for the budget, as `masks` says (learned_masks.py; budgets of parameters only, one round).
    scope: layers compete with each other ("global"), within their type ("type": linear, convolutions), or every layer
    loses the same share ("layer").
    num_rounds: the budget is approached in so many rounds; scores are computed anew before each, on what is left.
    num_batches: training batches over which the scores are averaged in a round.
    min_units: units that stay in every layer.
    round_to: widths become multiples of this. Runtimes work on blocks of channels: with the same number of parameters
    an odd width was up to 1.5 times slower than a round one in ONNX Runtime on x86.
    normalised_units: also cut units over which a LayerNorm, an RMSNorm or another mean is taken (the residual width
    of transformers). The others then see another mean, which training has to repair.
    layers: rules for single layers. seed: of random scores.
    """

    score: str = "taylor"
    scope: str = "global"
    num_rounds: int = 8
    num_batches: int = 16
    min_units: int = 2
    round_to: int = 8
    normalised_units: bool = False
    layers: tuple[LayerRule, ...] = ()
    masks: MaskConfig = field(default_factory=MaskConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        self._require_one_of("score", (*SCORES, LEARNED))
        self._require_one_of("scope", SCOPES)
        self._require("num_rounds", int, 1, 1000)
        self._require("num_batches", int, 1, 10**6)
        self._require("min_units", int, 1, 10**6)
        self._require("round_to", int, 1, 10**6)
        self._require("seed", int, 0, 2**31 - 1)
        self._check_bool("normalised_units")
        if not isinstance(self.masks, MaskConfig):
            raise ConfigError(f"PruneConfig: masks must be a MaskConfig, not {self.masks!r}")
        if self.masks.train_weights:
            raise ConfigError("PruneConfig: masks are learned for weights that stay; train_weights is for learn_masks")
        if not isinstance(self.layers, tuple) or not all(isinstance(one, LayerRule) for one in self.layers):
            raise ConfigError(f"PruneConfig: layers must be a tuple of LayerRule, not {self.layers!r}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PruneConfig:
        """As Config.from_dict, with a list of dicts for layers."""
        rules = values.get("layers", ())
        if not isinstance(rules, (list, tuple)):
            raise ConfigError(f"PruneConfig: layers must be a list of rules, not {rules!r}")
        built: dict[str, Any] = {
            "layers": tuple(LayerRule.from_dict(one) if isinstance(one, Mapping) else one for one in rules)
        }
        if isinstance(values.get("masks"), Mapping):
            built["masks"] = MaskConfig.from_dict(values["masks"])
        return super().from_dict({**values, **built})


@dataclass(frozen=True)
class SegmentConfig(Config):
    """Pruning of dendritic segments: groups of a layer's inputs, cut for the whole layer.

    segment_size: channels or features in a segment; behind a flatten a segment is made of whole maps, at least one.
    min_segments: segments that stay in every layer. num_rounds and num_batches are as in PruneConfig.
    """

    segment_size: int = 8
    min_segments: int = 1
    num_rounds: int = 8
    num_batches: int = 16

    def __post_init__(self) -> None:
        self._require("segment_size", int, 1, 10**6)
        self._require("min_segments", int, 1, 10**6)
        self._require("num_rounds", int, 1, 1000)
        self._require("num_batches", int, 1, 10**6)


@dataclass(frozen=True)
class GroupConfig(Config):
    """Learned groups: each group of a layer's neurons keeps inputs of its own.

    num_groups: groups in every layer that becomes grouped; None chooses for each layer among those that were measured
    to pay. round_to: the inputs of a group are a multiple of this, and with num_groups None the neurons too.
    num_batches: training batches over which the scores are averaged.
    """

    num_groups: int | None = None
    round_to: int = 16
    num_batches: int = 16

    def __post_init__(self) -> None:
        if self.num_groups is not None:
            self._require("num_groups", int, 2, 4096)
        self._require("round_to", int, 1, 10**6)
        self._require("num_batches", int, 1, 10**6)


@dataclass(frozen=True)
class TwoOfFourConfig(Config):
    """2:4 sparsity: of every four consecutive inputs of a neuron two are kept.

    board: name of the profile whose runtime skips such zeros.
    score: `magnitude` of the weight, or `taylor`, |weight * gradient| averaged over num_batches training batches.
    """

    score: str = "magnitude"
    num_batches: int = 16
    board: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.board, str):
            raise ConfigError(f"TwoOfFourConfig: board must be the name of a profile, not {self.board!r}")
        if self.score not in ("magnitude", "taylor"):
            raise ConfigError(f"TwoOfFourConfig: score must be 'magnitude' or 'taylor', not {self.score!r}")
        self._require("num_batches", int, 1, 10**6)
