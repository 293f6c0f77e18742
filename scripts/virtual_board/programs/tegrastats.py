#!/usr/bin/python3
"""Prints the line that is being replayed, every --interval milliseconds, as tegrastats does.

The second figure of each rail is the mean since this program started, and a leading time is that of now.
"""

import os
import re
import sys
import time
from pathlib import Path
from re import Match

REPLAY = Path("/opt/replay")
RAIL = re.compile(r" (?P<name>[A-Z][A-Z0-9_]*) (?P<current>\d+)(?P<unit>mW|)/\d+(?:mW|)(?= |$)")
TIME = re.compile(r"^\d\d-\d\d-\d{4} \d\d:\d\d:\d\d")


class Means:
    """Puts the mean of the lines so far behind each rail's figure."""

    def __init__(self) -> None:
        self._sums: dict[str, int] = {}
        self._count = 0

    def add(self, line: str) -> str:
        self._count += 1
        return RAIL.sub(self._averaged, line)

    def _averaged(self, match: Match[str]) -> str:
        name, unit = match.group("name"), match.group("unit")
        self._sums[name] = self._sums.get(name, 0) + int(match.group("current"))
        return f" {name} {match.group('current')}{unit}/{self._sums[name] // self._count}{unit}"


def main(arguments: list[str]) -> None:
    interval_s = 1.0
    if arguments:
        if len(arguments) != 2 or arguments[0] != "--interval" or not arguments[1].isdigit():
            sys.exit("usage: tegrastats [--interval MILLISECONDS]")
        interval_s = max(int(arguments[1]), 1) / 1e3
    hides_rails = (REPLAY / "rails-for-root-only").exists() and os.getuid() != 0
    means = Means()
    while True:
        line = (REPLAY / "line").read_text("utf-8").strip()
        line = RAIL.sub("", line) if hides_rails else means.add(line)
        print(TIME.sub(time.strftime("%m-%d-%Y %H:%M:%S"), line), flush=True)
        time.sleep(interval_s)


if __name__ == "__main__":
    main(sys.argv[1:])
