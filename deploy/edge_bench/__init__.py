"""edge-bench: measures a model on the board it will run on. Standard library only, Python 3.6 and newer."""

__version__ = "0.1.0"
