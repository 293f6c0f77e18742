"""Peaks that are this process's own and this run's; and the figures of a kernel that tells less."""

import json
import os
import subprocess
import sys

import pytest

import edge_bench
from edge_bench.board.memory import MemoryFigures, process_pss, reset_peak

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(edge_bench.__file__)))
MIB = 1 << 20

# Touches 200 MiB, gives them back, and only then begins.
LARGE_BEFORE = """
import json, sys
sys.path.insert(0, %r)
from edge_bench.board.memory import MemoryFigures
large = bytearray(b"x" * (200 << 20))
del large
figures = MemoryFigures()
figures.begin()
%s
print(json.dumps(figures.figures()))
"""
# A parent of 300 MiB that starts a small child, by fork and exec as everyone does.
PARENT = """
import subprocess, sys
large = bytearray(b"x" * (300 << 20))
sys.stdout.write(subprocess.check_output([sys.executable, "-c", sys.argv[1]]).decode())
assert len(large)
"""
CHILD = """
import json, resource, sys
sys.path.insert(0, %r)
from edge_bench.board.memory import MemoryFigures, process_memory
figures = MemoryFigures()
figures.begin()
found = dict(figures.figures(), maxrss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print(json.dumps(found))
"""


def run(*arguments):
    return json.loads(subprocess.check_output([sys.executable, "-c"] + list(arguments)).decode())


def can_reset():
    return reset_peak()


def test_the_peak_of_a_large_parent_is_not_ours():
    found = run(PARENT, CHILD % PACKAGE)
    # This is why ru_maxrss is not used: it is the parent's.
    assert found["maxrss_bytes"] > 300 * MIB
    assert found["process_peak_rss_bytes"] < 100 * MIB
    assert found["process_rss_before_load_bytes"] <= found["process_peak_rss_bytes"]


@pytest.mark.skipif(not can_reset(), reason="this kernel resets no peak")
def test_an_older_peak_is_forgotten():
    assert run(LARGE_BEFORE % (PACKAGE, ""))["process_peak_rss_bytes"] < 100 * MIB


def test_a_peak_of_the_run_is_seen_though_it_is_gone():
    found = run(LARGE_BEFORE % (PACKAGE, 'again = bytearray(b"y" * (250 << 20)); del again'))
    assert found["process_peak_rss_bytes"] > 250 * MIB
    assert found["process_pss_bytes"] < 150 * MIB


STATUS = "VmHWM:\t  %d kB\nVmRSS:\t  %d kB\n"


def figures_of(board_tree, later, can_reset):
    root = board_tree({"proc/self/status": STATUS % (90000, 50000)})
    if can_reset:
        board_tree({"proc/self/clear_refs": ""})
    else:
        os.mkdir(os.path.join(root, "proc/self/clear_refs"))  # nobody can write to it, not even root
    memory = MemoryFigures(root)
    memory.begin()
    board_tree({"proc/self/status": STATUS % later})
    found = memory.figures()
    return found, [row["what"] for row in memory.missing(found)]


def test_where_nothing_can_be_reset_a_higher_peak_is_the_runs(board_tree):
    found, missing = figures_of(board_tree, (95000, 60000), False)
    assert found["process_peak_rss_bytes"] == 95000 * 1024 and "peak memory of the process" not in missing
    assert found["process_rss_before_load_bytes"] == 50000 * 1024


def test_where_nothing_can_be_reset_an_equal_peak_is_unknown(board_tree):
    found, missing = figures_of(board_tree, (90000, 60000), False)
    assert found["process_peak_rss_bytes"] is None and "peak memory of the process" in missing


def test_a_reset_writes_5(board_tree):
    found, missing = figures_of(board_tree, (61000, 60000), True)
    assert found["process_peak_rss_bytes"] == 61000 * 1024 and "peak memory of the process" not in missing
    with open(os.path.join(board_tree({}), "proc/self/clear_refs")) as stream:
        assert stream.read() == "5"


SMAPS = """00400000-00600000 r-xp 00000000 b3:01 1234  /usr/bin/python3.6
Size:               2048 kB
Rss:                1500 kB
Pss:                 700 kB
Shared_Clean:       1500 kB
VmFlags: rd ex mr mw me dw sd
7f8c000000-7f8c021000 rw-p 00000000 00:00 0
Rss:                  12 kB
Pss:                  12 kB
SwapPss:               4 kB
"""
ROLLUP = "00400000-7ffd000 ---p 00000000 00:00 0    [rollup]\nRss:  3000 kB\nPss:   900 kB\nPss_Dirty:  112 kB\n"


@pytest.mark.parametrize(
    "files, num_bytes",
    [
        ({"proc/self/smaps_rollup": ROLLUP, "proc/self/smaps": SMAPS}, 900 * 1024),
        ({"proc/self/smaps": SMAPS}, 712 * 1024),  # a kernel before 4.14
        ({"proc/self/smaps_rollup": "garbage", "proc/self/smaps": SMAPS}, 712 * 1024),
        ({"proc/self/smaps": SMAPS * 2000}, 2000 * 712 * 1024),
        ({"proc/self/smaps": ""}, None),
        ({"proc/self/smaps": b"\xff\xfePss: x kB\nPss: -1 kB\n"}, None),
        ({}, None),
    ],
)
def test_pss(board_tree, files, num_bytes):
    assert process_pss(board_tree(files)) == num_bytes


def test_available_memory_falls_and_its_noise_is_told(board_tree):
    root = board_tree({"proc/meminfo": "MemAvailable: 2000000 kB\n"})
    memory = MemoryFigures(root)
    memory.begin()
    board_tree({"proc/meminfo": "MemAvailable: 1500000 kB\n"})
    memory.look()
    board_tree({"proc/meminfo": "MemAvailable: 1900000 kB\n"})
    memory.look(1400000 * 1024)
    found = memory.figures()
    assert found["system_available_dip_bytes"] == 600000 * 1024
    assert found["system_available_noise_bytes"] is None
    for kibibytes in (1900000, 1899000, 1902000):
        board_tree({"proc/meminfo": "MemAvailable: %d kB\n" % kibibytes})
        memory.quiet(0.001)
    assert memory.figures()["system_available_noise_bytes"] == 3000 * 1024


def test_what_cannot_be_read_is_named_and_not_zero(board_tree):
    memory = MemoryFigures(board_tree({}))
    memory.begin()
    found = memory.figures()
    assert set(found.values()) == {None}
    assert len(memory.missing(found)) == 3
    assert all(row["fix"] for row in memory.missing(found))
