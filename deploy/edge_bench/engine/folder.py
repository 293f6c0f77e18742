"""Where engines are kept that were built on this board."""

import os


def cache_folder() -> str:
    """$XDG_CACHE_HOME/edge-bench/engines, by default below ~/.cache (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(home):  # the specification: others are to be ignored
        home = os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(home, "edge-bench", "engines")
