"""What a user asks of a run, and what the command line must know about it."""

from typing import Any, Callable, Dict, NamedTuple, Optional

# Gets the name of a phase and the share of it that is done.
Progress = Callable[[str, float], None]


class Settings(NamedTuple):
    """Times in seconds. None: num_runs by duration, provider and batch the runtime's or file's own, no deadline, as
    fast as it goes, the sensor read as often as suits it. `power` and `power_command` choose the sensor; `layers`: the
    times of layers are profiled in the end; `root` is where /proc and /sys lie.
    """

    num_runs: Optional[int] = None
    duration_s: float = 3.0
    warmup_s: float = 0.5
    num_threads: int = 1
    backend: str = "auto"
    provider: Optional[str] = None
    batch: Optional[int] = None
    buffers: str = "ctypes"
    deadline_s: Optional[float] = None
    period_s: Optional[float] = None
    idle_s: float = 3.0
    energy_s: float = 10.0
    power: str = "auto"
    power_command: Optional[str] = None
    power_interval_s: Optional[float] = None
    max_other_load: float = 0.5
    layers: bool = False
    root: str = "/"

    def to_dict(self) -> Dict[str, Any]:
        """As it stands in a measurement."""
        return dict(self._asdict())
