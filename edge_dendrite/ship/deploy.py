"""Ship a bundle, run the agent there in its own process, and bring the measurement back."""

from __future__ import annotations

import contextlib
import hashlib
import io
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import edge_bench
from edge_bench import bundle as reader
from edge_bench.atomic import write_bytes
from edge_bench.errors import EdgeBenchError
from edge_bench.schema import parse_measurement, read_measurement
from edge_dendrite.errors import DeployError
from edge_dendrite.ship.agent import agent_bytes, build_agent
from edge_dendrite.ship.process import Result, run_logged
from edge_dendrite.ship.remote import MAX_RESULT_BYTES, SshConnection
from edge_dendrite.ship.target import SshTarget, parse_target

Log = Callable[[str], None]

_FOLDER_SCRIPT = """
umask 077
folder=$1
[ -n "$folder" ] || folder="${XDG_CACHE_HOME:-$HOME/.cache}/edge-dendrite"
mkdir -p "$folder" && cd "$folder" && pwd
"""
# The agent notes its process number, so that an interrupted host can ask it to end and to write what it has.
_RUN_SCRIPT = 'echo $$ > "$1" && shift && exec "$@"'
_STOP_SCRIPT = """
[ -f "$1" ] || exit 0
number=$(cat "$1")
kill -INT "$number" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$number" 2>/dev/null || break; sleep 1; done
"""


@dataclass(frozen=True)
class RunOptions:
    """How the agent measures.

    duration_s: length of the latency phase; num_runs: exactly so many timed runs instead. provider: None takes the one
    that the board's onnxruntime prefers. max_other_load: share of all processor time, 0 to 1, that other programs may
    use before the run is invalid.
    """

    duration_s: float = 3.0
    num_runs: int | None = None
    num_threads: int = 1
    provider: str | None = None
    max_other_load: float = 0.5

    def to_arguments(self) -> list[str]:
        """As flags of `edge-bench run`."""
        flags = {
            "--duration": self.duration_s,
            "--runs": self.num_runs,
            "--threads": self.num_threads,
            "--provider": self.provider,
            "--max-other-load": self.max_other_load,
        }
        return [word for flag, value in flags.items() if value is not None for word in (flag, str(value))]

    def match(self, settings: Mapping[str, Any]) -> bool:
        """Whether a measurement with these settings was made as asked for here."""
        return all(settings.get(key) == value for key, value in asdict(self).items())


@dataclass(frozen=True)
class SshOptions:
    """How a board is reached: an ssh_config file instead of the user's, the Python there, the folder there."""

    ssh_config: Path | None = None
    python: str = "python3"
    remote_dir: str = ""


def deploy(
    bundle_path: str | Path,
    target: str,
    output: str | Path,
    *,
    options: RunOptions | None = None,
    ssh: SshOptions | None = None,
    log: Log = lambda line: None,
) -> dict[str, Any]:
    """Measure a bundle on `target` (`local`, `ssh://user@host:port` or `user@host`) and write it to `output`.

    The bundle is verified here before it leaves. Returns the checked measurement. After Ctrl-C a partial measurement
    is in `output` if there was time to measure anything. Raises DeployError when the bundle is damaged, the board does
    not answer or the run fails there.
    """
    options = options or RunOptions()
    board = parse_target(target)
    try:
        bundle = reader.open_bundle(str(bundle_path))
    except EdgeBenchError as error:
        raise DeployError(str(error)) from error
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    if board is None:
        return _run_here(bundle, output, options, log)
    return _run_there(bundle, board, output, options, ssh or SshOptions(), log)


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
) -> list[Path]:
    """Measure several bundles in turns, forwards and backwards, so that a drift of the board meets all alike.

    Writes FOLDER/BOARD/NAME-ROUND.json, NAME being the bundle's file name. A measurement that is there, valid, of the
    same bundle and with the same options is kept unless `again`. Raises DeployError as `deploy`.
    """
    board = parse_target(target)
    place = Path(folder) / (board.file_name if board else "local")
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
                continue
            log(f"measuring {name}, round {number} of {num_rounds}, on {target}")
            deploy(path, target, output, options=options, ssh=ssh, log=log)
    return written


def _is_done(output: Path, bundle_path: str | Path, options: RunOptions) -> bool:
    try:
        measurement = read_measurement(str(output))
        bundle_id = reader.open_bundle(str(bundle_path)).id
    except EdgeBenchError:
        return False
    is_valid = measurement["status"] == "complete" and not measurement["invalid"]
    is_of_this_agent = measurement["agent"].get("version") == edge_bench.__version__
    is_of_this_bundle = measurement["bundle"]["id"] == bundle_id
    return is_valid and is_of_this_agent and is_of_this_bundle and options.match(measurement["settings"])


def _run_here(bundle: reader.Bundle, output: Path, options: RunOptions, log: Log) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="edge-dendrite-") as folder:
        agent = Path(folder) / "edge-bench.pyz"
        build_agent(agent)
        argv = [
            sys.executable,
            str(agent),
            "run",
            str(Path(bundle.path).absolute()),
            "--output",
            str(output.absolute()),
        ]
        started = time.time()
        result = run_logged([*argv, *options.to_arguments()], log)
        return _judge("this machine", result, output, bundle, started)


def _run_there(
    bundle: reader.Bundle, board: SshTarget, output: Path, options: RunOptions, ssh: SshOptions, log: Log
) -> dict[str, Any]:
    agent = agent_bytes()
    packed = _tar(bundle)
    agent_hash, tar_hash = hashlib.sha256(agent).hexdigest(), hashlib.sha256(packed).hexdigest()
    token = secrets.token_hex(6)
    with SshConnection(board, ssh.ssh_config) as connection:
        folder = _prepare(connection, board, ssh)
        places = {
            "agent": f"{folder}/edge-bench-{agent_hash[:16]}.pyz",
            "bundle": f"{folder}/bundle-{bundle.id[:16]}.tar",
            "result": f"{folder}/result-{token}.json",
            "number": f"{folder}/run-{token}.pid",
        }
        # Both are hashed on the board before anything of them runs there.
        connection.put(agent, places["agent"], agent_hash, ssh.python, log)
        connection.put(packed, places["bundle"], tar_hash, ssh.python, log)
        command = [ssh.python, places["agent"], "run", places["bundle"], "--output", places["result"]]
        started = time.time()
        try:
            result = run_logged(
                connection.argv(_RUN_SCRIPT, places["number"], *command, *options.to_arguments()),
                log,
                stop=lambda: _stop(connection, places["number"]),
            )
        except KeyboardInterrupt:
            with contextlib.suppress(DeployError):
                _fetch(connection, places, output, str(board))
            raise
        _fetch(connection, places, output, str(board))
        return _judge(str(board), result, output, bundle, started)


def _prepare(connection: SshConnection, board: SshTarget, ssh: SshOptions) -> str:
    folder = connection.run(_FOLDER_SCRIPT, ssh.remote_dir, what="making the folder", limit=4096).decode(
        "utf-8", "replace"
    )
    folder = folder.rstrip("\n")
    if not folder.startswith("/") or not folder.isprintable():
        raise DeployError(f"{board}: the board names an impossible folder {folder!r}")
    version = connection.run(
        'command -v "$1" >/dev/null || exit 0; "$1" -c "import sys; print(sys.version_info[:2] >= (3, 6))"',
        ssh.python,
        what="asking for Python",
        limit=4096,
    )
    if version.strip() != b"True":
        raise DeployError(
            f"{board}: no Python 3.6 or newer as {ssh.python!r} there; install python3 or give --python PATH"
        )
    return folder


def _stop(connection: SshConnection, number_file: str) -> None:
    with contextlib.suppress(DeployError):
        connection.run(_STOP_SCRIPT, number_file, what="ending the run")


def _fetch(connection: SshConnection, places: dict[str, str], output: Path, board: str) -> None:
    """Bring the result back, checked, and remove it there."""
    content = connection.run(
        'if [ -f "$1" ]; then cat "$1"; fi',
        places["result"],
        limit=MAX_RESULT_BYTES,
        what="fetching the measurement",
    )
    connection.run('rm -f "$1" "$2"', places["result"], places["number"], what="tidying up")
    if content:
        try:
            parse_measurement(content, board)
        except EdgeBenchError as error:
            raise DeployError(f"{board}: sent back something that is no measurement: {error}") from error
        write_bytes(str(output), content)


def _tar(bundle: reader.Bundle) -> bytes:
    stream = io.BytesIO()
    try:
        reader.write_tar(bundle, stream)
    except EdgeBenchError as error:
        raise DeployError(str(error)) from error
    return stream.getvalue()


def _judge(board: str, result: Result, output: Path, bundle: reader.Bundle, started: float) -> dict[str, Any]:
    """The measurement, or a DeployError that says how the run ended."""
    fresh = output.exists() and output.stat().st_mtime >= started - 1.0
    if result.code in (0, 3, 4) and fresh:
        try:
            measurement = read_measurement(str(output))
        except EdgeBenchError as error:
            raise DeployError(f"{board}: {error}") from error
        if measurement["bundle"]["id"] != bundle.id:
            raise DeployError(f"{board}: the measurement is of another bundle ({measurement['bundle']['id']})")
        return measurement
    kept = f" What was measured is in {output}." if fresh else ""
    message = result.errors.removeprefix("edge-bench: ").removeprefix("error: ") or f"exit code {result.code}"
    raise DeployError(f"{board}: the run failed: {message}.{kept}")
