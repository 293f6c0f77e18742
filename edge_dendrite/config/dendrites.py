"""Branches, dendrites that grow, gates, and the recipe that puts methods together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_dendrite.config.base import Config
from edge_dendrite.config.pruning import PruneConfig
from edge_dendrite.errors import ConfigError

BRANCH_ACTIVATIONS = ("relu", "tanh", "sigmoid")
GROW_MODES = ("correlation", "gradient")
LINEAR, BRANCHES = BYPASSES = ("linear", "branches")


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
        self._check_names("layers")
        self._require("block_size", int, 2, 10**6)
        self._require("min_saving", float, 0.0, 0.9999)
        self._require("num_batches", int, 1, 10**6)
        self._require("num_samples", int, 64, 10**6)
        self._require("seed", int, 0, 2**31 - 1)


@dataclass(frozen=True)
class GrowConfig(Config):
    """Dendrites that are added where a network still errs (compress/dendrites/grow.py).

    mode: "correlation" trains candidates on the error that neurons still make; "gradient" adds random ones and leaves
    the rest to ordinary training. activation: of the dendrites: relu, tanh or sigmoid. num_dendrites: at most so many
    at one layer in one growth. num_layers: that get some in one growth, one after the other, none of them twice.
    num_candidates: pool of each neuron.
    freeze: dendrites keep the weights that they were added with; what the neurons make of them is trained, and so is
    everything before them.
    layers: names (fqn) or regular expressions of layers that may get some; empty for all. A recurrent layer or
    attention of torch is named whole (`rnn`, `attn`) or by projection (`rnn.l0`, `attn.q_proj`). max_parameters: that
    the network may have in the end; None for no limit. patience: epochs without gain after which it is time to grow.
    min_gain: what counts as one. candidate_steps, learning_rate: of the candidates' training. num_batches and
    num_samples: training batches, and positions in them, on which candidates are trained.
    """

    mode: str = "correlation"
    activation: str = "relu"
    num_dendrites: int = 8
    num_layers: int = 1
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
        self._check_bool("freeze")
        self._check_names("layers")
        if self.max_parameters is not None:
            self._require("max_parameters", int, 1, 10**15)
        for name in ("num_dendrites", "num_layers", "num_candidates", "patience", "candidate_steps", "num_batches"):
            self._require(name, int, 1, 10**6)
        self._require("num_samples", int, 64, 10**6)
        self._require("min_gain", float, 0.0, 1e6)
        self._require("learning_rate", float, 0.0, 1e3, open_low=True)
        self._require("seed", int, 0, 2**31 - 1)


@dataclass(frozen=True)
class GateConfig(Config):
    """Blocks that run only for inputs that need them (compress/dendrites/gate.py).

    blocks: names (fqn) or regular expressions of the blocks; empty for the outermost ones that can be and have between
    min_share and max_share of the network's multiply-accumulates. hidden: width of each gate's hidden layer.
    bypass: what closed blocks do instead: "linear", one map for each position (the identity where sizes agree), or
    "branches", the block with num_branches dendritic branches for each field in the place of its layers.
    target: share of the work of gated blocks that an input costs on average; the loss decides which blocks do it.
    weight: of the penalty for more or less. warm_up: training steps in which the target comes down from 1.
    num_batches and num_samples: training batches, and positions in them, to which bypasses are fitted.
    """

    blocks: tuple[str, ...] = ()
    hidden: int = 8
    bypass: str = LINEAR
    num_branches: int = 1
    target: float = 0.5
    weight: float = 16.0
    warm_up: int = 500
    min_share: float = 0.05
    max_share: float = 0.8
    num_batches: int = 16
    num_samples: int = 8192

    def __post_init__(self) -> None:
        self._check_names("blocks")
        self._require("hidden", int, 1, 4096)
        self._require_one_of("bypass", BYPASSES)
        self._require("num_branches", int, 1, 64)
        self._require("warm_up", int, 0, 10**9)
        for name in ("target", "min_share", "max_share"):
            self._require(name, float, 0.0, 1.0)
        self._require("weight", float, 0.0, 1e6, open_low=True)
        self._require("num_batches", int, 1, 10**6)
        self._require("num_samples", int, 64, 10**6)


@dataclass(frozen=True)
class RecipeConfig(Config):
    """Pruning, branching and growing, as short trials prefer (compress/recipe.py).

    branch_first: candidates are branched down to so many times the budget, then pruned; beside them stands pruning
    alone. widths: layers' widths become multiples of one of these. dendrite_share: the part of the budget that one more
    candidate keeps for dendrites; 0 for none. trial_steps: of the first round, at most; the second has twice as many,
    and both together at most as many as the network is trained for. The winner goes on from its trial where that is at
    most a part trial_share of all steps, and else starts again, without dendrites. trial_batch_size,
    trial_learning_rate: of the trials. prune, branch, grow: settings of the methods; round_to and max_parameters are
    the recipe's. seed: of the trials' batches.
    """

    branch_first: tuple[float, ...] = (2.0, 4.0, 8.0)
    widths: tuple[int, ...] = (8, 4, 2)
    dendrite_share: float = 0.15
    trial_steps: int = 300
    trial_share: float = 0.25
    trial_batch_size: int = 64
    trial_learning_rate: float = 3e-3
    prune: PruneConfig = field(default_factory=PruneConfig)
    branch: BranchConfig = field(default_factory=BranchConfig)
    grow: GrowConfig = field(default_factory=lambda: GrowConfig(num_layers=4))
    seed: int = 0

    def __post_init__(self) -> None:
        first, widths = self.branch_first, self.widths
        if not isinstance(first, tuple) or not all(type(one) in (int, float) and 1 <= one <= 1e4 for one in first):
            raise ConfigError(f"RecipeConfig: branch_first must be a tuple of numbers of at least 1, not {first!r}")
        if not isinstance(widths, tuple) or not widths or not all(type(n) is int and 0 < n <= 1024 for n in widths):
            raise ConfigError(f"RecipeConfig: widths must be a tuple of numbers from 1 to 1024, not {widths!r}")
        self._require("dendrite_share", float, 0.0, 0.9)
        self._require("trial_steps", int, 1, 10**6)
        self._require("trial_share", float, 0.0, 0.9, open_low=True)
        self._require("trial_batch_size", int, 2, 10**6)
        self._require("trial_learning_rate", float, 0.0, 1e3, open_low=True)
        self._require("seed", int, 0, 2**31 - 1)
        if isinstance(self.grow, GrowConfig) and self.grow.max_parameters is not None:
            raise ConfigError("RecipeConfig: grow has max_parameters, which is the budget's; leave it out")
        for name, kind in _RECIPE_PARTS.items():
            if not isinstance(getattr(self, name), kind):
                raise ConfigError(f"RecipeConfig: {name} must be a {kind.__name__}, not {getattr(self, name)!r}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RecipeConfig:
        """As Config.from_dict; nested dicts for prune, branch and grow are laid over the recipe's own."""
        defaults = cls()
        built = {
            key: _RECIPE_PARTS[key].from_dict({**getattr(defaults, key).to_dict(), **value})
            if key in _RECIPE_PARTS and isinstance(value, Mapping)
            else value
            for key, value in values.items()
        }
        return super().from_dict(built)


_RECIPE_PARTS: dict[str, type[Config]] = {"prune": PruneConfig, "branch": BranchConfig, "grow": GrowConfig}
