"""Running the agent here, in a process of its own: this machine as the board."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from edge_bench.bundle import Bundle
from edge_dendrite.ship.agent import build_agent
from edge_dendrite.ship.options import RunOptions
from edge_dendrite.ship.process import Result, run_logged


def run_here(
    bundle: Bundle,
    options: RunOptions,
    keep: Callable[[bytes], None],
    log: Callable[[str], None],
    interrupt: threading.Event | None = None,
) -> Result:
    """Run the agent on a bundle. `keep` gets the bytes of its measurement, also before a KeyboardInterrupt goes on."""
    with tempfile.TemporaryDirectory(prefix="edge-dendrite-") as folder:
        agent, output = Path(folder) / "edge-bench.pyz", Path(folder) / "measurement.json"
        build_agent(agent)
        argv = [sys.executable, str(agent), "run", str(Path(bundle.path).absolute()), "--output", str(output)]
        try:
            return run_logged([*argv, *options.to_arguments()], log, interrupt=interrupt)
        finally:
            keep(output.read_bytes() if output.exists() else b"")
