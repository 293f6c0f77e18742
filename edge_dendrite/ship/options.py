"""How the agent measures, and how a board is reached."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edge_bench.schema import MAX_SAMPLES
from edge_dendrite.errors import ConfigError


@dataclass(frozen=True)
class RunOptions:
    """How the agent measures.

    duration_s: length of the latency phase; num_runs: exactly so many timed runs instead. provider: None takes the one
    that the board's onnxruntime prefers. max_other_load: share of all processor time, 0 to 1, that other programs may
    use before the run is invalid. layers: in the end, profile how long each layer takes.
    """

    duration_s: float = 3.0
    num_runs: int | None = None
    num_threads: int = 1
    provider: str | None = None
    max_other_load: float = 0.5
    layers: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.duration_s < math.inf or not 0 < self.max_other_load < math.inf:
            raise ConfigError("duration and max_other_load must be positive, finite numbers")
        if self.num_runs is not None and not 0 < self.num_runs <= MAX_SAMPLES:
            raise ConfigError(f"num_runs must be from 1 to {MAX_SAMPLES:,}: a measurement holds no more samples")

    def to_arguments(self) -> list[str]:
        """As flags of `edge-bench run`."""
        flags = {
            # The agent refuses both: one is instead of the other.
            "--duration": self.duration_s if self.num_runs is None else None,
            "--runs": self.num_runs,
            "--threads": self.num_threads,
            "--provider": self.provider,
            "--max-other-load": self.max_other_load,
        }
        words = [word for flag, value in flags.items() if value is not None for word in (flag, str(value))]
        return [*words, "--layers"] if self.layers else words

    def match(self, settings: Mapping[str, Any]) -> bool:
        """Whether a measurement with these settings was made as asked for here."""
        ignored = () if self.num_runs is None else ("duration_s",)
        if not self.layers:
            ignored = (*ignored, "layers")  # profiled after all else, it changes nothing of a measurement
        return all(settings.get(key) == value for key, value in asdict(self).items() if key not in ignored)


@dataclass(frozen=True)
class SshOptions:
    """How a board is reached: an ssh_config file instead of the user's, the Python there, the folder there."""

    ssh_config: Path | None = None
    python: str = "python3"
    remote_dir: str = ""

    def __post_init__(self) -> None:
        for name, value in (("--python", self.python), ("--remote-dir", self.remote_dir)):
            if not value.isprintable():  # line ends, what steers terminals, and what is no UTF-8
                raise ConfigError(f"{name} {value!r}: has characters that cannot be printed; give another path")
