"""A piece of work in a process of its own, which is ended when it takes too long."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any


@dataclass(frozen=True)
class NoAnswer:
    """exit_code: that of a process that ended without an answer, negative for a signal; None where time ran out."""

    exit_code: int | None


def answer_of(work: Callable[[], Any], wall_limit_s: float) -> Any:
    """What `work` returns in a forked process, or NoAnswer."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(there, work))
    process.start()
    there.close()
    try:
        return here.recv() if here.poll(wall_limit_s) else NoAnswer(None)
    except EOFError:
        process.join()
        return NoAnswer(process.exitcode)
    finally:
        process.kill()
        process.join()


def _child(answer: Connection, work: Callable[[], Any]) -> None:
    answer.send(work())
