"""What a TensorRT engine is to be."""

from __future__ import annotations

from dataclasses import dataclass

from edge_dendrite.config.base import Config
from edge_dendrite.errors import ConfigError

_MAX_BATCH = 65_536
FIXED = (1, 1, 1)


@dataclass(frozen=True)
class EngineConfig(Config):
    """How an engine is built of a bundle's ONNX file, here or on the board. Its precision is that of the file.

    batch: smallest, usual and largest batch that the engine takes; above 1 the file's batch becomes any size.
    workspace_bytes: memory that its tactics may use, None for TensorRT's own choice. version_compatible: it also loads
    in later releases of TensorRT, where 8.6 or newer built it, and is larger. allow_tf32: products of float32 may be
    made with ten bits of precision, which is faster on GPUs from Ampere on and may miss the bundle's tolerance.
    """

    batch: tuple[int, int, int] = FIXED
    workspace_bytes: int | None = None
    version_compatible: bool = False
    allow_tf32: bool = False

    def __post_init__(self) -> None:
        sizes = self.batch
        is_right = isinstance(sizes, tuple) and len(sizes) == 3 and all(type(size) is int for size in sizes)
        if not is_right or not 1 <= sizes[0] <= sizes[1] <= sizes[2] <= _MAX_BATCH:
            raise ConfigError(
                f"EngineConfig: batch must be three whole numbers that do not fall, from 1 to {_MAX_BATCH} (smallest, "
                f"usual, largest), not {sizes!r}"
            )
        if self.workspace_bytes is not None:
            self._require("workspace_bytes", int, 1 << 20, 1 << 50)
        self._check_bool("version_compatible")
        self._check_bool("allow_tf32")

    @property
    def has_fixed_batch(self) -> bool:
        """Whether the engine takes one input at a time only."""
        return self.batch == FIXED
