"""An emulated processor is found by what the kernel runs, whatever uname and /proc/cpuinfo say."""

import os
import struct

import pytest

from edge_bench.board.describe import describe_board
from edge_bench.board.emulation import find_emulator
from edge_bench.render import render_measurement
from edge_bench.verdict.fingerprint import differences


def make_root(tmp_path, elf_machine=None, name="python3", big_endian=False):
    """A root whose running program is built for a machine, in the form of an ELF header."""
    folder = tmp_path / "proc" / "thread-self"
    folder.mkdir(parents=True)
    if elf_machine is not None:
        program = tmp_path / name
        order = ">" if big_endian else "<"
        head = b"\x7fELF" + bytes([2, 2 if big_endian else 1, 1]) + bytes(9)
        program.write_bytes(head + struct.pack(order + "HH", 2, elf_machine) + bytes(44))
        os.symlink(str(program), str(folder / "exe"))
    return str(tmp_path)


X86, ARM, AARCH64, RISCV = 62, 40, 183, 243


@pytest.mark.parametrize(
    "elf_machine, machine, name, expected",
    [
        (X86, "aarch64", "qemu-aarch64-static", "qemu-user"),
        (X86, "armv7l", "qemu-arm", "qemu-user"),
        (AARCH64, "x86_64", "box64", "box64"),
        (RISCV, "aarch64", "qemu-aarch64", "qemu-user"),
        (AARCH64, "aarch64", "python3", None),
        (ARM, "aarch64", "python3", None),  # 32 bits on a kernel of 64
        (X86, "x86_64", "python3", None),
        (3, "x86_64", "python3", None),
        (X86, "sparc64", "python3", None),  # of such machines nothing is known
    ],
)
def test_the_program_that_the_kernel_runs(tmp_path, elf_machine, machine, name, expected):
    assert find_emulator(make_root(tmp_path, elf_machine, name), machine) == expected


def test_byte_order_is_that_of_the_file(tmp_path):
    assert find_emulator(make_root(tmp_path, AARCH64, big_endian=True), "aarch64") is None


def test_what_cannot_be_read_tells_nothing(tmp_path):
    root = make_root(tmp_path)
    assert find_emulator(root, "aarch64") is None
    (tmp_path / "proc" / "thread-self" / "exe").write_bytes(b"#!/bin/sh")
    assert find_emulator(root, "aarch64") is None


def test_a_machine_that_qemu_made_up(tmp_path):
    folder = tmp_path / "sys" / "firmware" / "devicetree" / "base"
    folder.mkdir(parents=True)
    (folder / "compatible").write_bytes(b"linux,dummy-virt\0")
    assert find_emulator(str(tmp_path), "aarch64") == "qemu-system"


def test_this_machine_is_described_with_it():
    assert describe_board()["emulated"] == find_emulator("/")


def record(emulated):
    return {
        "bundle": {"name": "n", "role": "baseline", "id": "i"},
        "board": {"model": "M", "cpu": "C", "emulated": emulated},
        "state_before": {},
        "status": "complete",
        "invalid": [],
        "warnings": [],
        "unavailable": [],
        "started_at": "2026-01-01T00:00:00Z",
        "backend": None,
        "settings": {},
    }


def test_a_summary_says_it_and_only_then():
    assert "emulated     by qemu-user: not a board's speed" in render_measurement(record("qemu-user"))
    assert "emulated" not in render_measurement(record(None))


def test_emulated_and_real_runs_are_not_compared():
    found = differences([record("qemu-user"), record(None)], ["a", "b"])
    assert [line for line in found if line.startswith("emulator differs")] == [
        "emulator differs: qemu-user in a; none in b"
    ]
