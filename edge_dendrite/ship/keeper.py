"""What a run brought back, checked and written down: never a worse measurement over a complete one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_bench.atomic import write_bytes
from edge_bench.errors import EdgeBenchError
from edge_bench.schema import parse_measurement, read_measurement
from edge_dendrite.errors import DeployError
from edge_dendrite.ship.process import Result, printable, without_prefix


class Keeper:
    """Checks what a run brought back and writes it down; never a worse measurement over a complete one."""

    def __init__(self, output: Path, bundle_id: str, board: str) -> None:
        self._output, self._bundle_id, self._board = output, bundle_id, board
        self._written: Path | None = None
        self._measurement: dict[str, Any] | None = None

    def keep(self, content: bytes) -> None:
        """Write the bytes of a measurement; nothing when there are none. Raises DeployError when they are not one."""
        if not content:
            return
        try:
            measurement = parse_measurement(content, self._board)
        except EdgeBenchError as error:
            raise DeployError(f"{self._board}: sent back something that is no measurement: {error}") from error
        if measurement["bundle"]["id"] != self._bundle_id:
            raise DeployError(
                f"{self._board}: sent back a measurement of another bundle: {measurement['bundle']['id']}"
            )
        place = self._output
        if measurement["status"] != "complete" and _is_complete(self._output):
            place = self._output.with_suffix(".partial.json")
        write_bytes(str(place), content)
        self._written, self._measurement = place, measurement

    def keep_build_log(self, content: bytes) -> str:
        """Write the log of an engine's build beside the measurement's place, for people; returns where."""
        if not content:
            return ""
        place = self._output.with_suffix(".build.log")
        write_bytes(str(place), printable(content).encode())
        return str(place)

    def judge(self, result: Result) -> dict[str, Any]:
        """The measurement of a run that ended well, else a DeployError that says how it ended."""
        if result.code in (0, 3, 4) and self._measurement is not None:
            return self._measurement
        message = without_prefix(result.errors) or f"exit code {result.code}"
        kept = f" (its record: {self._written})" if self._written else ""
        raise DeployError(f"{self._board}: the run failed: {message}{kept}")


def _is_complete(output: Path) -> bool:
    try:
        return read_measurement(str(output))["status"] == "complete"
    except EdgeBenchError:
        return False
