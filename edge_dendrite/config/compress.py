"""The whole of `compress`, and of `export`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from edge_dendrite.config.base import Config
from edge_dendrite.config.dendrites import BranchConfig, RecipeConfig
from edge_dendrite.config.engine import EngineConfig
from edge_dendrite.config.precision import PrecisionConfig
from edge_dendrite.config.pruning import Budget, GroupConfig, PruneConfig, SegmentConfig, TwoOfFourConfig
from edge_dendrite.config.training import DistilConfig, FitConfig
from edge_dendrite.errors import ConfigError

# What is removed: whole neurons, segments of a layer's inputs, segments of each group of neurons, two weights of four;
# or what takes the place of dense layers: branches.
LevelConfig: TypeAlias = PruneConfig | SegmentConfig | GroupConfig | TwoOfFourConfig | BranchConfig
RECIPE = "recipe"
# The recipe finds out which of them to take.
LEVELS: dict[str, type[LevelConfig | RecipeConfig]] = {
    "neurons": PruneConfig,
    "segments": SegmentConfig,
    "groups": GroupConfig,
    "2:4": TwoOfFourConfig,
    "branches": BranchConfig,
    RECIPE: RecipeConfig,
}


@dataclass(frozen=True)
class CompressConfig(Config):
    """The whole of `compress`: train the baseline, prune, distil, and the controls.

    fit: training of the baseline. finetune_epochs: epochs of distillation after pruning; every control gets the
    same total. controls: whether to train them. max_epochs: that the search for a budget of max_drop may take in all:
    finetune_epochs for each size that is tried, six sizes at most; trials of the recipe that lose come on top.
    """

    budget: Budget
    fit: FitConfig = field(default_factory=FitConfig)
    finetune_epochs: int = 10
    prune: LevelConfig | RecipeConfig = field(default_factory=PruneConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)
    controls: bool = True
    max_epochs: int | None = None

    def __post_init__(self) -> None:
        self._require("finetune_epochs", int, 1, 100_000)
        if self.max_epochs is not None:
            self._require("max_epochs", int, self.finetune_epochs, 10**6)
            if isinstance(self.budget, Budget) and self.budget.max_drop is None:
                raise ConfigError("CompressConfig: max_epochs is for the search of a budget of max_drop; leave it out")
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


@dataclass(frozen=True)
class ExportConfig(Config):
    """How a model becomes a bundle. Outputs must agree within atol + rtol * |output| (absolute, relative).

    opset: of the file; None for the best that the target takes, 17 without one. target: a board, or BOARD@SYSTEM, whose
    limits hold. dynamic_batch: the file takes any number of inputs at once. simplify: fold constants and leave out what
    does nothing, where the outputs stay the same. engine: what a TensorRT engine of it is to be, which the bundle tells
    the board. precision: fp16 and int8 have a tolerance of their own, which is measured.
    """

    opset: int | None = None
    target: str | None = None
    dynamic_batch: bool = False
    simplify: bool = True
    atol: float = 1e-4
    rtol: float = 1e-4
    num_reference_cases: int = 4
    engine: EngineConfig = field(default_factory=EngineConfig)
    precision: PrecisionConfig = field(default_factory=PrecisionConfig)

    def __post_init__(self) -> None:
        # 13 to 17 by the TorchScript exporter, from 18 on by the other one; torch 2.13 promises nothing above 23.
        if self.opset is not None:
            self._require("opset", int, 13, 23)
        if self.target is not None and not (isinstance(self.target, str) and self.target):
            raise ConfigError(f"ExportConfig: target must be the name of a board, not {self.target!r}")
        self._check_bool("dynamic_batch")
        self._check_bool("simplify")
        self._require("atol", float, 0.0, 1.0)
        self._require("rtol", float, 0.0, 1.0)
        self._require("num_reference_cases", int, 1, 1000)
        if not isinstance(self.engine, EngineConfig):
            raise ConfigError(f"ExportConfig: engine must be an EngineConfig, not {self.engine!r}")
        if not isinstance(self.precision, PrecisionConfig):
            raise ConfigError(f"ExportConfig: precision must be a PrecisionConfig, not {self.precision!r}")

    @property
    def any_batch(self) -> bool:
        """Whether the file has to take any number of inputs at once: for itself, or for its engine's batches."""
        return self.dynamic_batch or not self.engine.has_fixed_batch

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ExportConfig:
        """As Config.from_dict, with nested dicts for engine and precision."""
        built = dict(values)
        kinds: tuple[tuple[str, type[Config]], ...] = (("engine", EngineConfig), ("precision", PrecisionConfig))
        for name, kind in kinds:
            if isinstance(built.get(name), Mapping):
                built[name] = kind.from_dict(built[name])
        return super().from_dict(built)
