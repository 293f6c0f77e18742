"""Recorded lines of tegrastats with their sources, and a writer that counts as tegrastats counts."""

import json
import os
import time

import pytest

CORPUS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "tegrastats-corpus.jsonl")


def read_corpus():
    with open(CORPUS, encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


@pytest.fixture(scope="session")
def corpus():
    """All rows: line, board, l4t, source, kind, note."""
    return read_corpus()


@pytest.fixture(scope="session")
def line_of(corpus):
    """A function that gives the one recorded line that holds a text."""

    def find(text):
        (line,) = [row["line"] for row in corpus if text in row["line"]]
        return line

    return find


class Tegrastats:
    """Writes lines as R35 does: the second power figure is the mean of the first ones since it was started."""

    def __init__(self, second=0):
        self.second = second
        self.start()

    def start(self):
        self.sums, self.num_lines = {}, 0

    def line(self, rails_mw, step_s=1):
        """The next line; `rails_mw` are whole milliwatts by rail."""
        self.num_lines += 1
        power = []
        for name, milliwatts in rails_mw:
            self.sums[name] = self.sums.get(name, 0) + milliwatts
            power.append("%s %dmW/%dmW" % (name, milliwatts, round(self.sums[name] / self.num_lines)))
        stamp = time.strftime("%m-%d-%Y %H:%M:%S", time.gmtime(1700000000 + int(self.second)))
        self.second += step_s
        return (
            "%s RAM 3168/6851MB (lfb 2x4MB) SWAP 161/3426MB (cached 0MB) CPU [23%%@1397,17%%@1192,off,off] "
            "EMC_FREQ 2%%@204 GR3D_FREQ 50%%@[114] VIC_FREQ 115 APE 150 CPU@46.5C GPU@45.5C PMIC@50C %s"
            % (stamp, " ".join(power))
        )


@pytest.fixture
def tegrastats():
    return Tegrastats()
