"""What can go wrong, in words that say what to do."""

from __future__ import annotations


class BoardError(Exception):
    """A virtual board could not be made, found or ended."""


class CannotRun(BoardError):
    """This machine lacks something that virtual boards need: tests skip with this reason."""
