"""Boards that the tests of shipping share."""

from __future__ import annotations

import pytest

from loopback_board import Board
from loopback_boards import LoopbackBoards


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """A real sshd on loopback; tests that use it are marked as needing it."""
    made = Board(tmp_path_factory.mktemp("board"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def boards(tmp_path):
    """None at first; a test adds those that it wants."""
    with LoopbackBoards(tmp_path) as made:
        yield made
