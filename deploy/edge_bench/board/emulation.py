"""Whether the processor is a program: times measured so say nothing about a board, whatever its files say.

A user-mode emulator answers uname and /proc/self as the board would. But the program that the kernel itself runs is
the emulator, built for the machine beneath, and /proc/thread-self/exe leads to it: emulators answer for /proc/self
and /proc/PID only. So the first bytes of that file are compared with the machine that uname names.
"""

import os
import platform
import struct
from typing import Optional

from edge_bench.board.files import device_tree

_EXE = "proc/thread-self/exe"
# Of ELF's e_machine: which numbers a kernel of that kind may run without an emulator (32 bits on 64 included).
_FAMILIES = {"x86": (3, 62), "arm": (40, 183), "riscv": (243,)}
_MACHINES = (("aarch64", "arm"), ("arm", "arm"), ("x86_64", "x86"), ("i686", "x86"), ("riscv", "riscv"))


def find_emulator(root: str = "/", machine: Optional[str] = None) -> Optional[str]:
    """ "qemu-user", another emulator's file name, "qemu-system", or None where nothing tells of one.

    QEMU's made-up ARM machine calls itself linux,dummy-virt: no board is one, also where it is not emulated.
    """
    if "linux,dummy-virt" in device_tree(root, "compatible"):
        return "qemu-system"
    family = _family(machine or platform.machine())
    number = _elf_machine(os.path.join(root, _EXE))
    if family is None or number is None or number in _FAMILIES[family]:
        return None
    try:
        name = os.path.basename(os.readlink(os.path.join(root, _EXE)))
    except OSError:
        name = ""
    return "qemu-user" if name.startswith("qemu-") else name or "an unknown emulator"


def _family(machine: str) -> Optional[str]:
    return next((family for prefix, family in _MACHINES if machine.startswith(prefix)), None)


def _elf_machine(path: str) -> Optional[int]:
    try:
        with open(path, "rb") as stream:
            head = stream.read(20)
    except OSError:
        return None
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return None
    return int(struct.unpack(">H" if head[5] == 2 else "<H", head[18:20])[0])
