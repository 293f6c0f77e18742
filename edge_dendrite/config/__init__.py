"""What the user wants: frozen data without behaviour. An unknown key is an error that names the nearest known one."""

from __future__ import annotations

from edge_dendrite.config.base import Config
from edge_dendrite.config.compress import LEVELS, RECIPE, CompressConfig, ExportConfig, LevelConfig
from edge_dendrite.config.dendrites import (
    BRANCH_ACTIVATIONS,
    BRANCHES,
    GROW_MODES,
    LINEAR,
    BranchConfig,
    GateConfig,
    GrowConfig,
    RecipeConfig,
)
from edge_dendrite.config.engine import EngineConfig
from edge_dendrite.config.precision import AUTO, CALIBRATIONS, FILE_PRECISIONS, FP16, FP32, INT8, PrecisionConfig
from edge_dendrite.config.pruning import (
    LEARNED,
    MASK_METHODS,
    SCOPES,
    SCORES,
    Budget,
    GroupConfig,
    LayerRule,
    MaskConfig,
    PruneConfig,
    SegmentConfig,
    TwoOfFourConfig,
)
from edge_dendrite.config.training import PRECISIONS, DistilConfig, FitConfig

__all__ = [
    "AUTO",
    "CALIBRATIONS",
    "FILE_PRECISIONS",
    "FP16",
    "FP32",
    "INT8",
    "PrecisionConfig",
    "BRANCHES",
    "BRANCH_ACTIVATIONS",
    "BranchConfig",
    "Budget",
    "CompressConfig",
    "Config",
    "DistilConfig",
    "EngineConfig",
    "ExportConfig",
    "FitConfig",
    "GROW_MODES",
    "GateConfig",
    "GroupConfig",
    "GrowConfig",
    "LEARNED",
    "LINEAR",
    "LEVELS",
    "LayerRule",
    "LevelConfig",
    "MASK_METHODS",
    "MaskConfig",
    "PRECISIONS",
    "RECIPE",
    "PruneConfig",
    "RecipeConfig",
    "SCOPES",
    "SCORES",
    "SegmentConfig",
    "TwoOfFourConfig",
]
