"""What the user wants: frozen data without behaviour. An unknown key is an error that names the nearest known one."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from edge_dendrite.errors import ConfigError

ConfigType = TypeVar("ConfigType", bound="Config")


@dataclass(frozen=True)
class Config:
    """Base of all configs: conversion to and from plain dicts."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict that `from_dict` turns back into an equal config."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls: type[ConfigType], values: Mapping[str, Any]) -> ConfigType:
        """Build from a dict. Raises ConfigError for a key that does not exist, or a value out of range."""
        known = [one.name for one in dataclasses.fields(cls)]
        for key in values:
            if key not in known:
                close = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(known)}"
                raise ConfigError(f"{cls.__name__}: unknown key {key!r}; {hint}")
        return cls(**values)

    def _require(self, name: str, kind: type, low: float, high: float, *, open_low: bool = False) -> None:
        value = getattr(self, name)
        allowed = (int, float) if kind is float else (int,)
        is_number = isinstance(value, allowed) and not isinstance(value, bool) and math.isfinite(value)
        if not is_number or not (low < value if open_low else low <= value) or value > high:
            bounds = f"{'above' if open_low else 'from'} {low:g} to {high:g}"
            raise ConfigError(f"{type(self).__name__}: {name} must be a {kind.__name__} {bounds}, not {value!r}")


@dataclass(frozen=True)
class Budget(Config):
    """How small the network must become; exactly one of the two.

    pruning_ratio: fraction of the parameters to remove, 0 to 1 (exclusive).
    max_parameters: number of parameters that may stay.
    """

    pruning_ratio: float | None = None
    max_parameters: int | None = None

    def __post_init__(self) -> None:
        if (self.pruning_ratio is None) == (self.max_parameters is None):
            raise ConfigError("Budget: give either pruning_ratio or max_parameters")
        if self.pruning_ratio is not None:
            self._require("pruning_ratio", float, 0.0, 0.9999)
        else:
            self._require("max_parameters", int, 1, 10**12)

    def resolve(self, num_parameters: int) -> int:
        """Number of parameters that may stay of `num_parameters`."""
        if self.max_parameters is not None:
            return self.max_parameters
        assert self.pruning_ratio is not None
        return round(num_parameters * (1.0 - self.pruning_ratio))


@dataclass(frozen=True)
class PruneConfig(Config):
    """Neuron-level pruning by first-order Taylor scores.

    num_rounds: the budget is approached in so many rounds; scores are computed anew before each.
    num_batches: training batches over which the scores are averaged in a round.
    min_units: units that stay in every layer.
    round_to: widths become multiples of this. Runtimes work on blocks of channels: with the same number of parameters
    an odd width was up to 1.5 times slower than a round one in ONNX Runtime on x86.
    """

    num_rounds: int = 8
    num_batches: int = 16
    min_units: int = 2
    round_to: int = 8

    def __post_init__(self) -> None:
        self._require("num_rounds", int, 1, 1000)
        self._require("num_batches", int, 1, 10**6)
        self._require("min_units", int, 1, 10**6)
        self._require("round_to", int, 1, 10**6)


@dataclass(frozen=True)
class FitConfig(Config):
    """Training with AdamW and a one-cycle schedule (Smith and Topin, 2018).

    learning_rate is the peak of the cycle. The seed fixes the order of the data and every random layer.
    """

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        self._require("epochs", int, 1, 100_000)
        self._require("batch_size", int, 1, 10**6)
        self._require("learning_rate", float, 0.0, 1e3, open_low=True)
        self._require("weight_decay", float, 0.0, 1e3)
        self._require("seed", int, 0, 2**31 - 1)


@dataclass(frozen=True)
class DistilConfig(Config):
    """Distillation of logits (Hinton, Vinyals and Dean 2015, section 2).

    weight: share of the teacher in the loss, the labels have the rest. temperature: softening of both logits.
    """

    temperature: float = 4.0
    weight: float = 0.7

    def __post_init__(self) -> None:
        self._require("temperature", float, 0.0, 1e3, open_low=True)
        self._require("weight", float, 0.0, 1.0)


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
class CompressConfig(Config):
    """The whole of `compress`: train the baseline, prune, distil, and the controls.

    fit: training of the baseline. finetune_epochs: epochs of distillation after pruning; every control gets the
    same total. controls: whether to train them.
    """

    budget: Budget
    fit: FitConfig = field(default_factory=FitConfig)
    finetune_epochs: int = 10
    prune: PruneConfig = field(default_factory=PruneConfig)
    distil: DistilConfig = field(default_factory=DistilConfig)
    controls: bool = True

    def __post_init__(self) -> None:
        self._require("finetune_epochs", int, 1, 100_000)
        kinds = {"budget": Budget, "fit": FitConfig, "prune": PruneConfig, "distil": DistilConfig, "controls": bool}
        for name, kind in kinds.items():
            if not isinstance(getattr(self, name), kind):
                raise ConfigError(f"CompressConfig: {name} must be a {kind.__name__}, not {getattr(self, name)!r}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CompressConfig:
        """As Config.from_dict, with nested dicts for budget, fit, prune and distil."""
        parts: dict[str, type[Config]] = {
            "budget": Budget,
            "fit": FitConfig,
            "prune": PruneConfig,
            "distil": DistilConfig,
        }
        built = {
            key: parts[key].from_dict(value) if key in parts and isinstance(value, Mapping) else value
            for key, value in values.items()
        }
        if "budget" not in built:
            raise ConfigError("CompressConfig: budget is missing; give for instance {'pruning_ratio': 0.6}")
        return super().from_dict(built)
