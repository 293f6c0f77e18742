"""Recorded lines, damaged in every way: never an exception, always a value that JSON can hold."""

import json
import random

import pytest

from edge_bench.logs.statistics import LogStatistics
from edge_bench.logs.tegrastats import parse_line

KEYS = ["timestamp", "ram", "swap", "iram", "cpu", "engines", "temperature_c", "temperature_max_c", "power_w", "other"]
PIECES = [
    "",
    " ",
    "\t",
    "\x00",
    "\u0663",  # a digit that is none of ours
    "\ud800",
    "\ufffd",
    "nan",
    "-",
    "--1",
    "@",
    "%",
    "/",
    "[",
    "]",
    ",",
    "(lfb ",
    "mW",
    "MB",
    "C",
    "1e999",
    "9" * 400,
    "off",
    "CPU [",
    "RAM 1/2MB",
    "NC 0mW/0mW",
    "PMIC@1C",
    "@[1,2",
    "a" * 3000,
    "__class__ 1",
]


def mutated(rng, lines):
    line = rng.choice(lines)
    for _ in range(rng.randint(1, 6)):
        at, end = sorted((rng.randrange(len(line) + 1), rng.randrange(len(line) + 1)))
        end = min(end, at + 20)
        how = rng.randrange(6)
        if how == 0:
            line = line[:at] + line[end:]
        elif how == 1:
            line = line[:at] + rng.choice(PIECES) + line[at:]
        elif how == 2:
            line = line[:at] + "".join(chr(rng.randrange(256)) for _ in range(end - at)) + line[end:]
        elif how == 3:
            words = line.split(" ")
            rng.shuffle(words)
            line = " ".join(words)
        elif how == 4:
            line = line[:at] + rng.choice(lines)[at:]
        else:
            line = line[:at] + str(rng.randrange(-(10 ** rng.randrange(1, 30)), 10 ** rng.randrange(1, 30))) + line[at:]
    return line


@pytest.mark.parametrize("seed, count", [(20260101, 1500), pytest.param(20260102, 20000, marks=pytest.mark.slow)])
def test_damaged_lines(corpus, seed, count):
    rng = random.Random(seed)
    lines = [row["line"] for row in corpus]
    statistics, num_samples = LogStatistics(), 0
    for number in range(count):
        line = mutated(rng, lines)
        found = parse_line(line)
        if found is None:
            continue
        num_samples += 1
        assert list(found) == KEYS
        assert json.loads(json.dumps(found, allow_nan=False)) == found, line
        assert all(rail["current"] is not None for rail in found["power_w"].values())
        statistics.add(found, number)
    assert num_samples > count // 2
    json.dumps(statistics.result(), allow_nan=False)


@pytest.mark.parametrize(
    "line",
    [
        "a" * 70000,
        "A " * 35000,
        "CPU [" * 14000,
        "CPU [" + "1%," * 22000,
        "1" * 70000,
        "A 1/" * 17000,
        "GR3D @[" + "1," * 30000,
        "A" + " " * 65000 + "B",
        "RAM 1/2MB (lfb " * 5000,
        "a.-" * 22000,
    ],
    ids=lambda line: line[:8],
)
def test_long_lines_of_every_form_come_to_an_end(line):
    json.dumps(parse_line(line), allow_nan=False)
