"""edge-dendrite: compress with dendritic methods, export, ship to a board, measure there, report with controls.

The public names are loaded when they are first used: importing this package imports no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

__all__ = [
    "BranchConfig",
    "Budget",
    "Bundle",
    "CompressConfig",
    "CompressedModel",
    "DataSet",
    "DistilConfig",
    "Distiller",
    "ExportConfig",
    "FitConfig",
    "GateConfig",
    "GroupConfig",
    "GrowConfig",
    "Grower",
    "LayerRule",
    "MaskConfig",
    "Plan",
    "PrecisionConfig",
    "PruneConfig",
    "RecipeConfig",
    "SegmentConfig",
    "Teacher",
    "TwoOfFourConfig",
    "branch",
    "build_report",
    "compare",
    "compress_with_controls",
    "controls",
    "deploy",
    "distillation_loss",
    "export_bundle",
    "export_file",
    "find_coupling",
    "fit",
    "gate",
    "load",
    "load_data",
    "prune",
]


def _home(name: str) -> str:
    """The module in which a public name lives."""
    homes = {
        "config": (
            "BranchConfig Budget CompressConfig DistilConfig ExportConfig FitConfig GateConfig GroupConfig GrowConfig "
            "LayerRule MaskConfig PrecisionConfig PruneConfig RecipeConfig SegmentConfig TwoOfFourConfig"
        ),
        "compress.coupling.find": "find_coupling",
        "compress.dendrites.branch": "branch",
        "compress.dendrites.gate": "gate",
        "compress.dendrites.grow": "Grower",
        "compress.comparison": "controls",
        "compress.model": "CompressedModel load",
        "compress.pipeline": "compress_with_controls",
        "compress.plan": "Plan",
        "compress.neurons.prune": "prune",
        "data.dataset": "DataSet",
        "data.source": "load_data",
        "export.bundle": "export_bundle",
        "export.from_file": "export_file",
        "export.bundle_files": "Bundle",
        "report.comparison.compare": "compare",
        "report.rows": "build_report",
        "ship.deploy": "deploy",
        "train.distil": "Distiller",
        "train.fit": "Teacher fit",
        "train.losses": "distillation_loss",
    }
    return next(module for module, names in homes.items() if name in names.split())


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_home(name)}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
