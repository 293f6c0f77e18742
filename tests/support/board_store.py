"""The store on a board of a test, without the deploy around it; and large files to bring there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from edge_dendrite.ship.ask import new_token
from edge_dendrite.ship.board_files import BoardFiles
from edge_dendrite.ship.bundle_files import ShippedFile
from edge_dendrite.ship.remote import SshConnection
from edge_dendrite.ship.target import parse_target
from loopback_board import SECRET_DIR, Board


@contextlib.contextmanager
def store_on(board: Board, *, port: int | None = None, remote_dir: Path | None = None) -> Iterator[BoardFiles]:
    """The store, with its folder chosen; `port`: of something that forwards to the board."""
    target = parse_target(board.target.replace(str(board.port), str(port or board.port)))
    with (
        SshConnection(target, sys.executable, board.ssh_config) as connection,
        BoardFiles(connection, new_token()) as there,
    ):
        there.open(str(remote_dir or board.folder / SECRET_DIR), [])
        yield there


def large_file(path: Path, num_bytes: int) -> ShippedFile:
    """A file of so many bytes (whole MiB), no block of which is like another."""
    block, digest = os.urandom(1 << 20), hashlib.sha256()
    with path.open("wb") as stream:
        for number in range(num_bytes >> 20):
            data = number.to_bytes(8, "big") + block[8:]
            digest.update(data)
            stream.write(data)
    return ShippedFile("model.onnx", num_bytes, digest.hexdigest(), str(path))
