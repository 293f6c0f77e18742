"""Ship a bundle, run the agent there in its own process, and bring the measurement back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edge_bench
from edge_bench import bundle as reader
from edge_bench.errors import EdgeBenchError
from edge_bench.schema import read_measurement
from edge_dendrite.errors import DeployError
from edge_dendrite.progress import Progress, silent
from edge_dendrite.ship.keeper import Keeper
from edge_dendrite.ship.local_run import LocalBoard
from edge_dendrite.ship.options import RunOptions, SshOptions
from edge_dendrite.ship.plan import DeployPlan
from edge_dendrite.ship.remote_run import RemoteBoard
from edge_dendrite.ship.target import parse_target

Log = Callable[[str], None]


@dataclass(frozen=True)
class Turn:
    """One measurement of several: which bundle, the how many-th time, and the file that it goes into."""

    name: str
    bundle: reader.Bundle
    number: int
    output: Path


def deploy(
    bundle_path: str | Path,
    target: str,
    output: str | Path,
    *,
    options: RunOptions | None = None,
    ssh: SshOptions | None = None,
    log: Log = lambda line: None,
    progress: Progress = silent,
    clean: bool = False,
) -> dict[str, Any]:
    """Measure a bundle on `target` (`local`, `ssh://user@host:port` or `user@host`) and write it to `output`.

    The bundle is verified here before it leaves; the board is asked what it is, gets the files that it lacks, builds
    an engine where it has TensorRT, and measures. With `clean` nothing of it stays there. Returns the checked
    measurement. A partial or failed one is written too, beside `output` if a complete one is there. Raises ConfigError
    when `target` is none of these, and DeployError when the bundle is damaged, the board does not answer or cannot load
    it, or the run fails there.
    """
    bundle = _open(bundle_path)
    _check_place(Path(output), bundle)
    with _open_board(target, [bundle], ssh, log, progress, clean) as board:
        return _measure(board, bundle, Path(output), options or RunOptions())


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
    progress: Progress = silent,
    clean: bool = False,
    board_name: str | None = None,
) -> list[Path]:
    """Measure several bundles in turns, forwards and backwards, so that a drift of the board meets all alike.

    Writes FOLDER/BOARD/NAME-ROUND.json, BOARD being `board_name` or else the target's own, NAME the bundle's file name.
    A measurement that is there, valid, of the same bundle and with the same options is kept unless `again`. The board
    is connected and asked once, and not at all when nothing is to be measured and nothing to `clean`. Raises
    DeployError as `deploy`, and when a file of that name is something else.
    """
    options = options or RunOptions()
    turns = _turns(bundle_paths, Path(folder) / (board_name or _name_of(target)), num_rounds)
    name_of_board = parse_target(target) or "this machine"
    bundles = list({turn.bundle.id: turn.bundle for turn in turns}.values())
    with contextlib.ExitStack() as stack:
        board: RemoteBoard | LocalBoard | None = None
        for turn in turns:
            if not again and _is_done(turn, options):
                log(f"kept {turn.output}: valid, of this bundle and these options")
                continue
            _check_place(turn.output, turn.bundle)
            board = board or stack.enter_context(_open_board(target, bundles, ssh, log, progress, clean))
            log(f"measuring {turn.name}, round {turn.number} of {num_rounds}, on {name_of_board}")
            _measure(board, turn.bundle, turn.output, options)
        if clean and board is None:  # all was measured before, and may still be there
            stack.enter_context(_open_board(target, bundles, ssh, log, progress, clean))
    return [turn.output for turn in turns]


def plan_rounds(
    bundle_paths: Sequence[str | Path],
    target: str,
    folder: str | Path,
    *,
    num_rounds: int = 1,
    again: bool = False,
    options: RunOptions | None = None,
    ssh: SshOptions | None = None,
    log: Log = lambda line: None,
) -> tuple[list[DeployPlan], dict[Path, bool]]:
    """What `deploy_rounds` would do: a plan for each bundle, and of each measurement whether it would be made.

    The board is asked, so it gets the agent and a folder for it; nothing else changes there. Raises DeployError as
    `deploy_rounds`.
    """
    options, turns = options or RunOptions(), _turns(bundle_paths, Path(folder) / _name_of(target), num_rounds)
    to_measure = {turn.output: again or not _is_done(turn, options) for turn in turns}
    bundles = list({turn.bundle.id: turn.bundle for turn in turns}.values())
    with _open_board(target, bundles, ssh, log, silent, False) as board:
        return [board.plan(bundle, options) for bundle in bundles], to_measure


def _open(path: str | Path) -> reader.Bundle:
    try:
        return reader.open_bundle(str(path))
    except EdgeBenchError as error:
        raise DeployError(str(error)) from error


@contextlib.contextmanager
def _open_board(
    target: str, bundles: list[reader.Bundle], ssh: SshOptions | None, log: Log, progress: Progress, clean: bool
) -> Iterator[RemoteBoard | LocalBoard]:
    board = parse_target(target)
    if board is None:
        yield LocalBoard(log)
        return
    with RemoteBoard(board, ssh or SshOptions(), bundles, log, progress, clean) as connected:
        yield connected


def _measure(
    board: RemoteBoard | LocalBoard, bundle: reader.Bundle, output: Path, options: RunOptions
) -> dict[str, Any]:
    keeper = Keeper(output, bundle.id, str(board))
    try:
        result = board.measure(bundle, options, keeper)
    except EdgeBenchError as error:  # the bundle changed while it was copied
        raise DeployError(str(error)) from error
    return keeper.judge(result)


def _name_of(target: str) -> str:
    board = parse_target(target)
    return board.file_name if board else "local"


def _turns(paths: Sequence[str | Path], place: Path, num_rounds: int) -> list[Turn]:
    """The measurements in their order, each bundle verified. Raises DeployError for bundles of one name."""
    names = [Path(path).name.removesuffix(".tar") for path in paths]
    if len(set(names)) != len(names):
        raise DeployError(
            f"the bundles need different file names, to tell their measurements apart: {', '.join(names)}"
        )
    bundles = [(name, _open(path)) for name, path in zip(names, paths, strict=True)]
    return [
        Turn(name, bundle, number, place / f"{name}-{number}.json")
        for number in range(1, num_rounds + 1)
        for name, bundle in bundles[:: 1 if number % 2 else -1]
    ]


def _is_done(turn: Turn, options: RunOptions) -> bool:
    """Whether a measurement can stay. Raises DeployError when the file is not one of ours to replace."""
    if not turn.output.exists():
        return False
    try:
        measurement = read_measurement(str(turn.output))
    except EdgeBenchError as error:
        raise DeployError(f"{error}; it would be replaced: move it away or give another --out") from error
    is_valid = measurement["status"] == "complete" and not measurement["invalid"]
    is_of_this_bundle = measurement["bundle"]["id"] == turn.bundle.id
    if is_valid and not is_of_this_bundle:
        raise DeployError(
            f"{turn.output}: is a valid measurement of another bundle, {measurement['bundle']['name']}; "
            "give another --out, or --again to replace it"
        )
    is_of_this_agent = measurement["agent"].get("version") == edge_bench.__version__
    return is_valid and is_of_this_agent and options.match(measurement["settings"])


def _check_place(output: Path, bundle: reader.Bundle) -> None:
    place, source = output.absolute().resolve(), Path(bundle.path).absolute().resolve()
    if place == source or source in place.parents:
        raise DeployError(f"{output}: lies in the bundle itself, which may hold nothing else; give another --out")
    output.parent.mkdir(parents=True, exist_ok=True)
