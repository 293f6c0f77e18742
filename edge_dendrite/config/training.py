"""How a network is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_dendrite.config.base import Config
from edge_dendrite.errors import ConfigError

PRECISIONS = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class FitConfig(Config):
    """Training with AdamW and a one-cycle schedule (Smith and Topin, 2018).

    learning_rate is the peak of the cycle. The seed fixes the order of the data and every random layer.
    ema_decay: an exponential moving average of the weights is what is evaluated and what stays; None for none.
    precision: of the forward pass in training: float32, bfloat16 (autocast) or float16 (autocast with scaled
    gradients; CUDA only). Weights, and every evaluation, are float32.
    channels_last: images go through the network with their channels next to each other in memory, which is faster on
    most devices; a network that calls `view` on a map of features fails then, and `reshape` does not.
    transient_norms: layers that have a bias and no norm behind them get a batch norm while they are trained, which is
    then folded into them (train/normalise.py).
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
    transient_norms: bool = False
    patience: int | None = None

    def __post_init__(self) -> None:
        self._require("epochs", int, 1, 100_000)
        self._require("batch_size", int, 1, 10**6)
        self._require("learning_rate", float, 0.0, 1e3, open_low=True)
        self._require("weight_decay", float, 0.0, 1e3)
        self._require("seed", int, 0, 2**31 - 1)
        self._require_one_of("precision", PRECISIONS)
        self._check_bool("channels_last")
        self._check_bool("transient_norms")
        if self.ema_decay is not None:
            self._require("ema_decay", float, 0.0, 0.999999, open_low=True)
        if self.patience is not None:
            self._require("patience", int, 1, 100_000)

    def to_dict(self) -> dict[str, Any]:
        """As Config.to_dict, without these at their default: records from before they were there stay equal."""
        return self._without_defaults(("ema_decay", "precision", "channels_last", "transient_norms", "patience"))


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
        return self._without_defaults(("features", "feature_weight"))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DistilConfig:
        """As Config.from_dict, with lists for tuples, as JSON has them."""
        features = values.get("features", ())
        if isinstance(features, list):
            features = tuple(tuple(one) if isinstance(one, list) else one for one in features)
        return super().from_dict({**values, "features": features})
