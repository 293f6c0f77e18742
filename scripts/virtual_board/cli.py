"""The command line of virtual boards."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import sys
import time
from pathlib import Path

from scripts.virtual_board import board, host
from scripts.virtual_board.errors import BoardError, CannotRun
from scripts.virtual_board.profile import profile_names, read_profile

EXIT_FAILED, EXIT_CANNOT_RUN, EXIT_INTERRUPTED = 1, 3, 130


def main(arguments: list[str]) -> int:
    """Run a command; returns its exit code."""
    options = _parser().parse_args(arguments)
    os.umask(0o022)  # the files of a board are also for its users
    try:
        code: int = options.run(options)
        return code
    except CannotRun as error:
        print(f"virtual-board: cannot run here: {error}", file=sys.stderr)
        return EXIT_CANNOT_RUN
    except BoardError as error:
        print(f"virtual-board: error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except OSError as error:
        print(f"virtual-board: error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except KeyboardInterrupt:
        print("virtual-board: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="virtual-board",
        description="Boards with a real arm64 system on this machine, for trying and testing without hardware. "
        "Their speed says nothing about a board. Root is needed.",
        epilog="exit codes: 0 done, 1 failed, 2 usage, 3 this machine lacks something (the message says what), "
        "130 interrupted",
    )
    parser.add_argument(
        "--cache", type=Path, default=board.default_cache(), help="folder of systems and boards  [%(default)s]"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start a board")
    up.add_argument("profile", metavar="PROFILE", choices=profile_names(), help=", ".join(profile_names()))
    up.add_argument("--name", help="what it is called  [the profile's name]")
    up.add_argument("--mirror", metavar="URL", help="Debian mirror  [the one of this machine's apt]")
    up.add_argument("--json", action="store_true", help="address, ssh_config and power log as JSON")
    up.set_defaults(run=_up)
    ssh = commands.add_parser("ssh", help="a shell on a board, or a command")
    ssh.add_argument("name", metavar="NAME")
    ssh.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    ssh.set_defaults(run=_ssh)
    # Everything behind it is for scp, options too.
    scp = commands.add_parser("scp", help="copy files: scp FILE... NAME:PATH", prefix_chars="\0", add_help=False)
    scp.add_argument("words", nargs="*", metavar="FILE")
    scp.set_defaults(run=_scp)
    config = commands.add_parser("ssh-config", help="the stanza that ssh, scp and deploy --ssh-config take")
    config.add_argument("name", metavar="NAME")
    config.set_defaults(run=_ssh_config)
    down = commands.add_parser("down", help="end boards and remove what is theirs")
    down.add_argument("names", nargs="*", metavar="NAME")
    down.add_argument("--all", action="store_true", help="all boards of this cache folder")
    down.set_defaults(run=_down)
    for name, run, words in (("list", _list, "the boards"), ("status", _status, "whether boards can run here")):
        each = commands.add_parser(name, help=words)
        each.add_argument("--json", action="store_true")
        each.set_defaults(run=run)
    commands.add_parser("install", help="install what is missing (Debian packages)").set_defaults(run=_install)
    return parser


def _up(options: argparse.Namespace) -> int:
    began = time.monotonic()
    found = board.bring_up(options.profile, options.name, options.cache, options.mirror, _log)
    if options.json:
        print(json.dumps(found.to_dict()))
        return 0
    print(f"{found.name}: {read_profile(found.profile).title}, up after {time.monotonic() - began:.1f} s")
    for words in (
        f"ssh {found.name}",
        f"ssh-config {found.name} > board.ssh   # then: edge-dendrite deploy BUNDLE {found.user}@{found.name} "
        "--ssh-config board.ssh",
        f"down {found.name}",
    ):
        print(f"  scripts/virtual-board {words}")
    return 0


def _log(line: str) -> None:
    print(f"virtual-board: {line}", file=sys.stderr, flush=True)


def _ssh(options: argparse.Namespace) -> int:
    found = board.read_board(options.cache, options.name)
    os.execvp("ssh", ["ssh", "-F", found.ssh_config, found.name, *options.words])


def _scp(options: argparse.Namespace) -> int:
    names = {match.group(1) for word in options.words if (match := re.match(r"([a-z0-9-]+):", word))}
    if len(names) != 1:
        raise BoardError("name one board: scp FILE... NAME:PATH, or scp NAME:PATH FOLDER")
    found = board.read_board(options.cache, names.pop())
    os.execvp("scp", ["scp", "-F", found.ssh_config, *options.words])


def _ssh_config(options: argparse.Namespace) -> int:
    print(Path(board.read_board(options.cache, options.name).ssh_config).read_text("utf-8"), end="")
    return 0


def _down(options: argparse.Namespace) -> int:
    names = board.board_names(options.cache) if options.all else options.names
    if not names and not options.all:
        raise BoardError("name the boards to end, or --all")
    for name in names:
        board.bring_down(name, options.cache)
        print(f"{name}: ended, nothing of it is left")
    return 0


def _list(options: argparse.Namespace) -> int:
    rows = []
    for name in board.board_names(options.cache):
        try:
            rows.append({**board.read_board(options.cache, name).to_dict(), "state": "up"})
        except BoardError:
            rows.append({"name": name, "state": "dead"})
    if options.json:
        print(json.dumps(rows))
    for row in [] if options.json else rows:
        if row["state"] == "up":
            print(f"{row['name']:<24} {row['profile']:<18} {row['address']:<16} up")
        else:
            print(f"{row['name']:<60} not running; remove it: down {shlex.quote(row['name'])}")
    if not rows and not options.json:
        print("no boards; start one with: virtual-board up PROFILE")
    return 0


def _status(options: argparse.Namespace) -> int:
    missing = host.missing_parts()
    if options.json:
        print(json.dumps({"can_run": not missing, "missing": missing}))
    else:
        print("virtual boards can run here" if not missing else "\n".join(missing))
    return EXIT_CANNOT_RUN if missing else 0


def _install(options: argparse.Namespace) -> int:
    host.install_parts()
    print("virtual boards can run here")
    return 0
