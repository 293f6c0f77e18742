"""How a command ends: the exit codes, and one clear line for everything that a user can cause."""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import typer

from edge_dendrite.errors import ConfigError, EdgeDendriteError
from edge_dendrite.terminal import say

EXIT_FAILED, EXIT_USAGE, EXIT_WARNINGS, EXIT_INVALID, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

Command = TypeVar("Command", bound=Callable[..., Any])


def guarded(command: Command) -> Command:
    """One clear line and the right exit code for everything that a user can cause."""

    @functools.wraps(command)
    def call(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except KeyboardInterrupt:
            say("interrupted: what was finished is kept; the same command goes on from there")
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:
            _leave_stdout()
            raise typer.Exit(EXIT_FAILED) from None
        except SystemExit as error:  # of a user's network or function; its code would pass for one of ours
            if isinstance(error.__context__, BrokenPipeError):  # rich's answer to it
                _leave_stdout()
                raise typer.Exit(EXIT_FAILED) from None
            say(f"error: code that was called ended the program (sys.exit({error.code!r})); mend it")
            raise typer.Exit(EXIT_FAILED) from None
        except ConfigError as error:
            say(f"error: {error}")
            raise typer.Exit(EXIT_USAGE) from None
        except EdgeDendriteError as error:
            say(f"error: {error}")
            raise typer.Exit(EXIT_FAILED) from None
        except OSError as error:
            say(f"error: {explain(error)}")
            raise typer.Exit(EXIT_FAILED) from None

    return call  # type: ignore[return-value]


def _leave_stdout() -> None:
    """The reader of our output went away; nothing more may be written to it, at exit neither."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def explain(error: OSError) -> str:
    """A failed system call as file, reason and remedy."""
    remedies = {
        errno.ENOSPC: "make room and run the same command again; what was finished is kept",
        errno.EEXIST: "give another place, or move what is there away",
        errno.EACCES: "give a place that you may write to, or change its permissions",
        errno.EROFS: "give a place that can be written to",
    }
    place = f"{error.filename}: " if error.filename else ""
    remedy = remedies.get(error.errno or 0, "look at that place and run the same command again")
    return f"{place}{error.strerror or error}; {remedy}"
