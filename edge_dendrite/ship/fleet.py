"""Many boards side by side: each gets its bundles, runs, and gives its measurements back; none waits for another.

A process a board, so that nothing that happens to one can reach another, and a thread that waits for it. What became of
each stands in FOLDER/fleet.json, which is whole at any moment.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge_bench.errors import EdgeBenchError
from edge_bench.schema import read_measurement
from edge_dendrite.errors import ConfigError, DeployError, EdgeDendriteError
from edge_dendrite.lock import locked
from edge_dendrite.ship.board_process import BoardProcess
from edge_dendrite.ship.boards_file import FleetBoard
from edge_dendrite.ship.fleet_file import (
    FAILED,
    FLEET_FILE,
    INTERRUPTED,
    INVALID,
    KEPT,
    MEASURED,
    NOT_STARTED,
    RUNNING,
    BoardResult,
    FleetFile,
)
from edge_dendrite.ship.interrupts import counted_interrupts
from edge_dendrite.ship.options import RunOptions

DEFAULT_JOBS = 8
# After the first Ctrl-C runs are ended and what they have is fetched; after the second nothing is waited for.
_GRACE_S, _LEAVING_S = 90.0, 5.0
_LOOK_S = 0.1

Log = Callable[[str, str], None]
Progress = Callable[[BoardResult], None]


@dataclass(frozen=True)
class FleetResult:
    """What became of each board, in the order in which they were given, and the file that says so."""

    boards: tuple[BoardResult, ...]
    path: Path


def deploy_fleet(
    bundle_paths: Sequence[str | Path],
    boards: Sequence[FleetBoard],
    folder: str | Path,
    *,
    jobs: int | None = None,
    num_rounds: int = 1,
    again: bool = False,
    clean: bool = False,
    options: RunOptions | None = None,
    log: Log = lambda name, line: None,
    progress: Progress = lambda result: None,
) -> FleetResult:
    """Measure bundles on many boards, `jobs` at once (None: up to 8), into FOLDER/NAME/BUNDLE-ROUND.json.

    A board that fails stops no other one. What is there and valid is kept, so the same call goes on where one ended.
    `log` gets a board's name and a line of its work, `progress` each change of its state, both from other threads.

    Ctrl-C (in the main thread) ends all runs and fetches what they have, for 90 s at most; a second one leaves at once.
    Then KeyboardInterrupt is raised. Raises ConfigError when there is nothing to do, DeployError or ModelError when
    FOLDER is not ours to write to; an error in this program itself is raised when all boards are done.
    """
    if not boards or (jobs is not None and jobs < 1):
        raise ConfigError("a fleet needs at least one board, and at least one job")
    for path in {Path(path) for board in boards for path in board.bundles or bundle_paths}:
        if not path.exists():  # one line now, not one for each board
            raise DeployError(f"bundle {path}: no such file or folder; give the folder or the .tar that `export` wrote")
    folder = Path(folder)
    with locked(folder):
        file = FleetFile(folder / FLEET_FILE)
        shared = {"folder": str(folder), "num_rounds": num_rounds, "again": again, "clean": clean}
        options = options or RunOptions()
        requests = {board.name: {**_request(board, bundle_paths, options), **shared} for board in boards}
        work = _Fleet(boards, requests, folder, file, log, progress)
        work.run(min(jobs or DEFAULT_JOBS, len(boards)))
        return FleetResult(work.results(), file.path)


class _Fleet:
    def __init__(
        self,
        boards: Sequence[FleetBoard],
        requests: Mapping[str, dict[str, Any]],
        folder: Path,
        file: FleetFile,
        log: Log,
        progress: Progress,
    ) -> None:
        self._folder, self._file, self._log, self._progress = folder, file, log, progress
        self._results = {board.name: BoardResult(board.name, board.target, NOT_STARTED) for board in boards}
        self._processes = {name: BoardProcess(request) for name, request in requests.items()}
        self._waiting: queue.SimpleQueue[FleetBoard] = queue.SimpleQueue()
        for board in boards:
            self._waiting.put(board)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []

    def results(self) -> tuple[BoardResult, ...]:
        return tuple(self._results.values())

    def run(self, num_threads: int) -> None:
        """Until every board is done, or after Ctrl-C as far as `deploy_fleet` says."""
        self._file.update(self.results())
        threads = [threading.Thread(target=self._work, daemon=True) for _ in range(num_threads)]
        with counted_interrupts() as num_interrupts:
            for thread in threads:
                thread.start()
            num_seen, deadline = 0, float("inf")
            while alive := [thread for thread in threads if thread.is_alive()]:
                alive[0].join(_LOOK_S)
                if num_interrupts() > num_seen or (num_seen and time.monotonic() > deadline):
                    num_seen = max(num_interrupts(), num_seen + 1)
                    deadline = time.monotonic() + (_GRACE_S if num_seen == 1 else _LEAVING_S)
                    if num_seen > 2:
                        break
                    self._interrupt(num_seen)
                elif num_seen > 1:
                    self._interrupt(num_seen)  # again and again: each wait that follows shall end too
            if num_seen:
                self._finish_interrupted()
                raise KeyboardInterrupt
        if self._errors:
            raise self._errors[0]

    def _interrupt(self, number: int) -> None:
        if number == 1:
            self._stopping.set()
            num_running = sum(result.state == RUNNING for result in self.results())
            words = f"interrupted: ending {num_running} runs and fetching what they have; Ctrl-C again leaves at once"
            self._say("", words)
        for process in self._processes.values():
            process.interrupt()

    def _finish_interrupted(self) -> None:
        for process in self._processes.values():
            process.kill()
        for result in self.results():
            if result.state == RUNNING:
                reason = "it was left before its run was seen to end; it may still go on there"
                self._set(replace(result, state=INTERRUPTED, reason=reason))

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                board = self._waiting.get_nowait()
            except queue.Empty:
                return
            start_s = time.monotonic()
            self._set(BoardResult(board.name, board.target, RUNNING))
            result = self._measure(board)
            self._set(replace(result, duration_s=time.monotonic() - start_s))

    def _measure(self, board: FleetBoard) -> BoardResult:
        place = self._folder / board.name
        before = _stamps(place)
        state, reason = MEASURED, ""
        try:
            written = self._processes[board.name].measure(lambda line: self._say(board.name, line))
            reason = _invalid_reasons(written)
            if reason:
                state = INVALID
            elif all(before.get(path) == stamp for path, stamp in _stamps(place).items() if path in written):
                state = KEPT
        except KeyboardInterrupt:
            state, reason = INTERRUPTED, "ended by Ctrl-C; the same command goes on from there"
        except (EdgeDendriteError, EdgeBenchError) as error:
            state, reason = FAILED, str(error)
        except BaseException as error:  # of this program: told at the end, when no board suffers from it any more
            state, reason = FAILED, f"an error of edge-dendrite itself: {error}"
            self._errors.append(error)
        if state in (FAILED, INTERRUPTED):
            written = [path for path, stamp in _stamps(place).items() if before.get(path) != stamp]
        return BoardResult(board.name, board.target, state, reason, tuple(written))

    def _say(self, name: str, line: str) -> None:
        try:
            self._log(name, line)
        except Exception as error:  # a terminal that went away: its boards are to be ended in order all the same
            self._errors.append(error)

    def _set(self, result: BoardResult) -> None:
        with self._lock:
            self._results[result.name] = result
            try:
                self._file.update(self.results())
                self._progress(result)
            except Exception as error:  # a full disk, a terminal that went away: the boards go on
                self._errors.append(error)


def _request(board: FleetBoard, bundle_paths: Sequence[str | Path], options: RunOptions) -> dict[str, Any]:
    """What of a request to `one_board` differs from board to board."""
    settings = board.settings
    own = replace(
        options,
        num_threads=options.num_threads if settings.threads is None else settings.threads,
        provider=options.provider if settings.provider is None else settings.provider,
    )
    return {
        "bundles": [str(path) for path in board.bundles or bundle_paths],
        "target": board.target,
        "board_name": board.name,
        "options": asdict(own),
        "ssh": {
            "ssh_config": str(settings.ssh_config) if settings.ssh_config else None,
            "python": settings.python or "python3",
            "remote_dir": settings.remote_dir or "",
        },
    }


def _stamps(place: Path) -> dict[Path, tuple[int, int]]:
    """Of each measurement what changes when it is written anew."""
    stamps = {}
    for path in sorted(place.glob("*.json")):
        status = path.stat()
        stamps[path] = (status.st_ino, status.st_mtime_ns)
    return stamps


def _invalid_reasons(paths: Sequence[Path]) -> str:
    reasons = [reason for path in paths for reason in read_measurement(str(path))["invalid"]]
    return "; ".join(dict.fromkeys(str(reason) for reason in reasons))
