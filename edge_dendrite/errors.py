"""Errors that a user can act on. Each message says what failed, what was seen, and what to do.

EdgeDendriteError
 +- ConfigError     a setting is unknown, missing or out of range
 +- DataError       data files are missing, damaged or not what they claim
 +- ModelError      a model cannot be found, built, saved or loaded
 +- TrainError      training cannot go on (for instance a loss that is not finite)
 +- PruneError      a network cannot be pruned as asked; the original is unchanged
 +- ExportError     a model cannot be exported, or the exported one computes something else
 +- DeployError     a board does not answer, refuses, or answers nonsense
"""


class EdgeDendriteError(Exception):
    """What failed, what was seen, what to do: all in the message."""


class ConfigError(EdgeDendriteError):
    """A setting is unknown, missing or out of range."""


class DataError(EdgeDendriteError):
    """Data files are missing, damaged or not what they claim."""


class ModelError(EdgeDendriteError):
    """A model cannot be found, built, saved or loaded."""


class TrainError(EdgeDendriteError):
    """Training cannot go on."""


class PruneError(EdgeDendriteError):
    """A network cannot be pruned as asked; the original is unchanged."""


class ExportError(EdgeDendriteError):
    """A model cannot be exported, or the exported one computes something else."""


class DeployError(EdgeDendriteError):
    """A board does not answer, refuses, or answers nonsense."""
