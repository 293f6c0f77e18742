"""Virtual boards for tests, made by the program that users call; everything on the way to them is real."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parts import ROOT
from scripts.virtual_board.replay import true_energy_j

PROGRAM = str(ROOT / "scripts" / "virtual-board")
# A hang is a failure; nothing here should come near it, emulated or not.
LIMIT_S = 400


def virtual_board(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROGRAM, *words], capture_output=True, text=True, check=False, timeout=LIMIT_S, **options)


def edge_dendrite(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_dendrite", *map(str, words)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert ended.returncode == code, (words, ended.returncode, ended.stdout[-2000:], ended.stderr[-3000:])
    assert "Traceback" not in ended.stderr
    return ended


@dataclass(frozen=True)
class Board:
    """A board that is up, as `up --json` describes it."""

    name: str
    profile: str
    address: str
    user: str
    ssh_config: str
    power_log: str

    def ssh(self, *words: str, user: str = "", codes: tuple[int, ...] = (0,)) -> subprocess.CompletedProcess[str]:
        command = ["ssh", "-F", self.ssh_config, f"{user or self.user}@{self.name}", *words]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        assert ended.returncode in codes, (words, ended.returncode, ended.stdout[-2000:], ended.stderr[-2000:])
        return ended

    def scp(self, *words: object) -> None:
        command = ["scp", "-q", "-F", self.ssh_config, *map(str, words)]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S)
        assert ended.returncode == 0, ended.stderr

    @property
    def target(self) -> str:
        return f"{self.user}@{self.name}"


class Boards:
    """Boards by profile, started when a test first asks for one; names of this run only."""

    def __init__(self) -> None:
        self._token = secrets.token_hex(3)
        self._started: dict[str, Board] = {}

    def __getitem__(self, profile: str) -> Board:
        if profile not in self._started:
            ended = virtual_board("up", profile, "--name", f"{profile}-{self._token}", "--json")
            assert ended.returncode == 0, ended.stderr
            self._started[profile] = Board(**json.loads(ended.stdout))
        return self._started[profile]

    def end(self) -> None:
        for board in self._started.values():
            ended = virtual_board("down", board.name)
            assert ended.returncode == 0, ended.stderr


# The sensor is sampled and its values are steps: a step's moment is known to half an interval, by chance too early or
# too late. For the steps of these boards that is up to 1.5 % (one standard deviation) of the energy of ten seconds.
MOST_ENERGY_ERROR = 0.06


def relative_error(energy: dict[str, Any], power_log: str) -> float:
    """Of a measured energy under load, against what the board showed in that time."""
    window = energy["load"]
    begin_s, end_s = (window["began_s"] + window[f"covered_{end}_s"] for end in ("from", "to"))
    return window["energy_j"] / true_energy_j(Path(power_log), begin_s, end_s) - 1.0
