"""Where the history of this user is."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "EDGE_DENDRITE_HISTORY"


def default_path() -> Path:
    """The file that $EDGE_DENDRITE_HISTORY names, else history.sqlite in the user's folder of data (XDG)."""
    named = os.environ.get(VARIABLE, "")
    if named:
        return Path(os.path.expanduser(named))  # noqa: PTH111 - never raises
    data = os.environ.get("XDG_DATA_HOME", "")
    # The XDG specification: a path that is not absolute is ignored.
    data = data if os.path.isabs(data) else os.path.join(os.path.expanduser("~"), ".local", "share")  # noqa: PTH111, PTH117, PTH118
    return Path(data) / "edge-dendrite" / "history.sqlite"
