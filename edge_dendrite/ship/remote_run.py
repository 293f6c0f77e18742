"""Running the agent on a board behind ssh."""

from __future__ import annotations

import contextlib
import hashlib
import io
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from edge_bench import schema
from edge_bench.bundle import Bundle, write_tar
from edge_dendrite.errors import DeployError
from edge_dendrite.ship.agent import agent_bytes
from edge_dendrite.ship.options import RunOptions, SshOptions
from edge_dendrite.ship.process import Result, run_logged
from edge_dendrite.ship.remote import SshConnection
from edge_dendrite.ship.target import SshTarget

_FOLDER_SCRIPT = """
umask 077
case $1 in
    "") folder="${XDG_CACHE_HOME:-$HOME/.cache}/edge-dendrite" ;;
    "~") folder=$HOME ;;
    "~/"*) folder=$HOME/${1#??} ;;
    *) folder=$1 ;;
esac
mkdir -p "$folder" && cd "$folder" && pwd
"""
_PYTHON_SCRIPT = 'command -v "$1" >/dev/null || exit 0; "$1" -c "import sys; print(sys.version_info[:2] >= (3, 6))"'
# The agent notes its process number, so that an interrupted host can ask it to end and to write what it has. Each of
# both sides writes first and looks then: however they meet, a run that shall end does not begin.
_RUN_SCRIPT = 'echo $$ > "$1" && [ ! -e "$1.stop" ] && shift && exec "$@"'
_STOP_SCRIPT = """
: > "$1.stop"
[ -f "$1" ] || exit 0
number=$(cat "$1")
kill -TERM "$number" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$number" 2>/dev/null || break; sleep 1; done
"""


@dataclass(frozen=True)
class _Places:
    """Files on the board. Agent and bundle are named by their content and stay there; the rest is of one run."""

    agent: str
    bundle: str
    result: str
    pid_file: str


def run_there(
    bundle: Bundle,
    board: SshTarget,
    options: RunOptions,
    ssh: SshOptions,
    keep: Callable[[bytes], None],
    log: Callable[[str], None],
    interrupt: threading.Event | None = None,
) -> Result:
    """Bring agent and bundle to the board, run, and hand the bytes of the measurement to `keep`.

    After Ctrl-C the run there is ended first and what it has comes back before KeyboardInterrupt goes on. Raises
    DeployError when the board does not answer, refuses, or answers more than a measurement can be.
    """
    agent, packed = agent_bytes(), io.BytesIO()
    write_tar(bundle, packed)
    agent_hash, token = hashlib.sha256(agent).hexdigest(), secrets.token_hex(6)
    with SshConnection(board, ssh.ssh_config, may_ask=ssh.may_ask, interrupt=interrupt) as connection:
        folder = _prepare(connection, board, ssh)
        places = _Places(
            agent=f"{folder}/edge-bench-{agent_hash[:16]}.pyz",
            bundle=f"{folder}/bundle-{bundle.id[:16]}.tar",
            result=f"{folder}/result-{token}.json",
            pid_file=f"{folder}/run-{token}.pid",
        )
        # Both are hashed on the board before anything of them runs there.
        connection.put(agent, places.agent, ssh.python, log)
        connection.put(packed.getvalue(), places.bundle, ssh.python, log)
        command = [ssh.python, places.agent, "run", places.bundle, "--output", places.result, *options.to_arguments()]
        try:
            result = run_logged(
                connection.argv(_RUN_SCRIPT, places.pid_file, *command),
                log,
                stop=lambda: _stop(connection, places.pid_file),
                interrupt=interrupt,
            )
        except KeyboardInterrupt:
            with contextlib.suppress(DeployError):
                keep(_fetch(connection, places))
            raise
        keep(_fetch(connection, places))
        return result


def _prepare(connection: SshConnection, board: SshTarget, ssh: SshOptions) -> str:
    answer = connection.run(_FOLDER_SCRIPT, ssh.remote_dir, what="making the folder", limit=4096)
    folder = answer.decode("utf-8", "replace").rstrip("\n")
    if not folder.startswith("/") or not folder.isprintable():
        raise DeployError(f"{board}: the board names an impossible folder {folder!r}")
    if connection.run(_PYTHON_SCRIPT, ssh.python, what="asking for Python", limit=4096).strip() != b"True":
        raise DeployError(
            f"{board}: no Python 3.6 or newer as {ssh.python!r} there; install python3 or give --python PATH"
        )
    return folder


def _stop(connection: SshConnection, pid_file: str) -> None:
    with contextlib.suppress(DeployError):
        connection.run(_STOP_SCRIPT, pid_file, what="ending the run")


def _fetch(connection: SshConnection, places: _Places) -> bytes:
    """The bytes of the result, empty when there is none; it is removed there."""
    script = 'if [ -f "$1" ]; then cat "$1"; fi'
    content = connection.run(script, places.result, limit=schema.MAX_BYTES, what="fetching the measurement")
    connection.run('rm -f "$1" "$2" "$2.stop"', places.result, places.pid_file, what="tidying up")
    return content
