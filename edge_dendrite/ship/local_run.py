"""Running the agent here, in a process of its own: this machine as the board."""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

from edge_bench.bundle import Bundle
from edge_dendrite.ship.agent import build_agent
from edge_dendrite.ship.keeper import Keeper
from edge_dendrite.ship.options import RunOptions
from edge_dendrite.ship.plan import DeployPlan
from edge_dendrite.ship.process import Result, run_logged


class LocalBoard:
    """This machine: nothing is copied, and what it has shows in the run."""

    def __init__(self, log: Callable[[str], None], interrupt: threading.Event | None = None) -> None:
        self._log, self._interrupt = log, interrupt

    def __str__(self) -> str:
        return "this machine"

    def plan(self, bundle: Bundle, options: RunOptions) -> DeployPlan:
        """Nothing to copy, nothing to build."""
        return DeployPlan(
            board=str(self),
            facts="this machine",
            folder=bundle.path,
            bundle=bundle.path,
            bundle_id=bundle.id,
            copies=(),
            num_files=len(bundle.manifest["files"]) + 2,
            builds_engine=False,
            runs_with=options.provider or "what the agent finds here",
        )

    def measure(self, bundle: Bundle, options: RunOptions, keeper: Keeper) -> Result:
        """Run the agent on a bundle; `keeper` gets its measurement, also before a KeyboardInterrupt goes on."""
        with tempfile.TemporaryDirectory(prefix="edge-dendrite-") as folder:
            agent, output = Path(folder) / "edge-bench.pyz", Path(folder) / "measurement.json"
            build_agent(agent)
            argv = [sys.executable, str(agent), "run", str(Path(bundle.path).absolute()), "--output", str(output)]
            try:
                return run_logged([*argv, *options.to_arguments()], self._log, interrupt=self._interrupt)
            finally:
                keeper.keep(output.read_bytes() if output.exists() else b"")
