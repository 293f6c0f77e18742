"""What the user wants: frozen data without behaviour. An unknown key is an error that names the nearest known one."""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from edge_dendrite.errors import ConfigError

ConfigType = TypeVar("ConfigType", bound="Config")

SCORES = ("taylor", "l1", "l2", "bn_scale", "lamp", "fpgm", "activation", "random")
LEARNED = "learned"
BRANCH_ACTIVATIONS = ("relu", "tanh", "sigmoid")
GROW_MODES = ("correlation", "gradient")
MASK_METHODS = ("l0", "straight_through")
SCOPES = ("global", "type", "layer")
PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Config:
    """Base of all configs: conversion to and from plain dicts."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict that `from_dict` turns back into an equal config."""
        values: dict[str, Any] = _json_ready(dataclasses.asdict(self))
        return values

    @classmethod
    def from_dict(cls: type[ConfigType], values: Mapping[str, Any]) -> ConfigType:
        """Build from a dict. Raises ConfigError for a key that does not exist, or a value out of range."""
        known = [one.name for one in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
                raise ConfigError(f"{cls.__name__}: unknown key {key!r}; {hint}")
        required = [one.name for one in dataclasses.fields(cls) if one.default is one.default_factory]
        for name in required:
            if name not in values:
                raise ConfigError(f"{cls.__name__}: {name} is missing")
        return cls(**values)

    def _require_one_of(self, name: str, choices: tuple[str, ...]) -> None:
        if getattr(self, name) not in choices:
            raise ConfigError(
                f"{type(self).__name__}: {name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}"
            )

    def _require(self, name: str, kind: type, low: float, high: float, *, open_low: bool = False) -> None:
        value = getattr(self, name)
        allowed = (int, float) if kind is float else (int,)
        is_number = isinstance(value, allowed) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or not (low < value if open_low else low <= value) or value > high:
            bounds = f"{'above' if open_low else 'from'} {low:g} to {high:g}"
            raise ConfigError(f"{type(self).__name__}: {name} must be a {kind.__name__} {bounds}, not {value!r}")


def _json_ready(value: Any) -> Any:
    """Tuples as lists, so that what was saved and read again is equal."""
    if isinstance(value, dict):
        return {key: _json_ready(one) for key, one in value.items()}
    return [_json_ready(one) for one in value] if isinstance(value, (list, tuple)) else value


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
        _check_expression("LayerRule", self.layer)
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
        if not isinstance(self.train_weights, bool):
            raise ConfigError(f"MaskConfig: train_weights must be true or false, not {self.train_weights!r}")
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
        if not isinstance(self.normalised_units, bool):
            raise ConfigError(f"PruneConfig: normalised_units must be true or false, not {self.normalised_units!r}")
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


def _check_expression(where: str, expression: str) -> None:
    try:
        re.compile(expression)
    except re.error as error:
        raise ConfigError(f"{where}: {expression!r} is no regular expression ({error})") from error


def _drop_defaults(config: Config, names: tuple[str, ...]) -> dict[str, Any]:
    defaults = {one.name: one.default for one in dataclasses.fields(config)}
    values = dataclasses.asdict(config)
    return {key: value for key, value in values.items() if key not in names or value != defaults[key]}


@dataclass(frozen=True)
class FitConfig(Config):
    """Training with AdamW and a one-cycle schedule (Smith and Topin, 2018).

    learning_rate is the peak of the cycle. The seed fixes the order of the data and every random layer.
    ema_decay: an exponential moving average of the weights is what is evaluated and what stays; None for none.
    precision: of the forward pass in training: float32, bfloat16 (autocast) or float16 (autocast with scaled
    gradients; CUDA only). Weights, and every evaluation, are float32.
    channels_last: images go through the network with their channels next to each other in memory, which is faster on
    most devices; a network that calls `view` on a map of features fails then, and `reshape` does not.
    patience: stop after so many epochs without a better validation metric, and keep the best epoch; None trains for
    all epochs and keeps the last one. The schedule stays that of all epochs: a run that stops early has not seen
    its small learning rates.
    """

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    seed: int = 0
    ema_decay: float | None = None
    precision: str = "float32"
    channels_last: bool = False
    patience: int | None = None

    def __post_init__(self) -> None:
        self._require("epochs", int, 1, 100_000)
        self._require("batch_size", int, 1, 10**6)
        self._require("learning_rate", float, 0.0, 1e3, open_low=True)
        self._require("weight_decay", float, 0.0, 1e3)
        self._require("seed", int, 0, 2**31 - 1)
        self._require_one_of("precision", PRECISIONS)
        if not isinstance(self.channels_last, bool):
            raise ConfigError(f"FitConfig: channels_last must be true or false, not {self.channels_last!r}")
        if self.ema_decay is not None:
            self._require("ema_decay", float, 0.0, 0.999999, open_low=True)
        if self.patience is not None:
            self._require("patience", int, 1, 100_000)

    def to_dict(self) -> dict[str, Any]:
        """As Config.to_dict, without these at their default: records from before they were there stay equal."""
        return _drop_defaults(self, ("ema_decay", "precision", "channels_last", "patience"))


@dataclass(frozen=True)
class DistilConfig(Config):
    """Distillation of logits (Hinton, Vinyals and Dean 2015, section 2) and of features (train/distil.py).

    weight: share of the teacher in the loss, the labels have the rest. temperature: softening of both logits.
    features: layers whose outputs are learned too: names (fqn), or pairs (student's name, teacher's name) where the
    two differ. feature_weight: how much the mean of their losses adds.
    """

    temperature: float = 4.0
    weight: float = 0.7
    features: tuple[str | tuple[str, str], ...] = ()
    feature_weight: float = 1.0

    def __post_init__(self) -> None:
        self._require("temperature", float, 0.0, 1e3, open_low=True)
        self._require("weight", float, 0.0, 1.0)
        self._require("feature_weight", float, 0.0, 1e6, open_low=True)
        if not isinstance(self.features, tuple):
            raise ConfigError(f"DistilConfig: features must be a tuple of names or pairs, not {self.features!r}")
        for one in self.features:
            names = one if isinstance(one, tuple) and len(one) == 2 else (one,)
            if not all(isinstance(name, str) and name for name in names):
                raise ConfigError(
                    f"DistilConfig: features holds {one!r}; give a layer's name, or (student's name, teacher's name)"
                )

    @property
    def feature_pairs(self) -> tuple[tuple[str, str], ...]:
        """`features` as (student's name, teacher's name)."""
        return tuple((one, one) if isinstance(one, str) else one for one in self.features)

    def to_dict(self) -> dict[str, Any]:
        """As Config.to_dict, without these at their default: records from before they were there stay equal."""
        return _drop_defaults(self, ("features", "feature_weight"))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DistilConfig:
        """As Config.from_dict, with lists for tuples, as JSON has them."""
        features = values.get("features", ())
        if isinstance(features, list):
            features = tuple(tuple(one) if isinstance(one, list) else one for one in features)
        return super().from_dict({**values, "features": features})


@dataclass(frozen=True)
class ExportConfig(Config):
    """How a model becomes a bundle. Outputs must agree within atol + rtol * |output| (absolute, relative)."""

    opset: int = 17
    target: str | None = None
    atol: float = 1e-4
    rtol: float = 1e-4
    num_reference_cases: int = 4

    def __post_init__(self) -> None:
        # Above 17 the TorchScript exporter gives way to the other one, which the bundle's checks do not cover yet.
        self._require("opset", int, 13, 17)
        self._require("atol", float, 0.0, 1.0)
        self._require("rtol", float, 0.0, 1.0)
        self._require("num_reference_cases", int, 1, 1000)


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


@dataclass(frozen=True)
class BranchConfig(Config):
    """Dense layers become dendritic branches, each with a part of the inputs and its own nonlinearity, and a soma.

    activation: of the branches: relu, tanh or sigmoid. num_branches: how many may see one field of inputs (a channel's
    kernel or map, a block); for each layer one of these numbers is chosen, by what it costs and what it breaks.
    block_size: inputs in a block, where neither a kernel nor a map makes a field; the nearest divisor is taken.
    layers: names (fqn) or regular expressions of the layers that may be replaced; empty for all.
    min_saving: a layer is replaced only where at least this fraction of its parameters goes.
    num_batches and num_samples: training batches, and positions in them, on which the branches are fitted to what the
    layer computes. seed: of the choice of positions.
    """

    activation: str = "relu"
    num_branches: tuple[int, ...] = (1, 2, 4)
    block_size: int = 16
    layers: tuple[str, ...] = ()
    min_saving: float = 0.25
    num_batches: int = 16
    num_samples: int = 8192
    seed: int = 0

    def __post_init__(self) -> None:
        self._require_one_of("activation", BRANCH_ACTIVATIONS)
        numbers = self.num_branches
        if not isinstance(numbers, tuple) or not numbers or not all(type(n) is int and 0 < n <= 64 for n in numbers):
            raise ConfigError(f"BranchConfig: num_branches must be a tuple of numbers from 1 to 64, not {numbers!r}")
        if not isinstance(self.layers, tuple) or not all(isinstance(one, str) and one for one in self.layers):
            raise ConfigError(f"BranchConfig: layers must be a tuple of names, not {self.layers!r}")
        for one in self.layers:
            _check_expression("BranchConfig", one)
        self._require("block_size", int, 2, 10**6)
        self._require("min_saving", float, 0.0, 0.9999)
        self._require("num_batches", int, 1, 10**6)
        self._require("num_samples", int, 64, 10**6)
        self._require("seed", int, 0, 2**31 - 1)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BranchConfig:
        """As Config.from_dict, with lists for tuples."""
        return super().from_dict({key: tuple(one) if isinstance(one, list) else one for key, one in values.items()})


@dataclass(frozen=True)
class GrowConfig(Config):
    """Dendrites that are added where a network still errs (compress/dendrites/grow.py).

    mode: "correlation" trains candidates on the error that neurons still make; "gradient" adds random ones and leaves
    the rest to ordinary training. activation: of the dendrites: relu, tanh or sigmoid. num_dendrites: at most so many
    at a time. num_candidates: pool of each neuron. freeze: dendrites keep the weights that they were added with; what
    the neurons make of them is trained, and so is everything before them.
    layers: names (fqn) or regular expressions of layers that may get some; empty for all. max_parameters: that the
    network may have in the end; None for no limit. patience: epochs without gain after which it is time to grow.
    min_gain: what counts as one. candidate_steps, learning_rate: of the candidates' training. num_batches and
    num_samples: training batches, and positions in them, on which candidates are trained.
    """

    mode: str = "correlation"
    activation: str = "relu"
    num_dendrites: int = 8
    num_candidates: int = 4
    freeze: bool = False
    layers: tuple[str, ...] = ()
    max_parameters: int | None = None
    patience: int = 3
    min_gain: float = 0.0
    candidate_steps: int = 300
    learning_rate: float = 0.02
    num_batches: int = 32
    num_samples: int = 8192
    seed: int = 0

    def __post_init__(self) -> None:
        self._require_one_of("mode", GROW_MODES)
        self._require_one_of("activation", BRANCH_ACTIVATIONS)
        if not isinstance(self.freeze, bool):
            raise ConfigError(f"GrowConfig: freeze must be true or false, not {self.freeze!r}")
        if not isinstance(self.layers, tuple) or not all(isinstance(one, str) and one for one in self.layers):
            raise ConfigError(f"GrowConfig: layers must be a tuple of names, not {self.layers!r}")
        for one in self.layers:
            _check_expression("GrowConfig", one)
        if self.max_parameters is not None:
            self._require("max_parameters", int, 1, 10**15)
        for name in ("num_dendrites", "num_candidates", "patience", "candidate_steps", "num_batches"):
            self._require(name, int, 1, 10**6)
        self._require("num_samples", int, 64, 10**6)
        self._require("min_gain", float, 0.0, 1e6)
        self._require("learning_rate", float, 0.0, 1e3, open_low=True)
        self._require("seed", int, 0, 2**31 - 1)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GrowConfig:
        """As Config.from_dict, with lists for tuples."""
        return super().from_dict({key: tuple(one) if isinstance(one, list) else one for key, one in values.items()})


# What is removed: whole neurons, segments of a layer's inputs, segments of each group of neurons, two weights of four;
# or what takes the place of dense layers: branches.
LevelConfig: TypeAlias = PruneConfig | SegmentConfig | GroupConfig | TwoOfFourConfig | BranchConfig
LEVELS: dict[str, type[LevelConfig]] = {
    "neurons": PruneConfig,
    "segments": SegmentConfig,
    "groups": GroupConfig,
    "2:4": TwoOfFourConfig,
    "branches": BranchConfig,
}


@dataclass(frozen=True)
class GateConfig(Config):
    """Blocks that run only for inputs that need them (compress/dendrites/gate.py).

    blocks: names (fqn) or regular expressions of the blocks; empty for the outermost ones that can be and have between
    min_share and max_share of the network's multiply-accumulates. hidden: width of each gate's hidden layer.
    target: share of the gated blocks' multiply-accumulates that may run on average. weight: of the penalty for more.
    warm_up: training steps in which the target comes down from 1.
    num_batches and num_samples: training batches, and positions in them, to which bypasses are fitted.
    """

    blocks: tuple[str, ...] = ()
    hidden: int = 8
    target: float = 0.5
    weight: float = 4.0
    warm_up: int = 1000
    min_share: float = 0.05
    max_share: float = 0.8
    num_batches: int = 16
    num_samples: int = 8192

    def __post_init__(self) -> None:
        if not isinstance(self.blocks, tuple) or not all(isinstance(one, str) and one for one in self.blocks):
            raise ConfigError(f"GateConfig: blocks must be a tuple of names, not {self.blocks!r}")
        for one in self.blocks:
            _check_expression("GateConfig", one)
        self._require("hidden", int, 1, 4096)
        self._require("warm_up", int, 0, 10**9)
        for name in ("target", "min_share", "max_share"):
            self._require(name, float, 0.0, 1.0)
        self._require("weight", float, 0.0, 1e6, open_low=True)
        self._require("num_batches", int, 1, 10**6)
        self._require("num_samples", int, 64, 10**6)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> GateConfig:
        """As Config.from_dict, with lists for tuples."""
        return super().from_dict({key: tuple(one) if isinstance(one, list) else one for key, one in values.items()})


@dataclass(frozen=True)
class RecipeConfig(Config):
    """Several cuts, each by the method that a short trial prefers (compress/recipe.py).

    num_cuts: after which the budget is reached, in equal ratios. trial_steps, trial_batch_size, trial_learning_rate:
    of the training before methods are compared. prune, branch: settings of the methods. seed: of the trials' batches.
    """

    num_cuts: int = 2
    trial_steps: int = 200
    trial_batch_size: int = 64
    trial_learning_rate: float = 1e-3
    prune: PruneConfig = field(default_factory=PruneConfig)
    branch: BranchConfig = field(default_factory=BranchConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        self._require("num_cuts", int, 1, 100)
        self._require("trial_steps", int, 1, 10**6)
        self._require("trial_batch_size", int, 2, 10**6)
        self._require("trial_learning_rate", float, 0.0, 1e3, open_low=True)
        self._require("seed", int, 0, 2**31 - 1)
        for name, kind in (("prune", PruneConfig), ("branch", BranchConfig)):
            if not isinstance(getattr(self, name), kind):
                raise ConfigError(f"RecipeConfig: {name} must be a {kind.__name__}, not {getattr(self, name)!r}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RecipeConfig:
        """As Config.from_dict, with nested dicts for prune and branch."""
        parts: dict[str, type[Config]] = {"prune": PruneConfig, "branch": BranchConfig}
        built = {
            key: parts[key].from_dict(value) if key in parts and isinstance(value, Mapping) else value
            for key, value in values.items()
        }
        return super().from_dict(built)


@dataclass(frozen=True)
class CompressConfig(Config):
    """The whole of `compress`: train the baseline, prune, distil, and the controls.

    fit: training of the baseline. finetune_epochs: epochs of distillation after pruning; every control gets the
    same total. controls: whether to train them.
    """

    budget: Budget
    fit: FitConfig = field(default_factory=FitConfig)
    finetune_epochs: int = 10
    prune: LevelConfig = field(default_factory=PruneConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)
    controls: bool = True

    def __post_init__(self) -> None:
        self._require("finetune_epochs", int, 1, 100_000)
        kinds: dict[str, tuple[type, ...]] = {
            "budget": (Budget,),
            "fit": (FitConfig,),
            "prune": tuple(LEVELS.values()),
            "distil": (DistilConfig,),
            "controls": (bool,),
        }
        for name, allowed in kinds.items():
            if not isinstance(getattr(self, name), allowed):
                names = " or ".join(kind.__name__ for kind in allowed)
                raise ConfigError(f"CompressConfig: {name} must be a {names}, not {getattr(self, name)!r}")

    @property
    def level(self) -> str:
        """The name of what is removed, a key of LEVELS."""
        return next(name for name, kind in LEVELS.items() if isinstance(self.prune, kind))

    def to_dict(self) -> dict[str, Any]:
        """As Config.to_dict; `prune` has the level beside its settings."""
        values = super().to_dict()
        return {**values, "prune": {"level": self.level, **self.prune.to_dict()}, "fit": self.fit.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CompressConfig:
        """As Config.from_dict, with nested dicts for budget, fit, prune (with a key `level`) and distil."""
        parts: dict[str, type[Config]] = {"budget": Budget, "fit": FitConfig, "distil": DistilConfig}
        if isinstance(values.get("prune"), Mapping):
            settings = dict(values["prune"])
            level = settings.pop("level", "neurons")
            if not isinstance(level, str) or level not in LEVELS:
                raise ConfigError(f"CompressConfig: unknown level {level!r}; known: {', '.join(LEVELS)}")
            values = {**values, "prune": settings}
            parts["prune"] = LEVELS[level]
        built = {
            key: parts[key].from_dict(value) if key in parts and isinstance(value, Mapping) else value
            for key, value in values.items()
        }
        if "budget" not in built:
            raise ConfigError("CompressConfig: budget is missing; give for instance {'pruning_ratio': 0.6}")
        return super().from_dict(built)
