"""How long work tells how far it is, without knowing who looks."""

from typing import Protocol


class Progress(Protocol):
    """Called with a description, and how many of `total` steps are done. Called again with the same description."""

    def __call__(self, description: str, done: int, total: int, /) -> None: ...


def silent(description: str, done: int, total: int, /) -> None:
    """Nobody looks."""
