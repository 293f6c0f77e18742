"""Ship a bundle, run the agent there in its own process, and bring the measurement back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import edge_bench
from edge_bench import bundle as reader
from edge_bench.atomic import write_bytes
from edge_bench.errors import EdgeBenchError
from edge_bench.schema import parse_measurement, read_measurement
from edge_dendrite.errors import DeployError
from edge_dendrite.ship.local_run import run_here
from edge_dendrite.ship.options import RunOptions, SshOptions
from edge_dendrite.ship.process import Result
from edge_dendrite.ship.remote_run import run_there
from edge_dendrite.ship.target import parse_target

Log = Callable[[str], None]


def deploy(
    bundle_path: str | Path,
    target: str,
    output: str | Path,
    *,
    options: RunOptions | None = None,
    ssh: SshOptions | None = None,
    log: Log = lambda line: None,
    interrupt: threading.Event | None = None,
) -> dict[str, Any]:
    """Measure a bundle on `target` (`local`, `ssh://user@host:port` or `user@host`) and write it to `output`.

    The bundle is verified here before it leaves. Returns the checked measurement. A partial or failed one is written
    too, beside `output` if a complete one is there. Raises DeployError when the bundle is damaged, the board does not
    answer or the run fails there. Another thread that sets `interrupt` does what Ctrl-C does in the main one: the run
    is ended, what it has is written, and KeyboardInterrupt is raised.
    """
    options = options or RunOptions()
    board = parse_target(target)
    try:
        bundle = reader.open_bundle(str(bundle_path))
    except EdgeBenchError as error:
        raise DeployError(str(error)) from error
    output = Path(output)
    _check_place(output, bundle)
    keeper = _Keeper(output, bundle.id, str(board or "this machine"))
    try:
        if board is None:
            result = run_here(bundle, options, keeper.keep, log, interrupt)
        else:
            result = run_there(bundle, board, options, ssh or SshOptions(), keeper.keep, log, interrupt)
    except EdgeBenchError as error:  # the bundle changed while it was packed
        raise DeployError(str(error)) from error
    return keeper.judge(result)


def deploy_rounds(
    bundle_paths: Sequence[str | Path],
    target: str,
    folder: str | Path,
    *,
    num_rounds: int = 1,
    again: bool = False,
    options: RunOptions | None = None,
    ssh: SshOptions | None = None,
    log: Log = lambda line: None,
    board_name: str | None = None,
    interrupt: threading.Event | None = None,
) -> list[Path]:
    """Measure several bundles in turns, forwards and backwards, so that a drift of the board meets all alike.

    Writes FOLDER/BOARD/NAME-ROUND.json, BOARD being `board_name` or else the target's, NAME the bundle's file name. A
    measurement that is there, valid, of the
    same bundle and with the same options is kept unless `again`. Raises DeployError as `deploy`, and when a file of
    that name is something else.
    """
    board = parse_target(target)
    place = Path(folder) / (board_name or (board.file_name if board else "local"))
    written = []
    names = [Path(path).name.removesuffix(".tar") for path in bundle_paths]
    if len(set(names)) != len(names):
        raise DeployError(
            f"the bundles need different file names, to tell their measurements apart: {', '.join(names)}"
        )
    for number in range(1, num_rounds + 1):
        turn = list(zip(names, bundle_paths, strict=True))
        for name, path in turn if number % 2 else reversed(turn):
            output = place / f"{name}-{number}.json"
            written.append(output)
            if not again and _is_done(output, path, options or RunOptions()):
                log(f"kept {output}: valid, of this bundle and these options")
                continue
            log(f"measuring {name}, round {number} of {num_rounds}, on {board or 'this machine'}")
            deploy(path, target, output, options=options, ssh=ssh, log=log, interrupt=interrupt)
    return written


def _is_done(output: Path, bundle_path: str | Path, options: RunOptions) -> bool:
    """Whether a measurement can stay. Raises DeployError when the file is not one of ours to replace."""
    if not output.exists():
        return False
    try:
        measurement = read_measurement(str(output))
    except EdgeBenchError as error:
        raise DeployError(f"{error}; it would be replaced: move it away or give another --out") from error
    try:
        bundle_id = reader.open_bundle(str(bundle_path)).id
    except EdgeBenchError as error:
        raise DeployError(str(error)) from error
    is_valid = measurement["status"] == "complete" and not measurement["invalid"]
    is_of_this_bundle = measurement["bundle"]["id"] == bundle_id
    if is_valid and not is_of_this_bundle:
        raise DeployError(
            f"{output}: is a valid measurement of another bundle, {measurement['bundle']['name']}; "
            "give another --out, or --again to replace it"
        )
    is_of_this_agent = measurement["agent"].get("version") == edge_bench.__version__
    return is_valid and is_of_this_agent and options.match(measurement["settings"])


def _check_place(output: Path, bundle: reader.Bundle) -> None:
    place, source = output.absolute().resolve(), Path(bundle.path).absolute().resolve()
    if place == source or source in place.parents:
        raise DeployError(f"{output}: lies in the bundle itself, which may hold nothing else; give another --out")
    output.parent.mkdir(parents=True, exist_ok=True)


class _Keeper:
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

    def judge(self, result: Result) -> dict[str, Any]:
        """The measurement of a run that ended well, else a DeployError that says how it ended."""
        if result.code in (0, 3, 4) and self._measurement is not None:
            return self._measurement
        message = result.errors.removeprefix("edge-bench: ").removeprefix("error: ") or f"exit code {result.code}"
        kept = f" (its record: {self._written})" if self._written else ""
        raise DeployError(f"{self._board}: the run failed: {message}{kept}")


def _is_complete(output: Path) -> bool:
    try:
        return read_measurement(str(output))["status"] == "complete"
    except EdgeBenchError:
        return False
